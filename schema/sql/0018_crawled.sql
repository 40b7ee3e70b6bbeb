-- What other sites have: rows of their ObsCore, apart from ours. They have no file here, so
-- releases, links, coverage and records of ours never meet them; one view reads both.

CREATE TABLE archive.origin (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$' AND name <> 'here'),
    url        text NOT NULL,
    protocol   text NOT NULL CHECK (protocol IN ('tap', 'sia2')),
    chosen     jsonb NOT NULL DEFAULT '{}',
    every_days integer CHECK (every_days > 0),
    added      timestamptz NOT NULL DEFAULT now(),
    started    timestamptz,
    ended      timestamptz,
    products   bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0,
    problem    text
);
COMMENT ON TABLE archive.origin IS
    'Services of other sites whose ObsCore is read; here is the origin of our own rows';
COMMENT ON COLUMN archive.origin.chosen IS 'What of the service is read: circle, collections';
COMMENT ON COLUMN archive.origin.ended IS 'When a crawl last came to its end without a problem';

-- Where a crawl is. A part of a service is written down in the transaction that brought its rows,
-- so one that was killed goes on behind it, and parts that did not change are left alone.
CREATE TABLE archive.crawl_slice (
    origin   text NOT NULL REFERENCES archive.origin ON DELETE CASCADE,
    path     text COLLATE "C" NOT NULL,
    said     text,
    digest   bytea,
    is_split boolean NOT NULL DEFAULT false,
    fetched  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (origin, path)
);
COMMENT ON COLUMN archive.crawl_slice.said IS 'Count and sums of the part, as the service said them';
COMMENT ON COLUMN archive.crawl_slice.digest IS 'Of the rows that came, in any order';

CREATE TABLE archive.crawl_refusal (
    origin  text NOT NULL REFERENCES archive.origin ON DELETE CASCADE,
    path    text COLLATE "C" NOT NULL,
    reason  text NOT NULL,
    refused bigint NOT NULL,
    example text NOT NULL,
    PRIMARY KEY (origin, path, reason)
);
COMMENT ON TABLE archive.crawl_refusal IS
    'Rows that were not taken, by part of the service and reason, with one of them';

CREATE TABLE archive.elsewhere (
    origin           text NOT NULL REFERENCES archive.origin,
    dataproduct_type text,
    calib_level      integer NOT NULL,
    obs_collection   text,
    obs_id           text,
    obs_publisher_did text NOT NULL,
    access_url       text CHECK (access_url ~* '^https?://'),
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
    path             text COLLATE "C" NOT NULL,
    CONSTRAINT elsewhere_position_is_whole CHECK ((s_ra IS NULL) = (s_dec IS NULL) AND (s_ra IS NULL) = (position IS NULL)),
    CONSTRAINT elsewhere_position_is_on_the_sphere CHECK
        (s_ra >= 0 AND s_ra < 360 AND s_dec BETWEEN -90 AND 90),
    CONSTRAINT elsewhere_region_has_text_and_position CHECK
        (region IS NULL OR (s_region IS NOT NULL AND position IS NOT NULL))
) PARTITION BY RANGE (s_ra);
CREATE INDEX elsewhere_position ON archive.elsewhere USING gist (position);
CREATE INDEX elsewhere_region ON archive.elsewhere USING gist (region);
CREATE INDEX elsewhere_did ON archive.elsewhere (obs_publisher_did, origin);
CREATE INDEX elsewhere_path ON archive.elsewhere (origin, path);
COMMENT ON COLUMN archive.elsewhere.origin IS
    'Whose row it is: an identifier is its publisher''s, and two origins may use the same';
COMMENT ON COLUMN archive.elsewhere.path IS 'The slice that brought the row (archive.crawl_slice)';

-- Both, for one search: ours as everybody may see them, or as the person of the session may.
CREATE VIEW archive.everything AS
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       access_url, access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region,
       s_resolution, s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region,
       'here'::text AS origin
FROM archive.obscore
UNION ALL
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       access_url, access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region,
       s_resolution, s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region, origin
FROM archive.elsewhere;

CREATE VIEW archive.everything_member AS
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       access_url, access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region,
       s_resolution, s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region,
       'here'::text AS origin
FROM archive.obscore_member
UNION ALL
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       access_url, access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region,
       s_resolution, s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region, origin
FROM archive.elsewhere;

CREATE VIEW archive.origin_known AS
SELECT name AS origin, url, protocol, products,
       to_char(ended, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS crawled
FROM archive.origin;

GRANT SELECT ON archive.elsewhere, archive.everything, archive.origin_known TO vo_reader;
GRANT SELECT ON archive.elsewhere, archive.everything, archive.everything_member,
      archive.origin_known TO vo_member;
GRANT SELECT, INSERT, DELETE ON archive.elsewhere TO vo_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.origin, archive.crawl_slice,
      archive.crawl_refusal TO vo_writer;

-- Which services find anything of a collection, for its record.
CREATE OR REPLACE VIEW archive.covered AS
SELECT p.collection, o.t_min, o.t_max, o.em_min, o.em_max, o.facility_name, o.instrument_name,
       o.dataproduct_type
FROM archive.observation o JOIN archive.product p USING (product_id);
