-- Who may read what. What the public may not know is kept apart from what it may: a view with a
-- condition would leak it through errors of expressions that are worked out first, or, as a
-- security barrier, keep pgSphere's operators from their indexes.

-- People, and what shows that it is they.

CREATE TABLE archive.person (
    name     text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9._-]{0,62}$'),
    password text,
    added    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN archive.person.password IS
    'Argon2id, in the PHC string format; NULL for one who has tokens only';

CREATE TABLE archive.membership (
    person      text NOT NULL REFERENCES archive.person ON DELETE CASCADE,
    proposal_id text NOT NULL CHECK (proposal_id <> ''),
    collection  text,
    first_day   date,
    last_day    date,
    CONSTRAINT a_membership_is_said_once UNIQUE NULLS NOT DISTINCT (person, proposal_id, collection),
    CONSTRAINT days_are_in_order CHECK (first_day <= last_day)
);
COMMENT ON TABLE archive.membership IS
    'Who may read frames of a proposal before their release; collection NULL: in all of them';

CREATE TABLE archive.token (
    digest    bytea PRIMARY KEY CHECK (length(digest) = 32),
    person    text NOT NULL REFERENCES archive.person ON DELETE CASCADE,
    kind      text NOT NULL CHECK (kind IN ('token', 'session')),
    label     text NOT NULL DEFAULT '',
    made      timestamptz NOT NULL DEFAULT now(),
    expires   timestamptz NOT NULL,
    last_used date
);
CREATE INDEX token_person ON archive.token (person);
COMMENT ON COLUMN archive.token.digest IS
    'SHA-256 of the token, which is random and itself kept nowhere';

-- The person that a session works for is told by the server (vo.person); SQL from outside can
-- neither set nor read it, for it is translated from ADQL, which has no function for that.
CREATE VIEW archive.mine AS
SELECT proposal_id, collection FROM archive.membership
WHERE person = current_setting('vo.person', true)
  AND (now() AT TIME ZONE 'UTC')::date
      BETWEEN coalesce(first_day, '-infinity') AND coalesce(last_day, 'infinity');
COMMENT ON VIEW archive.mine IS
    'Proposals whose frames the person of this session may read before their release';

-- Products that the public must not know of. Kept, not worked out, so that indexes can leave
-- them out and a question about one takes the same way as one about nothing.

ALTER TABLE archive.product ADD COLUMN closed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN archive.product.closed IS
    'The public must not know of it: vo_service.db.visibility keeps this and observation_closed';
CREATE INDEX product_open ON archive.product (collection, path) WHERE current AND NOT closed;
CREATE INDEX product_open_did ON archive.product (did) WHERE current AND NOT closed;
CREATE INDEX product_closed ON archive.product (proposal_id, path) WHERE current AND closed;
CREATE INDEX product_closed_did ON archive.product (proposal_id, did) WHERE current AND closed;

CREATE FUNCTION archive.is_closed(state text, released timestamptz, definition jsonb)
    RETURNS boolean LANGUAGE sql IMMUTABLE
    -- What was public until its file went for its age stays known.
    RETURN state <> 'public' AND (state <> 'expired' OR released IS NULL)
            AND coalesce(definition ->> 'metadata' = 'closed', false)
        OR state = 'withdrawn' AND coalesce(definition ->> 'withdrawn' = 'hide', false);
COMMENT ON FUNCTION archive.is_closed IS
    'Whether the public must not know of a product in this state of a collection defined so';

CREATE TABLE archive.observation_closed (
    LIKE archive.observation INCLUDING CONSTRAINTS,
    collection  text NOT NULL,
    proposal_id text
);
CREATE INDEX observation_closed_product ON archive.observation_closed (product_id);
CREATE INDEX observation_closed_proposal ON archive.observation_closed (proposal_id, s_ra);
COMMENT ON COLUMN archive.observation_closed.proposal_id IS
    'Whose people may read the row; NULL: nobody (withdrawn, or of no proposal)';

-- What archive.published.reach is for open rows; apart from it, since everybody may read that.
CREATE TABLE archive.closed_reach (reach double precision NOT NULL);
INSERT INTO archive.closed_reach VALUES (0);

-- The observations of a person: those of everybody, then the closed ones of the own proposals.
CREATE VIEW archive.observation_mine WITH (security_barrier) AS
SELECT c.* FROM archive.observation_closed c
WHERE current_setting('vo.person', true) <> ''
  AND EXISTS (SELECT FROM archive.mine m WHERE m.proposal_id = c.proposal_id
              AND (m.collection IS NULL OR m.collection = c.collection));

