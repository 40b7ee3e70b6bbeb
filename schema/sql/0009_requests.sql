-- Jobs of other services than TAP, results of which there are several, and bundles: the files
-- of a request as they were when it was made.

ALTER TABLE uws.job ADD COLUMN service text NOT NULL DEFAULT 'tap';
ALTER TABLE uws.job ADD COLUMN results json NOT NULL DEFAULT '[]';
COMMENT ON COLUMN uws.job.results IS
    'In their order: name, media_type, size (bytes, or null) and suffix of each';
UPDATE uws.job SET results = json_build_array(json_build_object(
    'name', 'result', 'media_type', result_type, 'size', bytes_written, 'suffix', result_suffix))
WHERE result_type IS NOT NULL;
ALTER TABLE uws.job
    DROP CONSTRAINT a_completed_job_has_a_result,
    ADD CONSTRAINT a_completed_job_has_a_result
        CHECK (phase <> 'COMPLETED' OR json_array_length(results) > 0),
    DROP COLUMN result_type,
    DROP COLUMN result_suffix;
DROP INDEX uws.job_owner;
CREATE INDEX job_owner ON uws.job (service, owner, created);

CREATE TABLE uws.bundle (
    number    integer PRIMARY KEY REFERENCES uws.job ON DELETE CASCADE,
    files     integer NOT NULL,
    volume    bigint NOT NULL,
    left_out  integer NOT NULL,
    corrected boolean NOT NULL,
    tar_size  bigint NOT NULL,
    tag       text NOT NULL
);
COMMENT ON COLUMN uws.bundle.volume IS 'Bytes of the files together, as they are sent';
COMMENT ON COLUMN uws.bundle.tag IS 'Entity tag of the tar archive';

-- One row a member of the tar archive: a product (this version of it), or a result of the job.
-- The place of any byte is found by the index, however many there are.
CREATE TABLE uws.bundle_member (
    number     integer NOT NULL REFERENCES uws.bundle ON DELETE CASCADE,
    position   bigint NOT NULL,
    name       text NOT NULL,
    size       bigint NOT NULL,
    mtime      bigint NOT NULL,
    product_id bigint,
    result     text,
    header_tag text,
    PRIMARY KEY (number, position),
    CONSTRAINT a_member_has_one_source CHECK ((product_id IS NULL) <> (result IS NULL))
);
COMMENT ON COLUMN uws.bundle_member.header_tag IS
    'Entity tag of the file with its corrected header; NULL where it is sent as it is stored';

GRANT SELECT, INSERT, UPDATE, DELETE ON uws.bundle, uws.bundle_member TO vo_jobs;

-- What a bundle must know of a product; whether it may be read is archive.known_product's.
CREATE VIEW archive.deliverable AS
SELECT k.product_id, k.collection, k.path, k.did, k.state, k.release_date, k.readable, k.size,
       k.source, coalesce(p.md5, p.md5_given) AS md5, p.modified, c.roots
FROM archive.known_product k
JOIN archive.product p ON p.product_id = k.product_id
JOIN archive.collection c ON c.name = k.collection;
GRANT SELECT ON archive.deliverable TO vo_door, vo_writer;

-- All frames of an exposure.
CREATE INDEX observation_exposure ON archive.observation (obs_id);
