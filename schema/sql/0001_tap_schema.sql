-- TAP_SCHEMA (TAP 1.1, section 4), and beside it what only the translator needs to know.

CREATE SCHEMA tap_schema;

CREATE TABLE tap_schema.schemas (
    schema_name  text PRIMARY KEY,
    utype        text,
    description  text,
    schema_index integer
);

CREATE TABLE tap_schema.tables (
    schema_name text NOT NULL REFERENCES tap_schema.schemas ON DELETE CASCADE,
    table_name  text PRIMARY KEY,
    table_type  text NOT NULL CHECK (table_type IN ('table', 'view')),
    utype       text,
    description text,
    table_index integer
);

CREATE TABLE tap_schema.columns (
    table_name   text NOT NULL REFERENCES tap_schema.tables ON DELETE CASCADE,
    column_name  text NOT NULL,
    datatype     text NOT NULL,
    arraysize    text,
    xtype        text,
    size         integer,
    description  text,
    utype        text,
    unit         text,
    ucd          text,
    indexed      integer NOT NULL CHECK (indexed IN (0, 1)),
    principal    integer NOT NULL CHECK (principal IN (0, 1)),
    std          integer NOT NULL CHECK (std IN (0, 1)),
    column_index integer,
    PRIMARY KEY (table_name, column_name)
);

CREATE TABLE tap_schema.keys (
    key_id       text PRIMARY KEY,
    from_table   text NOT NULL REFERENCES tap_schema.tables ON DELETE CASCADE,
    target_table text NOT NULL REFERENCES tap_schema.tables ON DELETE CASCADE,
    description  text,
    utype        text
);

CREATE TABLE tap_schema.key_columns (
    key_id        text NOT NULL REFERENCES tap_schema.keys ON DELETE CASCADE,
    from_column   text NOT NULL,
    target_column text NOT NULL,
    PRIMARY KEY (key_id, from_column)
);

CREATE TABLE archive.published (
    table_name   text PRIMARY KEY REFERENCES tap_schema.tables ON DELETE CASCADE,
    relation     text NOT NULL,
    ra_column    text,
    dec_column   text,
    point_column text,
    reach        double precision NOT NULL DEFAULT 0,
    partitioned  boolean NOT NULL DEFAULT false,
    geometries   jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON COLUMN archive.published.reach IS
    'Degrees from a position to the farthest point of its footprint, largest over all rows';
COMMENT ON COLUMN archive.published.geometries IS
    'Published region column to the pgSphere column that holds the same region';

GRANT USAGE ON SCHEMA tap_schema TO vo_writer, vo_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA tap_schema TO vo_writer, vo_reader;
GRANT SELECT ON archive.published TO vo_writer, vo_reader;
GRANT UPDATE (reach) ON archive.published TO vo_writer;
