-- Release rules: the lists that an operator imports, what they say of which product, the runs
-- that applied them; and how much of what there is, kept while products come and change.

ALTER TABLE archive.product
    ADD COLUMN origin text,
    ADD COLUMN instrument text,
    ADD COLUMN release_rule text;
COMMENT ON COLUMN archive.product.origin IS
    'Where the file came from, as the operator said, else host and directory';
COMMENT ON COLUMN archive.product.release_date IS
    'First day on which everybody may read the file; NULL where no such day is in sight';
COMMENT ON COLUMN archive.product.release_rule IS 'What set release_date';
UPDATE archive.product p SET instrument = o.instrument_name
FROM archive.observation o WHERE o.product_id = p.product_id AND o.instrument_name IS NOT NULL;

-- What a file is called without what only says its format: TRCS00112231.
CREATE FUNCTION archive.frame_name(path text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(regexp_replace(path, '^.*/', ''),
                          '\.(fits?|fts|hdr|head|txt)(\.(gz|fz))?$|\.fz$', '', 'i');

-- Days of release are planned anew for many products at once: no index holds them (what is due
-- is found by night, through archive.volume), and headers lie apart, so that they stay where
-- they are when the rest of a row is written again.
DROP INDEX archive.product_release;
ALTER TABLE archive.product SET (toast_tuple_target = 256);

ALTER TABLE archive.collection ADD COLUMN file text;
COMMENT ON COLUMN archive.collection.file IS
    'Name or path by which its file is found when rules are applied; NULL: definition counts';

CREATE TABLE archive.release_list (
    list_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection text NOT NULL REFERENCES archive.collection,
    name       text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('prolongations', 'holds', 'frames')),
    by_file    boolean NOT NULL,
    digest     text NOT NULL,
    lines      integer NOT NULL,
    imported   timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    UNIQUE (collection, by_file, name)
);
COMMENT ON COLUMN archive.release_list.by_file IS
    'The collection file names this list, and it is read again when it has changed';

CREATE TABLE archive.prolongation (
    list_id     bigint NOT NULL REFERENCES archive.release_list ON DELETE CASCADE,
    line        integer NOT NULL,
    proposal_id text NOT NULL,
    until       date NOT NULL,
    reason      text,
    PRIMARY KEY (list_id, line)
);
CREATE TABLE archive.hold (
    list_id     bigint NOT NULL REFERENCES archive.release_list ON DELETE CASCADE,
    line        integer NOT NULL,
    first_night date NOT NULL,
    last_night  date NOT NULL,
    instrument  text,
    until       date,
    reason      text,
    PRIMARY KEY (list_id, line)
);
CREATE TABLE archive.frame_decision (
    list_id bigint NOT NULL REFERENCES archive.release_list ON DELETE CASCADE,
    line    integer NOT NULL,
    frame   text NOT NULL,
    state   text NOT NULL CHECK (state IN ('public', 'private')),
    since   date NOT NULL,
    reason  text,
    PRIMARY KEY (list_id, line)
);

-- What lists of frames say of products on the day of the last run.
CREATE TABLE archive.decided (
    product_id bigint PRIMARY KEY REFERENCES archive.product ON DELETE CASCADE,
    collection text NOT NULL,
    closed     boolean NOT NULL,
    opens      date NOT NULL,
    rule       text NOT NULL
);
CREATE INDEX decided_collection ON archive.decided (collection);
COMMENT ON COLUMN archive.decided.closed IS 'Private again now, whatever other rules say';
COMMENT ON COLUMN archive.decided.opens IS
    'The day from which a list says public; infinity where none does';

CREATE TABLE archive.release_run (
    run_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day       date NOT NULL,
    actor     text NOT NULL,
    daily     boolean NOT NULL,
    started   timestamptz NOT NULL,
    ended     timestamptz NOT NULL DEFAULT clock_timestamp(),
    published bigint NOT NULL,
    closed    bigint NOT NULL,
    planned   bigint NOT NULL,
    problems  text[] NOT NULL
);
CREATE UNIQUE INDEX release_run_daily ON archive.release_run (day) WHERE daily;
COMMENT ON TABLE archive.release_run IS 'Runs of the release rules over all collections that ended';

