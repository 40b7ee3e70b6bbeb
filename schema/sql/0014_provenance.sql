-- What files were made of and by what (MISSION A7), and all that DataLink says of a file.

-- The exposure, of which frames are siblings, and the kind of data: as in the observation, which
-- is found in one index for each partition, while a product is found in one.
ALTER TABLE archive.product ADD COLUMN exposure text, ADD COLUMN dataproduct_type text;
COMMENT ON COLUMN archive.product.exposure IS 'obs_id of its observation';
UPDATE archive.product p SET exposure = o.obs_id, dataproduct_type = o.dataproduct_type
FROM archive.observation o WHERE o.product_id = p.product_id;
UPDATE archive.product p SET exposure = o.obs_id, dataproduct_type = o.dataproduct_type
FROM archive.observation_closed o WHERE o.product_id = p.product_id;
CREATE INDEX product_exposure ON archive.product (collection, exposure) WHERE current;
CREATE INDEX product_entity ON archive.product ((did || '#' || version::text)) WHERE NOT current;

-- Runs of a pipeline. A run with another version of the code is another activity.
CREATE TABLE archive.activity (
    activity_id text PRIMARY KEY,
    collection  text NOT NULL REFERENCES archive.collection,
    run         text,
    software    text,
    version     text,
    start_time  timestamptz,
    end_time    timestamptz,
    comment     text,
    CONSTRAINT times_are_in_order CHECK (start_time <= end_time)
);
COMMENT ON COLUMN archive.activity.version IS 'Of the software: its release, or the commit';

-- Of products and versions of them; with a new version the old one keeps what it came from.
CREATE TABLE archive.generation (
    product_id  bigint PRIMARY KEY REFERENCES archive.product ON DELETE CASCADE,
    activity_id text NOT NULL REFERENCES archive.activity,
    generated   timestamptz,
    imported    boolean NOT NULL
);
CREATE INDEX generation_activity ON archive.generation (activity_id);
COMMENT ON COLUMN archive.generation.imported IS
    'From a table of the operator; what headers say is then not written over it';

-- What a product was made of, as it was written: it may arrive later, or never.
CREATE TABLE archive.derivation (
    product_id bigint NOT NULL REFERENCES archive.product ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('progenitor', 'calibration', 'bias', 'dark', 'flat')),
    kind       text NOT NULL CHECK (kind IN ('did', 'path', 'frame')),
    collection text NOT NULL,
    name       text NOT NULL,
    imported   boolean NOT NULL,
    PRIMARY KEY (product_id, role, kind, collection, name)
);
CREATE INDEX derivation_name ON archive.derivation (name);
COMMENT ON COLUMN archive.derivation.name IS
    'Identifier, path below the collection, or frame, as kind says';

-- The one policy of files, with what links need.
CREATE OR REPLACE VIEW archive.known_product AS
SELECT p.product_id, p.collection, p.path, p.version, p.did, p.source, p.size, p.media_type,
       p.md5, p.state, p.release_date, p.proposal_id,
       p.state = 'public' OR p.state = 'arrived' AND EXISTS (
           SELECT FROM archive.mine m WHERE m.proposal_id = p.proposal_id
           AND (m.collection IS NULL OR m.collection = p.collection)) AS readable,
       p.frame_id, p.exposure, p.dataproduct_type, p.elsewhere
FROM archive.product p
WHERE p.current AND NOT p.closed
UNION ALL
SELECT p.product_id, p.collection, p.path, p.version, p.did, p.source, p.size, p.media_type,
       p.md5, p.state, p.release_date, p.proposal_id, true,
       p.frame_id, p.exposure, p.dataproduct_type, p.elsewhere
FROM archive.product p
WHERE p.current AND p.closed AND p.state = 'arrived'
  AND current_setting('vo.person', true) <> ''
  AND EXISTS (SELECT FROM archive.mine m WHERE m.proposal_id = p.proposal_id
              AND (m.collection IS NULL OR m.collection = p.collection));

