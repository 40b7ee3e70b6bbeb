-- Header corrections: what an observatory found to be wrong in headers that went out already.

-- What the observatory calls a frame: FRAMEID, or the name of the file without its suffix.
ALTER TABLE archive.product ADD COLUMN frame_id text COLLATE "C";
UPDATE archive.product p SET frame_id = coalesce(
    (SELECT nullif(btrim(card.value ->> 1), '')
     FROM jsonb_array_elements(p.headers) WITH ORDINALITY AS hdu (value, place),
          jsonb_array_elements(hdu.value -> 'cards') AS card (value)
     WHERE card.value ->> 0 = 'FRAMEID' AND jsonb_typeof(card.value -> 1) = 'string'
     ORDER BY hdu.place LIMIT 1),
    archive.frame_name(p.path));
CREATE INDEX product_frame_id ON archive.product (collection, frame_id) WHERE current;

CREATE TABLE archive.correction (
    correction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection    text NOT NULL REFERENCES archive.collection,
    start_frame   text COLLATE "C" NOT NULL,
    end_frame     text COLLATE "C" NOT NULL,
    digits        integer NOT NULL CHECK (digits >= 0),
    hdu           text NOT NULL DEFAULT '',
    keyword       text NOT NULL CHECK (keyword <> ''),
    current       text NOT NULL,
    updated       text NOT NULL,
    datatype      text NOT NULL CHECK (datatype IN ('int', 'float', 'string', 'logical')),
    comment       text NOT NULL DEFAULT '',
    reference     text NOT NULL DEFAULT '',
    checks        jsonb NOT NULL DEFAULT '{}',
    source        text NOT NULL,
    imported      timestamptz NOT NULL DEFAULT now(),
    imported_by   text NOT NULL,
    removed       timestamptz,
    removed_by    text,
    CONSTRAINT a_range_is_in_order CHECK
        (CASE WHEN digits = 0 THEN start_frame = end_frame
              ELSE start_frame < end_frame AND length(start_frame) = length(end_frame)
                   AND left(start_frame, -digits) = left(end_frame, -digits) END),
    CONSTRAINT who_removed_it_is_known CHECK ((removed IS NULL) = (removed_by IS NULL))
);
CREATE INDEX correction_collection ON archive.correction (collection, start_frame)
    WHERE removed IS NULL;
CREATE INDEX correction_changed ON archive.correction
    (collection, (greatest(imported, removed)));
COMMENT ON TABLE archive.correction IS
    'Header corrections, applied in the order of their numbers where the value is still '
    '"current"; a correction that is removed stays, with its time';
COMMENT ON COLUMN archive.correction.digits IS
    'Of a range of frames, the digits at the end that count; 0: one frame, path or identifier';
COMMENT ON COLUMN archive.correction.hdu IS
    'Number or EXTNAME, "all", or empty: the first HDU that has the keyword';

-- Which product a correction is meant for (vo_service.model.correction says the same): its
-- frame lies in the range, or its path or identifier is written instead of a frame.
CREATE VIEW archive.correction_of AS
SELECT p.product_id, c.correction_id
FROM archive.product p
JOIN archive.correction c ON c.collection = p.collection AND c.removed IS NULL
     AND (p.frame_id BETWEEN c.start_frame AND c.end_frame
          AND length(p.frame_id) = length(c.start_frame)
          AND right(p.frame_id, c.digits) ~ '^[0-9]*$'
          OR c.digits = 0 AND c.start_frame IN (p.path, p.did))
WHERE p.current;

-- The corrections of the products that the person of a session may know of.
CREATE VIEW archive.known_correction AS
SELECT k.product_id, k.path, k.did, p.frame_id, c.*
FROM archive.known_product k
JOIN archive.product p ON p.product_id = k.product_id
JOIN archive.correction_of o ON o.product_id = k.product_id
JOIN archive.correction c ON c.correction_id = o.correction_id;

-- When the corrections of a collection last changed: bytes of corrected files may have, too.
CREATE VIEW archive.correction_time AS
SELECT collection, max(greatest(imported, removed)) AS changed
FROM archive.correction GROUP BY collection;

GRANT SELECT, INSERT, UPDATE ON archive.correction TO vo_writer;
GRANT SELECT ON archive.correction_of TO vo_writer;
GRANT SELECT ON archive.known_correction, archive.correction_time TO vo_door;