-- Files and bytes of all that differs in what the rules look at. Rows are only added (with
-- negative counts where something left), so that writers never wait for each other here, and
-- folded together now and then; whoever reads it sums.
CREATE TABLE archive.volume (
    collection   text NOT NULL,
    night        date,
    proposal_id  text,
    instrument   text,
    state        text NOT NULL,
    closed       boolean NOT NULL,
    release_date date,
    release_rule text,
    files        bigint NOT NULL,
    size         bigint NOT NULL
);
CREATE INDEX volume_collection ON archive.volume (collection);

CREATE FUNCTION archive.fold_volume() RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = archive, pg_temp
BEGIN ATOMIC
    WITH parts AS (DELETE FROM archive.volume RETURNING *)
    INSERT INTO archive.volume
    SELECT collection, night, proposal_id, instrument, state, closed, release_date, release_rule,
           sum(files), sum(size)
    FROM parts GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING sum(files) <> 0;
END;

CREATE FUNCTION archive.count_volume() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = archive, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO archive.volume
        SELECT collection, night, proposal_id, instrument, state, closed, release_date,
               release_rule, count(*), sum(size)
        FROM after WHERE current GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO archive.volume
        SELECT collection, night, proposal_id, instrument, state, closed, release_date,
               release_rule, -count(*), -sum(size)
        FROM before WHERE current GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
    ELSE
        INSERT INTO archive.volume
        SELECT collection, night, proposal_id, instrument, state, closed, release_date,
               release_rule, sum(n), sum(n * size)
        FROM (SELECT collection, night, proposal_id, instrument, state, closed, release_date,
                     release_rule, size, 1 AS n FROM after WHERE current
              UNION ALL
              SELECT collection, night, proposal_id, instrument, state, closed, release_date,
                     release_rule, size, -1 FROM before WHERE current) AS changed
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING sum(n) <> 0 OR sum(n * size) <> 0;
    END IF;
    RETURN NULL;
END $$;

INSERT INTO archive.volume
SELECT collection, night, proposal_id, instrument, state, closed, release_date, release_rule,
       count(*), sum(size)
FROM archive.product WHERE current GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
CREATE TRIGGER volume_insert AFTER INSERT ON archive.product
    REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION archive.count_volume();
CREATE TRIGGER volume_update AFTER UPDATE ON archive.product
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION archive.count_volume();
CREATE TRIGGER volume_delete AFTER DELETE ON archive.product
    REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION archive.count_volume();

-- What everybody may know: sums over frames whose metadata are open. The barriers keep a
-- condition of a query (which may fail, and say so) from seeing what is left out.
CREATE SCHEMA archive_stats;
CREATE VIEW archive_stats.night WITH (security_barrier) AS
SELECT collection, to_char(night, 'YYYY-MM-DD') AS night, instrument AS instrument_name,
       sum(files)::bigint AS files, sum(size)::bigint AS volume,
       coalesce(sum(files) FILTER (WHERE state = 'public'), 0)::bigint AS public_files,
       coalesce(sum(size) FILTER (WHERE state = 'public'), 0)::bigint AS public_volume
FROM archive.volume
WHERE NOT closed AND state IN ('arrived', 'public') AND night IS NOT NULL
GROUP BY collection, volume.night, instrument HAVING sum(files) <> 0;

CREATE VIEW archive_stats.release_week WITH (security_barrier) AS
SELECT collection, to_char(date_trunc('week', release_date), 'YYYY-MM-DD') AS week,
       sum(files)::bigint AS files, sum(size)::bigint AS volume
FROM archive.volume
WHERE NOT closed AND state = 'arrived' AND release_date > (now() AT TIME ZONE 'UTC')::date
GROUP BY collection, date_trunc('week', release_date) HAVING sum(files) <> 0;

REVOKE ALL ON FUNCTION archive.fold_volume, archive.count_volume FROM PUBLIC;
GRANT USAGE ON SCHEMA archive_stats TO vo_reader, vo_member, vo_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA archive_stats TO vo_reader, vo_member, vo_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.release_list, archive.prolongation, archive.hold,
      archive.frame_decision, archive.decided, archive.release_run TO vo_writer;
GRANT SELECT ON archive.volume TO vo_writer;
GRANT EXECUTE ON FUNCTION archive.fold_volume TO vo_writer;