-- RFC 3986, 'Query': what may stand in the value of a parameter as it is, else all is encoded.
CREATE FUNCTION archive.quoted_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN value ~ '^[A-Za-z0-9_.~/:?@!$*(),-]*$' THEN value
                ELSE archive.quoted(value) END;

-- The same as before, but found in an index however many corrections there are: ranges of
-- frames that hold one, then the few that name a path or an identifier.
CREATE TYPE archive.frames AS RANGE (subtype = text, collation = "C");
CREATE INDEX correction_frames ON archive.correction
    USING gist (archive.frames(start_frame, end_frame, '[]')) WHERE removed IS NULL;
CREATE INDEX correction_named ON archive.correction (start_frame)
    WHERE removed IS NULL AND digits = 0;
CREATE OR REPLACE VIEW archive.correction_of AS
SELECT p.product_id, c.correction_id
FROM archive.product p
JOIN archive.correction c ON c.collection = p.collection AND c.removed IS NULL
     AND archive.frames(c.start_frame, c.end_frame, '[]') @> p.frame_id
     AND length(p.frame_id) = length(c.start_frame)
     AND right(p.frame_id, c.digits) ~ '^[0-9]*$'
WHERE p.current
UNION ALL
SELECT p.product_id, c.correction_id
FROM archive.product p
JOIN archive.correction c ON c.collection = p.collection AND c.removed IS NULL
     AND c.start_frame = p.path COLLATE "C" AND c.digits = 0
WHERE p.current AND p.path COLLATE "C" IS DISTINCT FROM p.frame_id
UNION ALL
SELECT p.product_id, c.correction_id
FROM archive.product p
JOIN archive.correction c ON c.collection = p.collection AND c.removed IS NULL
     AND c.start_frame = p.did COLLATE "C" AND c.digits = 0
WHERE p.current AND p.did COLLATE "C" IS DISTINCT FROM p.frame_id AND p.did <> p.path;

-- A product as DataLink tells of it: where its file is, or why it is not to be had.
CREATE OR REPLACE VIEW archive.link AS
SELECT p.did, p.state, p.release_date, has_file, p.media_type,
       CASE WHEN p.source IS NOT NULL THEN p.size END AS size, p.readable,
       -- What is not everybody's goes through this server, which knows who asks and then signs.
       coalesce(CASE WHEN p.state = 'public' THEN c.data_url END,
                current_setting('vo.data_url', true))
       || archive.quoted(p.collection || '/' || p.path) AS access_url,
       p.product_id, p.collection, p.path, archive.quoted(p.collection || '/' || p.path) AS place,
       p.frame_id, p.exposure,
       '#' || CASE p.dataproduct_type WHEN 'event' THEN 'event-list' ELSE p.dataproduct_type END
           AS qualifier,
       c.data_url IS NULL AND p.source IS NOT NULL AS delivered_here,
       EXISTS (SELECT FROM archive.preview v WHERE v.product_id = p.product_id
               AND v.made IS NOT NULL AND NOT v.gone) AS has_preview,
       CASE WHEN p.state = 'arrived' THEN coalesce(
           'will be released on ' || to_char(p.release_date, 'YYYY-MM-DD'),
           'has no release date') END AS outlook,
       -- No fault is named after what is proprietary: the others say that it is not here, or
       -- asked wrongly.
       CASE WHEN p.state = 'withdrawn' THEN 'NotFoundFault: withdrawn'
            WHEN p.state = 'expired'
                THEN 'NotFoundFault: not kept any more, its lifetime is over'
            WHEN NOT has_file
                THEN 'NotFoundFault: only the header is kept here, the file is elsewhere'
            WHEN NOT p.readable THEN 'DefaultFault: proprietary; the file ' || coalesce(
                'will be released on ' || to_char(p.release_date, 'YYYY-MM-DD'),
                'has no release date')
       END AS fault,
       CASE WHEN p.state = 'arrived' AND has_file THEN 'true'
            WHEN p.state = 'public' AND has_file THEN 'false' END AS link_auth,
       CASE WHEN has_file AND p.state IN ('arrived', 'public') THEN p.readable END
           AS link_authorized
