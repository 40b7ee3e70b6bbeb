-- Partitions that live in other PostgreSQL servers and come back as foreign ones (docs/shards.md).
-- Where each is, the system catalogue knows, and nothing else: a move that is killed leaves it
-- either here or there.

CREATE TABLE archive.centre (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO archive.centre DEFAULT VALUES;
COMMENT ON TABLE archive.centre IS
    'Who this archive is to its nodes, each of which serves one';

CREATE TABLE archive.shard (
    name    text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,30}$' AND name <> 'centre'),
    url     text NOT NULL,
    version text NOT NULL,
    added   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN archive.shard.url IS
    'How the owner of the tables logs in there, with a password perhaps: read by the owner alone';

COMMENT ON COLUMN archive.shard.version IS
    'The version of this schema that its tables were made after, or brought up to';

-- Each partition of the observations, its bounds (degrees), and the shard where it is; the
-- partition of what has no position has no bounds, those that are here have no shard.
CREATE VIEW archive.shard_part AS
SELECT c.relname::text AS partition, substr(s.srvname, 4) AS shard,
       substring(bounds.told FROM $$FROM \('?([0-9.e+-]+)'?\)$$)::double precision AS low,
       substring(bounds.told FROM $$TO \('?([0-9.e+-]+)'?\)$$)::double precision AS high
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS told) AS bounds
LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
LEFT JOIN pg_foreign_server s ON s.oid = f.ftserver
WHERE i.inhparent = 'archive.observation'::regclass AND NOT i.inhdetachpending;
GRANT SELECT ON archive.shard_part TO vo_door, vo_writer;

-- A partition that is attached need not be compared with the rows of this one: they have no
-- position at all, since bounds go from 0 to 360.
ALTER TABLE archive.observation_no_position
    ADD CONSTRAINT what_has_a_position_is_not_here CHECK (s_ra IS NULL);

-- Triggers that see all rows of a statement do not see those of foreign partitions: whoever
-- writes observations notes what changed (vo_service.db.visibility), in the same statement.
DROP TRIGGER coverage_insert ON archive.observation;
DROP TRIGGER coverage_delete ON archive.observation;
DROP FUNCTION archive.note_coverage;
GRANT INSERT ON archive.coverage_change TO vo_writer;
