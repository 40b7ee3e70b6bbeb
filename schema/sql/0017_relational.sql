-- The relational registry (RegTAP 1.2): records of this archive and those harvested elsewhere, as
-- tables. Only active records are here; what became of the others is in archive.harvested.
-- Identifiers and terms, which are compared by bytes and by prefix, have the collation C.

CREATE SCHEMA rr;

CREATE TABLE rr.resource (
    ivoid            text COLLATE "C" PRIMARY KEY,
    res_type         text COLLATE "C",
    created          timestamp,
    short_name       text,
    res_title        text,
    updated          timestamp,
    content_level    text,
    res_description  text,
    reference_url    text,
    creator_seq      text,
    content_type     text,
    source_format    text,
    source_value     text,
    res_version      text,
    region_of_regard double precision,
    waveband         text,
    rights           text,
    rights_uri       text
);
CREATE INDEX resource_type ON rr.resource (res_type);
CREATE INDEX resource_title ON rr.resource USING gin (to_tsvector('simple', res_title));
CREATE INDEX resource_description ON rr.resource
    USING gin (to_tsvector('simple', res_description));

CREATE TABLE rr.res_role (
    ivoid          text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    role_name      text,
    role_ivoid     text COLLATE "C",
    street_address text,
    email          text,
    telephone      text,
    logo           text,
    base_role      text COLLATE "C" NOT NULL
);
CREATE INDEX res_role_of ON rr.res_role (ivoid);
CREATE INDEX res_role_name ON rr.res_role (base_role, role_name);
CREATE INDEX res_role_ivoid ON rr.res_role (role_ivoid);

CREATE TABLE rr.res_subject (
    ivoid       text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    res_subject text NOT NULL
);
CREATE INDEX res_subject_of ON rr.res_subject (ivoid);
CREATE INDEX res_subject_term ON rr.res_subject (res_subject);

CREATE TABLE rr.capability (
    ivoid           text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    cap_index       integer NOT NULL,
    cap_type        text COLLATE "C",
    cap_description text,
    standard_id     text COLLATE "C",
    PRIMARY KEY (ivoid, cap_index)
);
CREATE INDEX capability_type ON rr.capability (cap_type);
CREATE INDEX capability_standard ON rr.capability (standard_id);

CREATE TABLE rr.interface (
    ivoid              text COLLATE "C" NOT NULL,
    cap_index          integer NOT NULL,
    intf_index         integer NOT NULL,
    intf_type          text COLLATE "C",
    intf_role          text COLLATE "C",
    std_version        text COLLATE "C",
    query_type         text COLLATE "C",
    result_type        text,
    wsdl_url           text,
    url_use            text,
    access_url         text,
    mirror_url         text,
    authenticated_only integer NOT NULL,
    PRIMARY KEY (ivoid, intf_index),
    FOREIGN KEY (ivoid, cap_index) REFERENCES rr.capability ON DELETE CASCADE
);
CREATE INDEX interface_of ON rr.interface (ivoid, cap_index);
CREATE INDEX interface_type ON rr.interface (intf_type);
CREATE INDEX interface_url ON rr.interface USING hash (access_url);

CREATE TABLE rr.intf_param (
    ivoid             text COLLATE "C" NOT NULL,
    intf_index        integer NOT NULL,
    name              text COLLATE "C",
    ucd               text COLLATE "C",
    unit              text,
    utype             text COLLATE "C",
    std               integer,
    datatype          text,
    extended_schema   text,
    extended_type     text,
    arraysize         text,
    delim             text,
    param_use         text,
    param_description text,
    FOREIGN KEY (ivoid, intf_index) REFERENCES rr.interface ON DELETE CASCADE
);
CREATE INDEX intf_param_of ON rr.intf_param (ivoid, intf_index);

CREATE TABLE rr.res_schema (
    ivoid              text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    schema_index       integer NOT NULL,
    schema_description text,
    schema_name        text,
    schema_title       text,
    schema_utype       text COLLATE "C",
    PRIMARY KEY (ivoid, schema_index)
);

