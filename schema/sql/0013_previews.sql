-- Pictures of products: which are there, which are still to be made, which cannot be.

CREATE TABLE archive.preview (
    product_id bigint PRIMARY KEY REFERENCES archive.product ON DELETE CASCADE,
    begun      timestamptz,
    attempts   integer NOT NULL DEFAULT 0,
    made       timestamptz,
    reason     text,
    gone       boolean NOT NULL DEFAULT false,
    CONSTRAINT made_or_not CHECK (made IS NULL OR reason IS NULL)
);
COMMENT ON TABLE archive.preview IS
    'One row for each product with a file here; pictures lie in previews/ under its number, so a '
    'new version, which is another product, has pictures of its own';
COMMENT ON COLUMN archive.preview.begun IS
    'When a worker took it up; it is its for a while (vo_service.db.previews)';
COMMENT ON COLUMN archive.preview.reason IS 'Why there is none, noted once and not tried again';
COMMENT ON COLUMN archive.preview.gone IS
    'The product was withdrawn, replaced or has expired: its pictures are to be deleted';
CREATE INDEX preview_waiting ON archive.preview (product_id)
    WHERE made IS NULL AND reason IS NULL AND NOT gone;
CREATE INDEX preview_gone ON archive.preview (product_id) WHERE gone;

INSERT INTO archive.preview (product_id)
SELECT product_id FROM archive.product
WHERE current AND state IN ('arrived', 'public') AND source IS NOT NULL;

CREATE FUNCTION archive.want_previews() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = archive, pg_temp AS $$
BEGIN
    INSERT INTO archive.preview (product_id)
    SELECT product_id FROM after WHERE current AND source IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER preview_insert AFTER INSERT ON archive.product
    REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION archive.want_previews();

CREATE FUNCTION archive.turn_preview() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = archive, pg_temp AS $$
BEGIN
    IF NEW.state NOT IN ('arrived', 'public') THEN
        UPDATE archive.preview SET gone = true WHERE product_id = NEW.product_id;
    ELSIF NEW.source IS NOT NULL THEN
        INSERT INTO archive.preview (product_id) VALUES (NEW.product_id)
        ON CONFLICT (product_id) DO UPDATE
        SET gone = false, begun = NULL, attempts = 0, made = NULL, reason = NULL;
    END IF;
    RETURN NULL;
END $$;
-- Release and what undoes it change no picture: only what becomes of the file does.
CREATE TRIGGER preview_turn AFTER UPDATE OF state ON archive.product
    FOR EACH ROW WHEN ((OLD.state IN ('arrived', 'public')) <> (NEW.state IN ('arrived', 'public')))
    EXECUTE FUNCTION archive.turn_preview();

-- Where on the sky, and when, the open observations of a collection are: MOCs, one for each
-- day, from which that of the collection is made. A day is that of t_min (MJD, as a whole
-- number), which a row itself tells whatever becomes of its product. Triggers write down what has
-- changed; rows of that list are only added, so that writers never wait for each other here.

CREATE TABLE archive.coverage_change (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection text NOT NULL,
    day        integer,
    removed    boolean NOT NULL,
    first_id   bigint NOT NULL,
    last_id    bigint NOT NULL
);
COMMENT ON TABLE archive.coverage_change IS
    'Days of which observations came (products first_id to last_id, among others) or went; what '
    'went makes the day be computed from the start, what came is added';

CREATE TABLE archive.coverage_day (
    collection text NOT NULL REFERENCES archive.collection,
    day        integer,
    space      text NOT NULL,
    space_time text,
    UNIQUE NULLS NOT DISTINCT (collection, day)
);
COMMENT ON COLUMN archive.coverage_day.space IS 'A MOC 2.0 in ASCII; space_time likewise';

CREATE TABLE archive.coverage (
    collection text PRIMARY KEY,
    updated    timestamptz NOT NULL DEFAULT now(),
    space      text NOT NULL,
    space_time text
);
COMMENT ON COLUMN archive.coverage.collection IS 'Name of a collection; empty: all together';

CREATE FUNCTION archive.day_of(t_min double precision) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN t_min BETWEEN 0 AND 1000000 THEN floor(t_min)::integer END;
COMMENT ON FUNCTION archive.day_of IS 'The day (MJD) of a time; NULL where there is none';

INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id)
SELECT p.collection, archive.day_of(o.t_min), true, 0, 0
FROM archive.observation o JOIN archive.product p USING (product_id) GROUP BY 1, 2;

CREATE FUNCTION archive.note_coverage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = archive, pg_temp AS $$
BEGIN
    INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id)
    SELECT p.collection, archive.day_of(t.t_min), TG_OP <> 'INSERT',
           min(p.product_id), max(p.product_id)
    FROM touched t JOIN archive.product p USING (product_id) GROUP BY 1, 2;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_insert AFTER INSERT ON archive.observation
    REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION archive.note_coverage();
CREATE TRIGGER coverage_delete AFTER DELETE ON archive.observation
    REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION archive.note_coverage();

REVOKE ALL ON FUNCTION archive.want_previews, archive.turn_preview, archive.note_coverage,
    archive.day_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive.day_of TO vo_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.preview, archive.coverage_day,
      archive.coverage TO vo_writer;
GRANT SELECT, DELETE ON archive.coverage_change TO vo_writer;
GRANT SELECT (product_id, made) ON archive.preview TO vo_door;
GRANT SELECT ON archive.coverage TO vo_door;
