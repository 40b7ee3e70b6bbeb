-- The log of downloads, what stays of it for ever, and when alarms were sent.

CREATE TABLE archive.download (
    download_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id  bigint NOT NULL REFERENCES archive.product,
    ended       timestamptz NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('file', 'corrected', 'bundle', 'cutout')),
    method      text NOT NULL,
    whole       boolean NOT NULL,
    complete    boolean NOT NULL,
    bytes       bigint NOT NULL CHECK (bytes >= 0),
    person      text,
    client      text
);
CREATE INDEX download_product ON archive.download (product_id);
CREATE INDEX download_ended ON archive.download (ended);
COMMENT ON TABLE archive.download IS
    'Who was sent which product, for as long as download_retention_days says';
COMMENT ON COLUMN archive.download.whole IS
    'The whole product was asked for, not a range of it';
COMMENT ON COLUMN archive.download.complete IS
    'All that was asked for was sent; false where the client left or the file broke off';
COMMENT ON COLUMN archive.download.client IS
    'Of somebody not known by name: a hash of the address that nobody can take back once its '
    'day is over, or the address itself if the operator wants it';

-- The key of the hashes, one for each day (UTC); without it they cannot be guessed from the
-- few addresses that there are, so it goes when its day is over.
CREATE TABLE archive.download_key (
    day date PRIMARY KEY,
    key bytea NOT NULL
);

CREATE TABLE archive.download_day (
    collection text NOT NULL REFERENCES archive.collection,
    day        date NOT NULL,
    files      bigint NOT NULL,
    bytes      bigint NOT NULL,
    visitors   bigint NOT NULL,
    PRIMARY KEY (collection, day)
);
COMMENT ON TABLE archive.download_day IS
    'What stays of the log: numbers, nobody in them; a file counts once a visitor and day';

CREATE TABLE archive.alarm (
    kind       text PRIMARY KEY,
    sent       timestamptz NOT NULL,
    suppressed bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE archive.alarm IS
    'When an alarm of each kind was last sent, and how many were kept back since';

GRANT INSERT ON archive.download TO vo_door;
GRANT SELECT, INSERT ON archive.download_key TO vo_door;
GRANT SELECT, DELETE ON archive.download, archive.download_key TO vo_writer;
GRANT SELECT, INSERT, UPDATE ON archive.download_day, archive.alarm TO vo_writer;

-- Data servers. A header-only product of a collection that has one is 'elsewhere'.

ALTER TABLE archive.product ADD COLUMN elsewhere boolean NOT NULL DEFAULT false;
ALTER TABLE archive.product ADD CONSTRAINT what_is_elsewhere_is_not_here
    CHECK (NOT elsewhere OR source IS NULL);
COMMENT ON COLUMN archive.product.elsewhere IS
    'Only the header is here; the file is at the data server of the collection';

ALTER TABLE archive.collection ADD COLUMN data_url text
    GENERATED ALWAYS AS (definition #>> '{data_server,url}') STORED;
COMMENT ON COLUMN archive.collection.data_url IS
    'Base of the addresses of its files; NULL where they come from this server';

-- All of them in one value, which a query works out once, whatever it reads: a join would
-- stand in the way of others, and an address in every row would have to be changed in each.
CREATE VIEW archive.data_servers AS
SELECT jsonb_object_agg(name, data_url) AS urls FROM archive.collection WHERE data_url IS NOT NULL;

CREATE OR REPLACE VIEW archive.obscore AS
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       coalesce((SELECT urls FROM archive.data_servers) ->> split_part(access_path, '/', 1),
                current_setting('vo.data_url', true)) || access_path AS access_url,
       access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region, s_resolution,
       s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region
FROM archive.observation;

-- RFC 3986, 'Percent-Encoding', of what follows a base; the letters that ingest leaves alone.
CREATE FUNCTION archive.quoted(place text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE
        WHEN place ~ '^[A-Za-z0-9_.~/-]*$' THEN place
        ELSE (SELECT string_agg(CASE
                         WHEN chr(byte) ~ '[A-Za-z0-9_.~/-]' THEN chr(byte)
                         ELSE '%' || upper(lpad(to_hex(byte), 2, '0')) END, '' ORDER BY i)
              FROM convert_to(place, 'UTF8') AS bytes,
                   generate_series(0, length(bytes) - 1) AS i, get_byte(bytes, i) AS byte)
    END;

-- What is not everybody's goes through this server, which knows who asks and then signs.
CREATE OR REPLACE VIEW archive.link AS
SELECT p.did, p.state, p.release_date, p.source IS NOT NULL OR e.elsewhere AS has_file,
       p.media_type, CASE WHEN p.source IS NOT NULL THEN p.size END AS size, p.readable,
       coalesce(CASE WHEN p.state = 'public' THEN c.data_url END,
                current_setting('vo.data_url', true))
       || archive.quoted(p.collection || '/' || p.path) AS access_url
FROM archive.known_product p
JOIN archive.product e ON e.product_id = p.product_id
JOIN archive.collection c ON c.name = p.collection;

CREATE OR REPLACE VIEW archive.standing AS
SELECT p.product_id, p.collection, p.path, p.state, p.release_date, p.media_type, p.md5,
       p.source, p.readable, c.roots, e.elsewhere, c.data_url,
       CASE WHEN p.source IS NOT NULL THEN p.size END AS size
FROM archive.known_product p
JOIN archive.product e ON e.product_id = p.product_id
JOIN archive.collection c ON c.name = p.collection;

-- Statistics for everybody: of collections of which everybody may know.
CREATE VIEW archive_stats.download_month WITH (security_barrier) AS
SELECT d.collection, to_char(d.day, 'YYYY-MM') AS calendar_month, sum(d.files)::bigint AS files,
       sum(d.bytes)::bigint AS volume, sum(d.visitors)::bigint AS visitor_days
FROM archive.download_day d JOIN archive.collection c ON c.name = d.collection
WHERE coalesce(c.definition ->> 'metadata' <> 'closed', true)
GROUP BY 1, 2;
COMMENT ON VIEW archive_stats.download_month IS
    'Files sent, by collection and month (UTC): nobody in it, nothing of closed collections';
GRANT SELECT ON archive_stats.download_month TO vo_reader, vo_member, vo_writer;

-- For the door of a data server: the centre's signature says that somebody may read a file,
-- this that it has not been withdrawn since.
CREATE VIEW archive.file AS
SELECT p.product_id, p.collection, p.path, p.state, p.media_type, p.source, c.roots,
       CASE WHEN p.source IS NOT NULL THEN p.size END AS size
FROM archive.product p JOIN archive.collection c ON c.name = p.collection
WHERE p.current AND p.state IN ('arrived', 'public') AND (p.source IS NOT NULL OR p.elsewhere);
GRANT SELECT ON archive.file TO vo_door, vo_writer;
GRANT SELECT (name) ON archive.collection TO vo_door;