CREATE TABLE rr.res_table (
    ivoid             text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    schema_index      integer,
    table_description text,
    table_name        text,
    table_index       integer NOT NULL,
    table_title       text,
    table_type        text,
    table_utype       text COLLATE "C",
    PRIMARY KEY (ivoid, table_index)
);
CREATE INDEX res_table_utype ON rr.res_table (table_utype);
CREATE INDEX res_table_description ON rr.res_table
    USING gin (to_tsvector('simple', table_description));

CREATE TABLE rr.table_column (
    ivoid              text COLLATE "C" NOT NULL,
    table_index        integer NOT NULL,
    name               text COLLATE "C",
    ucd                text COLLATE "C",
    unit               text,
    utype              text COLLATE "C",
    std                integer,
    datatype           text,
    extended_schema    text,
    extended_type      text,
    arraysize          text,
    delim              text,
    type_system        text,
    flag               text,
    column_description text,
    FOREIGN KEY (ivoid, table_index) REFERENCES rr.res_table ON DELETE CASCADE
);
CREATE INDEX table_column_of ON rr.table_column (ivoid, table_index);
CREATE INDEX table_column_name ON rr.table_column (name);
CREATE INDEX table_column_ucd ON rr.table_column (ucd);
CREATE INDEX table_column_utype ON rr.table_column (utype);
CREATE INDEX table_column_description ON rr.table_column
    USING gin (to_tsvector('simple', column_description));

CREATE TABLE rr.relationship (
    ivoid             text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    relationship_type text COLLATE "C",
    related_id        text COLLATE "C",
    related_name      text
);
CREATE INDEX relationship_of ON rr.relationship (ivoid);
CREATE INDEX relationship_to ON rr.relationship (related_id);

CREATE TABLE rr.validation (
    ivoid        text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    validated_by text COLLATE "C",
    val_level    integer,
    cap_index    integer
);
CREATE INDEX validation_of ON rr.validation (ivoid);

CREATE TABLE rr.res_date (
    ivoid      text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    date_value timestamp,
    value_role text COLLATE "C"
);
CREATE INDEX res_date_of ON rr.res_date (ivoid);

CREATE TABLE rr.res_detail (
    ivoid        text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    cap_index    integer,
    detail_xpath text COLLATE "C" NOT NULL,
    detail_value text NOT NULL
);
CREATE INDEX res_detail_of ON rr.res_detail (ivoid);
CREATE INDEX res_detail_path ON rr.res_detail (detail_xpath);
CREATE INDEX res_detail_value ON rr.res_detail USING hash (detail_value);

CREATE TABLE rr.alt_identifier (
    ivoid          text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    alt_identifier text COLLATE "C" NOT NULL
);
CREATE INDEX alt_identifier_of ON rr.alt_identifier (ivoid);
CREATE INDEX alt_identifier_is ON rr.alt_identifier (alt_identifier);

CREATE TABLE rr.stc_spatial (
    ivoid           text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    coverage        smoc,
    ref_system_name text
);
CREATE INDEX stc_spatial_of ON rr.stc_spatial (ivoid);

CREATE TABLE rr.stc_temporal (
    ivoid      text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    time_start double precision,
    time_end   double precision
);
CREATE INDEX stc_temporal_of ON rr.stc_temporal (ivoid);
CREATE INDEX stc_temporal_when ON rr.stc_temporal (time_start, time_end);

CREATE TABLE rr.stc_spectral (
    ivoid          text COLLATE "C" NOT NULL REFERENCES rr.resource ON DELETE CASCADE,
    spectral_start double precision,
    spectral_end   double precision
);
CREATE INDEX stc_spectral_of ON rr.stc_spectral (ivoid);
CREATE INDEX stc_spectral_where ON rr.stc_spectral (spectral_start, spectral_end);

-- Tables that can be queried by TAP, once for each service: as their own record describes them,
-- where they have one that says which service serves it, else as that of the service does.
CREATE VIEW rr.tap_table AS
SELECT DISTINCT ON (svcid, table_name)
       resid, svcid, table_name, table_title, table_description, table_utype
