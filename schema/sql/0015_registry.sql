-- Registry records as harvesters get them: a row for each identifier that was ever published.

CREATE TABLE archive.record (
    record_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ivoid      text NOT NULL UNIQUE CHECK (ivoid = lower(ivoid) AND ivoid LIKE 'ivo://%'),
    identifier text NOT NULL CHECK (lower(identifier) = ivoid),
    title      text NOT NULL,
    sets       text[] NOT NULL,
    document   text,
    simple     text CHECK ((simple IS NULL) = (document IS NULL)),
    digest     bytea NOT NULL,
    created    timestamptz NOT NULL,
    updated    timestamptz NOT NULL,
    CONSTRAINT datestamps_are_whole_seconds CHECK (updated = date_trunc('second', updated))
);
CREATE INDEX record_order ON archive.record (updated, record_id);
COMMENT ON COLUMN archive.record.ivoid IS 'The identifier in lower case, as IVOIDs are compared';
COMMENT ON COLUMN archive.record.document IS 'ri:Resource; NULL: the record was deleted';
COMMENT ON COLUMN archive.record.simple IS 'The same as oai_dc';
COMMENT ON COLUMN archive.record.digest IS 'SHA-256 of the content without its dates';

-- The records of collections tell what the public may know of them, so they are made from that.
CREATE VIEW archive.covered AS
SELECT p.collection, o.t_min, o.t_max, o.em_min, o.em_max, o.facility_name, o.instrument_name
FROM archive.observation o JOIN archive.product p USING (product_id);
COMMENT ON VIEW archive.covered IS 'Of open rows: when, at which wavelengths and with what they were observed';

GRANT SELECT ON archive.record TO vo_door, vo_writer;
GRANT INSERT, UPDATE ON archive.record TO vo_writer;
GRANT SELECT ON archive.covered TO vo_writer;
