-- Archive: what is here, what it is, who may have it.

CREATE SCHEMA IF NOT EXISTS archive;
CREATE SCHEMA ivoa;

CREATE TABLE archive.collection (
    name        text PRIMARY KEY,
    title       text NOT NULL,
    description text,
    definition  jsonb NOT NULL,
    roots       text[] NOT NULL DEFAULT '{}',
    updated     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN archive.collection.roots IS
    'Storage roots: a published link may lead into these directories only';

CREATE TABLE archive.product (
    product_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL REFERENCES archive.collection,
    path         text NOT NULL,
    version      integer NOT NULL DEFAULT 1,
    current      boolean NOT NULL DEFAULT true,
    did          text NOT NULL,
    source       text,
    size         bigint NOT NULL CHECK (size >= 0),
    modified     timestamptz NOT NULL,
    media_type   text NOT NULL,
    md5          text CHECK (md5 ~ '^[0-9a-f]{32}$'),
    md5_given    text CHECK (md5_given ~ '^[0-9a-f]{32}$'),
    state        text NOT NULL DEFAULT 'arrived'
                 CHECK (state IN ('arrived', 'public', 'withdrawn')),
    arrived      timestamptz NOT NULL DEFAULT now(),
    night        date,
    release_date date,
    released     timestamptz,
    proposal_id  text,
    data_typ     text,
    obs_mod      text,
    observer     text,
    object_name  text,
    headers      jsonb NOT NULL
);
CREATE UNIQUE INDEX product_current ON archive.product (collection, path) WHERE current;
CREATE UNIQUE INDEX product_did ON archive.product (did) WHERE current;
CREATE INDEX product_release ON archive.product (release_date) WHERE current AND state = 'arrived';
CREATE INDEX product_night ON archive.product (collection, night);
COMMENT ON TABLE archive.product IS
    'One row a file and version; the transfer table of the archive (who sent what, how large, '
    'with which checksum, to be released when)';

CREATE TABLE archive.observation (
    product_id       bigint NOT NULL,
    dataproduct_type text,
    calib_level      integer NOT NULL,
    obs_collection   text NOT NULL,
    obs_id           text NOT NULL,
    obs_publisher_did text NOT NULL,
    access_path      text,
    access_format    text,
    access_estsize   bigint,
    target_name      text,
    s_ra             double precision,
    s_dec            double precision,
    s_fov            double precision,
    s_region         text,
    s_resolution     double precision,
    s_xel1           bigint,
    s_xel2           bigint,
    t_min            double precision,
    t_max            double precision,
    t_exptime        double precision,
    t_resolution     double precision,
    t_xel            bigint,
    em_min           double precision,
    em_max           double precision,
    em_res_power     double precision,
    em_xel           bigint,
    o_ucd            text,
    pol_states       text,
    pol_xel          bigint,
    facility_name    text,
    instrument_name  text,
    position         spoint,
    region           spoly,
    CONSTRAINT a_position_is_whole CHECK ((s_ra IS NULL) = (s_dec IS NULL) AND (s_ra IS NULL) = (position IS NULL)),
    CONSTRAINT a_position_is_on_the_sphere CHECK
        (s_ra >= 0 AND s_ra < 360 AND s_dec BETWEEN -90 AND 90),
    CONSTRAINT a_region_has_text_and_size CHECK (region IS NULL OR (s_region IS NOT NULL AND s_fov IS NOT NULL))
) PARTITION BY RANGE (s_ra);
CREATE INDEX observation_position ON archive.observation USING gist (position);
CREATE INDEX observation_region ON archive.observation USING gist (region);
CREATE INDEX observation_product ON archive.observation (product_id);
CREATE INDEX observation_did ON archive.observation (obs_publisher_did);
CREATE INDEX observation_time ON archive.observation (t_min);

CREATE TABLE archive.ingest_run (
    run_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection text NOT NULL REFERENCES archive.collection,
    started    timestamptz NOT NULL DEFAULT now(),
    ended      timestamptz,
    files      bigint NOT NULL DEFAULT 0,
    added      bigint NOT NULL DEFAULT 0,
    changed    bigint NOT NULL DEFAULT 0,
    unchanged  bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0
);

CREATE TABLE archive.refusal (
    collection text NOT NULL REFERENCES archive.collection,
    source     text NOT NULL,
    run_id     bigint NOT NULL REFERENCES archive.ingest_run,
    refused    timestamptz NOT NULL DEFAULT now(),
    hdu        integer,
    keyword    text,
    reason     text NOT NULL,
    PRIMARY KEY (collection, source)
);
COMMENT ON TABLE archive.refusal IS
    'Files that could not be mapped, as of the last attempt; a file that is mapped later leaves';

-- What queries from outside read: the ObsCore columns, then the pgSphere values behind
-- them, which no published table lists. The address is the server''s to say, so it comes
-- from the session (vo.data_url) and a move of the server rewrites no row.
CREATE VIEW archive.obscore AS
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       current_setting('vo.data_url', true) || access_path AS access_url,
       access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region, s_resolution,
       s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region
FROM archive.observation;

CREATE VIEW ivoa.obscore AS
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did, access_url,
       access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region, s_resolution,
       s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name
FROM archive.obscore;

-- What /data/ must know before it opens a file, and nothing more.
CREATE VIEW archive.standing AS
SELECT p.collection, p.path, p.state, p.release_date, p.media_type, p.md5, c.roots
FROM archive.product p JOIN archive.collection c ON c.name = p.collection
WHERE p.current;

GRANT USAGE ON SCHEMA archive TO vo_writer, vo_reader;
GRANT USAGE ON SCHEMA ivoa TO vo_writer, vo_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.collection, archive.product,
      archive.observation, archive.ingest_run, archive.refusal TO vo_writer;
GRANT USAGE ON SEQUENCE archive.product_product_id_seq TO vo_writer;
GRANT SELECT ON archive.obscore, archive.standing, ivoa.obscore TO vo_writer, vo_reader;