FROM archive.known_product p
JOIN archive.collection c ON c.name = p.collection,
     LATERAL (SELECT p.source IS NOT NULL OR p.elsewhere AS has_file) AS file;

-- What products were made of, for those who may know of both; NULL where it is not here.
CREATE VIEW archive.known_derivation AS
SELECT d.product_id, d.role, d.name, k.product_id AS used_id
FROM archive.derivation d LEFT JOIN LATERAL (
    SELECT k.product_id FROM archive.known_product k WHERE d.kind = 'did' AND k.did = d.name
    UNION ALL
    SELECT k.product_id FROM archive.known_product k
    WHERE d.kind = 'path' AND k.collection = d.collection AND k.path = d.name
    UNION ALL
    SELECT k.product_id FROM archive.known_product k
    WHERE d.kind = 'frame' AND k.collection = d.collection AND k.frame_id = d.name COLLATE "C"
) AS k ON true;

-- The other way: what was made of a product, in the order of the index, so that a few are found
-- at once where there are a million.
CREATE VIEW archive.known_derivative AS
SELECT k.product_id AS used_id, d.product_id, d.role
FROM archive.known_product k JOIN archive.derivation d
  ON d.name = ANY (ARRAY[k.did, k.path, k.frame_id COLLATE "default"])
 AND (d.kind = 'did' AND d.name = k.did
      OR d.collection = k.collection
         AND d.name = CASE d.kind WHEN 'path' THEN k.path
                                  WHEN 'frame' THEN k.frame_id COLLATE "default" END);

-- Provenance for everybody, by the classes of the Provenance Data Model 1.0: of products of which
-- the public may know. Security barriers: no condition of a query sees a row that is not shown.
CREATE SCHEMA IF NOT EXISTS provenance;

-- Times as text (DALI 1.1, 'Timestamps'), which in that form is in order of time.

-- Products of which the public may know, and their old versions, with the identifier of each.
CREATE VIEW archive.open_entity WITH (security_barrier) AS
SELECT product_id, did AS id FROM archive.product WHERE current AND NOT closed
UNION ALL
SELECT o.product_id, o.did || '#' || o.version::text FROM archive.product o
WHERE NOT o.current AND NOT o.closed AND EXISTS (
    SELECT FROM archive.product p WHERE p.collection = o.collection AND p.path = o.path
    AND p.current AND NOT p.closed);