CREATE VIEW archive.obscore_member AS
SELECT * FROM archive.obscore
UNION ALL
SELECT dataproduct_type, calib_level, obs_collection, obs_id, obs_publisher_did,
       current_setting('vo.data_url', true) || access_path AS access_url,
       access_format, access_estsize, target_name, s_ra, s_dec, s_fov, s_region, s_resolution,
       s_xel1, s_xel2, t_min, t_max, t_exptime, t_resolution, t_xel, em_min, em_max,
       em_res_power, em_xel, o_ucd, pol_states, pol_xel, facility_name, instrument_name,
       position, region
FROM archive.observation_mine;

-- The products that the person of a session may know of, and whether the file may be read. The
-- second branch is not looked into at all where the session is nobody's.
CREATE VIEW archive.known_product AS
SELECT p.product_id, p.collection, p.path, p.version, p.did, p.source, p.size, p.media_type,
       p.md5, p.state, p.release_date, p.proposal_id,
       p.state = 'public' OR p.state = 'arrived' AND EXISTS (
           SELECT FROM archive.mine m WHERE m.proposal_id = p.proposal_id
           AND (m.collection IS NULL OR m.collection = p.collection)) AS readable
FROM archive.product p
WHERE p.current AND NOT p.closed
UNION ALL
SELECT p.product_id, p.collection, p.path, p.version, p.did, p.source, p.size, p.media_type,
       p.md5, p.state, p.release_date, p.proposal_id, true
FROM archive.product p
WHERE p.current AND p.closed AND p.state = 'arrived'
  AND current_setting('vo.person', true) <> ''
  AND EXISTS (SELECT FROM archive.mine m WHERE m.proposal_id = p.proposal_id
              AND (m.collection IS NULL OR m.collection = p.collection));
COMMENT ON VIEW archive.known_product IS
    'The one policy of files: what a session of vo.person may know of, and may read (readable)';

DROP VIEW archive.standing;
CREATE VIEW archive.standing AS
SELECT p.product_id, p.collection, p.path, p.state, p.release_date, p.media_type, p.md5,
       p.source, p.readable, c.roots
FROM archive.known_product p JOIN archive.collection c ON c.name = p.collection;

DROP VIEW archive.link;
CREATE VIEW archive.link AS
SELECT p.did, p.state, p.release_date, p.source IS NOT NULL AS has_file, p.media_type, p.size,
       p.readable, current_setting('vo.data_url', true) || CASE
           WHEN place ~ '^[A-Za-z0-9_.~/-]*$' THEN place
           -- RFC 3986, 'Percent-Encoding'; the letters that ingest leaves alone, too.
           ELSE (SELECT string_agg(CASE
                            WHEN chr(byte) ~ '[A-Za-z0-9_.~/-]' THEN chr(byte)
                            ELSE '%' || upper(lpad(to_hex(byte), 2, '0')) END, '' ORDER BY i)
                 FROM convert_to(place, 'UTF8') AS bytes,
                      generate_series(0, length(bytes) - 1) AS i, get_byte(bytes, i) AS byte)
       END AS access_url
FROM archive.known_product p, LATERAL (SELECT p.collection || '/' || p.path AS place) AS placed;

-- Rights: what everybody's queries run as sees published tables alone.
GRANT USAGE ON SCHEMA archive TO vo_member, vo_door;
GRANT USAGE ON SCHEMA ivoa, tap_schema TO vo_member;
GRANT SELECT ON archive.obscore, archive.obscore_member, archive.published,
      archive.closed_reach TO vo_member;
GRANT SELECT, UPDATE ON archive.closed_reach TO vo_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA tap_schema TO vo_member;
GRANT USAGE ON SCHEMA tap_upload TO vo_member;
GRANT SELECT ON archive.known_product, archive.standing, archive.link TO vo_door, vo_writer;
GRANT SELECT ON archive.person, archive.mine, archive.token TO vo_door;
GRANT INSERT, DELETE ON archive.token TO vo_door;
GRANT UPDATE (last_used) ON archive.token TO vo_door;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.person, archive.membership, archive.token,
      archive.observation_closed TO vo_writer;
REVOKE ALL ON FUNCTION archive.is_closed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive.is_closed TO vo_writer;
