-- Asynchronous jobs (UWS 1.1). Their own schema: who keeps jobs needs nothing of the archive,
-- and the reader, which runs queries from outside, sees nothing of jobs.

CREATE SCHEMA uws;

CREATE TABLE uws.job (
    number             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id             text NOT NULL UNIQUE CHECK (length(job_id) >= 22),
    owner              text,
    client             text NOT NULL,
    phase              text NOT NULL DEFAULT 'PENDING' CHECK (phase IN
        ('PENDING', 'QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', 'ARCHIVED')),
    parameters         json NOT NULL,
    created            timestamptz NOT NULL DEFAULT now(),
    queued             timestamptz,
    started            timestamptz,
    ended              timestamptz,
    destruction        timestamptz NOT NULL,
    quote              timestamptz,
    execution_duration integer NOT NULL CHECK (execution_duration > 0),
    lane               text CHECK (lane IN ('short', 'long')),
    attempts           integer NOT NULL DEFAULT 0,
    estimate           json,
    rows_written       bigint NOT NULL DEFAULT 0,
    bytes_written      bigint NOT NULL DEFAULT 0,
    result_type        text,
    result_suffix      text,
    error_message      text,
    error_transient    boolean,
    CONSTRAINT a_completed_job_has_a_result
        CHECK (phase <> 'COMPLETED' OR (result_type IS NOT NULL AND result_suffix IS NOT NULL)),
    CONSTRAINT a_failed_job_has_a_reason CHECK (phase <> 'ERROR' OR error_message IS NOT NULL),
    CONSTRAINT a_waiting_job_has_a_lane
        CHECK (phase NOT IN ('QUEUED', 'EXECUTING') OR lane IS NOT NULL)
);
CREATE INDEX job_phase ON uws.job (phase, lane);
CREATE INDEX job_client ON uws.job (client);
CREATE INDEX job_owner ON uws.job (owner, created);
CREATE INDEX job_destruction ON uws.job (destruction);
COMMENT ON COLUMN uws.job.number IS
    'What notifications and advisory locks name a job by: unlike job_id it opens nothing';
COMMENT ON COLUMN uws.job.client IS
    'Among whom workers are shared out: the user, or the address of one who is not known';

-- A change of phase wakes workers and waiting clients; progress does not.
CREATE FUNCTION uws.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM pg_notify('uws_job', OLD.number || ' DELETED');
    ELSE
        PERFORM pg_notify('uws_job', NEW.number || ' ' || NEW.phase);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_change AFTER UPDATE ON uws.job
    FOR EACH ROW WHEN (OLD.phase IS DISTINCT FROM NEW.phase OR OLD.lane IS DISTINCT FROM NEW.lane)
    EXECUTE FUNCTION uws.tell();
CREATE TRIGGER tell_end AFTER DELETE ON uws.job FOR EACH ROW EXECUTE FUNCTION uws.tell();

GRANT USAGE ON SCHEMA uws TO vo_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON uws.job TO vo_jobs;
