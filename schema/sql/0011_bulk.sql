-- Indexes that a bulk load took away, until they are built again; kept here so that a load that
-- was killed loses none.

CREATE TABLE archive.dropped_index (
    name       text PRIMARY KEY,
    relation   text NOT NULL,
    definition text NOT NULL
);
COMMENT ON COLUMN archive.dropped_index.definition IS
    'What follows the name of the table in CREATE INDEX: USING gist (region)';
