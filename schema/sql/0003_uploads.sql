-- Where uploaded tables live while their query runs. The upload role makes them and nothing
-- else; queries read each through a view whose name cannot be guessed.

CREATE SCHEMA tap_upload;
GRANT USAGE, CREATE ON SCHEMA tap_upload TO vo_upload;
GRANT USAGE ON SCHEMA tap_upload TO vo_reader;

-- A polygon of degrees (lon, lat, lon, lat ...); NULL where pgSphere cannot hold it. A NULL
-- among the numbers must not reach the aggregate: pgSphere 1.1.1 takes the server down with it.
CREATE FUNCTION tap_upload.polygon(degrees double precision[]) RETURNS spoly
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN array_position(degrees, NULL) IS NULL THEN
        (SELECT spoly(spoint(radians(degrees[2 * i - 1]), radians(degrees[2 * i])) ORDER BY i)
         FROM generate_series(1, cardinality(degrees) / 2) i)
    END;
REVOKE ALL ON FUNCTION tap_upload.polygon FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tap_upload.polygon TO vo_upload;