CREATE VIEW provenance.entity WITH (security_barrier) AS
SELECT e.id, p.frame_id AS name,
       CASE WHEN p.state = 'public' AND (p.source IS NOT NULL OR p.elsewhere)
            THEN coalesce(c.data_url, current_setting('vo.data_url', true))
                 || archive.quoted(p.collection || '/' || p.path) END AS location,
       to_char(g.generated AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS')
           AS generated_at_time,
       CASE WHEN p.state IN ('withdrawn', 'expired', 'replaced') THEN (
           SELECT to_char(max(s.changed) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS')
           FROM archive.state_change s WHERE s.product_id = p.product_id
       ) END AS invalidated_at_time,
       p.collection, p.version
FROM archive.open_entity e
JOIN archive.product p ON p.product_id = e.product_id
JOIN archive.collection c ON c.name = p.collection
LEFT JOIN archive.generation g ON g.product_id = e.product_id;

CREATE VIEW provenance.activity WITH (security_barrier) AS
SELECT a.activity_id AS id, coalesce(a.run, a.software) AS name,
       to_char(a.start_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS') AS start_time,
       to_char(a.end_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS') AS end_time,
       a.comment, a.software AS description_name, a.version AS description_version, a.collection
FROM archive.activity a
WHERE EXISTS (SELECT FROM archive.generation g JOIN archive.open_entity e USING (product_id)
              WHERE g.activity_id = a.activity_id);

CREATE VIEW provenance.was_generated_by WITH (security_barrier) AS
SELECT e.id AS entity_id, g.activity_id
FROM archive.generation g JOIN archive.open_entity e USING (product_id);

-- One branch for each way in which a product is named: each finds its rows from either side.
CREATE VIEW provenance.was_derived_from WITH (security_barrier) AS
SELECT e.id AS generated_entity_id, u.did AS used_entity_id, d.role
FROM archive.derivation d JOIN archive.open_entity e USING (product_id)
JOIN archive.product u ON u.did = d.name AND u.current AND NOT u.closed
WHERE d.kind = 'did'
UNION ALL
SELECT e.id, u.did, d.role
FROM archive.derivation d JOIN archive.open_entity e USING (product_id)
JOIN archive.product u
  ON u.collection = d.collection AND u.path = d.name AND u.current AND NOT u.closed
WHERE d.kind = 'path'
UNION ALL
SELECT e.id, u.did, d.role
FROM archive.derivation d JOIN archive.open_entity e USING (product_id)
JOIN archive.product u ON u.collection = d.collection AND u.frame_id = d.name COLLATE "C"
  AND u.current AND NOT u.closed
WHERE d.kind = 'frame'
UNION ALL
SELECT e.id, d.name, d.role
FROM archive.derivation d JOIN archive.open_entity e USING (product_id)
WHERE NOT EXISTS (
    SELECT FROM archive.product u WHERE d.kind = 'did' AND u.did = d.name
    AND u.current AND NOT u.closed)
  AND NOT EXISTS (
    SELECT FROM archive.product u WHERE d.kind = 'path' AND u.collection = d.collection
    AND u.path = d.name AND u.current AND NOT u.closed)
  AND NOT EXISTS (
    SELECT FROM archive.product u WHERE d.kind = 'frame' AND u.collection = d.collection
    AND u.frame_id = d.name COLLATE "C" AND u.current AND NOT u.closed);

CREATE VIEW provenance.used WITH (security_barrier) AS
SELECT DISTINCT g.activity_id, d.used_entity_id AS entity_id, d.role
FROM provenance.was_generated_by g
JOIN provenance.was_derived_from d ON d.generated_entity_id = g.entity_id;

-- ADQL has no recursion: progenitors of progenitors, three generations deep.
CREATE VIEW provenance.ancestor WITH (security_barrier) AS
SELECT generated_entity_id AS entity_id, used_entity_id AS ancestor_id, role, 1 AS generation
FROM provenance.was_derived_from
UNION ALL
SELECT a.generated_entity_id, b.used_entity_id, b.role, 2
FROM provenance.was_derived_from a
JOIN provenance.was_derived_from b ON b.generated_entity_id = a.used_entity_id
UNION ALL
SELECT a.generated_entity_id, c.used_entity_id, c.role, 3
FROM provenance.was_derived_from a
JOIN provenance.was_derived_from b ON b.generated_entity_id = a.used_entity_id
JOIN provenance.was_derived_from c ON c.generated_entity_id = b.used_entity_id;

GRANT SELECT, INSERT, UPDATE, DELETE ON archive.activity, archive.generation, archive.derivation
    TO vo_writer;
GRANT SELECT ON archive.known_derivation, archive.known_derivative TO vo_door, vo_writer;
GRANT SELECT ON archive.correction_of TO vo_door;
REVOKE ALL ON FUNCTION archive.quoted_value FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive.quoted_value TO vo_door, vo_writer;
GRANT USAGE ON SCHEMA provenance TO vo_reader, vo_member, vo_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA provenance TO vo_reader, vo_member, vo_writer;
