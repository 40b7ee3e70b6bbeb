-- RFC 3986, 'Percent-Encoding', as before, but such that PostgreSQL puts the common case into the
-- queries: a function with a sub-select, or one that is STRICT around a CASE, it calls for each
-- row, which was half of what 10 000 rows of archive.link took.

CREATE FUNCTION archive.percent_encoded(place text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg(CASE
                       WHEN chr(byte) ~ '[A-Za-z0-9_.~/-]' THEN chr(byte)
                       ELSE '%' || upper(lpad(to_hex(byte), 2, '0')) END, '' ORDER BY i)
            FROM convert_to(place, 'UTF8') AS bytes,
                 generate_series(0, length(bytes) - 1) AS i, get_byte(bytes, i) AS byte);
COMMENT ON FUNCTION archive.percent_encoded IS
    'All bytes but letters, digits and _ . ~ / - as %XX';

CREATE OR REPLACE FUNCTION archive.quoted(place text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN place ~ '^[A-Za-z0-9_.~/-]*$' THEN place
                ELSE archive.percent_encoded(place) END;

CREATE OR REPLACE FUNCTION archive.quoted_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN value ~ '^[A-Za-z0-9_.~/:?@!$*(),-]*$' THEN value
                ELSE archive.percent_encoded(value) END;

REVOKE ALL ON FUNCTION archive.percent_encoded FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive.percent_encoded
    TO vo_reader, vo_member, vo_door, vo_writer;
