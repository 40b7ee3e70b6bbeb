-- What operators watch: numbers for /metrics, and queries that took long.

-- Numbers only, nobody and nothing in them by name but roles, services and lanes of ours. The
-- view has its owner's rights, so that the door, which reads it, needs none to the tables.
CREATE VIEW archive.gauge AS
SELECT 'vo_jobs' AS name, jsonb_build_object('service', service, 'phase', phase) AS labels,
       count(*)::double precision AS value
FROM uws.job GROUP BY service, phase
UNION ALL
SELECT 'vo_queue_length', jsonb_build_object('lane', lane), count(*)
FROM uws.job WHERE phase = 'QUEUED' GROUP BY lane
UNION ALL
SELECT 'vo_queue_age_seconds', jsonb_build_object('lane', lane),
       extract(epoch FROM now() - min(queued))
FROM uws.job WHERE phase = 'QUEUED' AND queued IS NOT NULL GROUP BY lane
UNION ALL
SELECT 'vo_database_bytes', '{}', pg_database_size(current_database())
UNION ALL
SELECT 'vo_database_connections', jsonb_build_object('role', coalesce(usename, '')), count(*)
FROM pg_stat_activity WHERE datname = current_database() GROUP BY usename
UNION ALL
SELECT 'vo_database_connections_limit', '{}', current_setting('max_connections')::integer
UNION ALL
SELECT 'vo_files', jsonb_build_object('state', state), sum(files)
FROM archive.volume GROUP BY state
UNION ALL
SELECT 'vo_files_bytes', jsonb_build_object('state', state), sum(size)
FROM archive.volume GROUP BY state
UNION ALL
-- As the rules said last: what is due and not yet public is still to be done, or held up.
SELECT 'vo_release_due_files', '{}', coalesce(sum(files), 0)
FROM archive.volume WHERE state = 'arrived' AND release_date <= current_date
UNION ALL
SELECT 'vo_release_last_run_timestamp_seconds', '{}', extract(epoch FROM ended)
FROM (SELECT ended FROM archive.release_run ORDER BY ended DESC LIMIT 1) AS run
UNION ALL
SELECT 'vo_ingest_last_end_timestamp_seconds', '{}', extract(epoch FROM max(ended))
FROM archive.ingest_run HAVING max(ended) IS NOT NULL
UNION ALL
SELECT 'vo_refused_files', '{}', count(*) FROM archive.refusal
UNION ALL
SELECT 'vo_wal_archive_failures', '{}', failed_count FROM pg_stat_archiver
UNION ALL
SELECT 'vo_wal_archive_last_timestamp_seconds', '{}', extract(epoch FROM last_archived_time)
FROM pg_stat_archiver WHERE last_archived_time IS NOT NULL;
GRANT SELECT ON archive.gauge TO vo_door;

CREATE TABLE archive.slow_query (
    slow_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began      timestamptz NOT NULL,
    seconds    double precision NOT NULL,
    rows       bigint NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('complete', 'left', 'failed')),
    request_id text,
    query      text,
    statement  text
);
CREATE INDEX slow_query_began ON archive.slow_query (began);
COMMENT ON TABLE archive.slow_query IS
    'Queries that made the database work for longer than slow_query_s, for slow_query_days';
COMMENT ON COLUMN archive.slow_query.seconds IS
    'Waited for the database; what a slow client takes to read is not in it';
COMMENT ON COLUMN archive.slow_query.query IS 'ADQL as it came; NULL for other protocols';
COMMENT ON COLUMN archive.slow_query.statement IS
    'The SQL that was run, for its plan; NULL where it was too long to be kept';

-- The door writes and cannot read what it wrote; operators read.
GRANT INSERT ON archive.slow_query TO vo_door;
GRANT SELECT, DELETE ON archive.slow_query TO vo_writer;