FROM (
    SELECT t.ivoid AS resid, r.related_id AS svcid, 0 AS far, t.*
    FROM rr.res_table t
    JOIN rr.relationship r ON r.ivoid = t.ivoid AND r.relationship_type = 'isservedby'
    JOIN rr.capability s ON s.ivoid = r.related_id AND s.standard_id = 'ivo://ivoa.net/std/tap'
    WHERE EXISTS (
        SELECT FROM rr.capability c
        WHERE c.ivoid = t.ivoid AND c.standard_id = 'ivo://ivoa.net/std/tap#aux')
    UNION ALL
    SELECT t.ivoid, t.ivoid, 1, t.*
    FROM rr.res_table t
    WHERE EXISTS (
        SELECT FROM rr.capability c
        WHERE c.ivoid = t.ivoid AND c.standard_id = 'ivo://ivoa.net/std/tap')
) AS described
WHERE table_name IS NOT NULL AND table_type IS DISTINCT FROM 'output'
ORDER BY svcid, table_name, far, resid;

-- Where records are harvested, and how far.

CREATE TABLE archive.harvest_source (
    source_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url        text NOT NULL,
    set_name   text NOT NULL,
    name       text,
    day_only   boolean NOT NULL DEFAULT false,
    until      timestamptz,
    run        integer NOT NULL DEFAULT 0,
    whole      boolean NOT NULL DEFAULT true,
    begun      timestamptz,
    token      text,
    taken      bigint NOT NULL DEFAULT 0,
    finished   timestamptz,
    UNIQUE (url, set_name)
);
COMMENT ON COLUMN archive.harvest_source.set_name IS 'A set of OAI-PMH; empty: all records';
COMMENT ON COLUMN archive.harvest_source.day_only IS 'Its datestamps are days, not seconds';
COMMENT ON COLUMN archive.harvest_source.until IS
    'By its own clock, the moment of the last harvest that was finished; the next asks from there';
COMMENT ON COLUMN archive.harvest_source.run IS 'Number of the harvest under way, or of the last';
COMMENT ON COLUMN archive.harvest_source.whole IS
    'That harvest asks for all records, so what it does not see is gone';
COMMENT ON COLUMN archive.harvest_source.begun IS
    'By its own clock, the moment of the first answer; NULL: no harvest is under way';
COMMENT ON COLUMN archive.harvest_source.token IS 'Resumption token that continues it';
COMMENT ON COLUMN archive.harvest_source.taken IS 'Records that it has given so far';

CREATE TABLE archive.harvested (
    ivoid     text COLLATE "C" PRIMARY KEY,
    source_id bigint NOT NULL REFERENCES archive.harvest_source ON DELETE CASCADE,
    datestamp text NOT NULL,
    state     text NOT NULL CHECK (state IN ('active', 'inactive', 'deleted', 'refused')),
    digest    bytea,
    reason    text,
    run       integer NOT NULL
);
COMMENT ON TABLE archive.harvested IS
    'Every record that was ever harvested, with what became of it; those active are in rr';
COMMENT ON COLUMN archive.harvested.datestamp IS 'As the source says it';
COMMENT ON COLUMN archive.harvested.digest IS 'SHA-256 of the record';
COMMENT ON COLUMN archive.harvested.reason IS 'Why it was refused, or what of it was left out';
COMMENT ON COLUMN archive.harvested.run IS 'The last harvest of its source that gave it';
CREATE INDEX harvested_of ON archive.harvested (source_id, state);

GRANT USAGE ON SCHEMA rr TO vo_reader, vo_member, vo_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA rr TO vo_reader, vo_member, vo_writer;
GRANT INSERT, DELETE ON rr.resource, rr.res_role, rr.res_subject, rr.capability, rr.interface,
      rr.intf_param, rr.res_schema, rr.res_table, rr.table_column, rr.relationship,
      rr.validation, rr.res_date, rr.res_detail, rr.alt_identifier, rr.stc_spatial,
      rr.stc_temporal, rr.stc_spectral TO vo_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON archive.harvest_source, archive.harvested TO vo_writer;
