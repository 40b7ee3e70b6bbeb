-- What DataLink may know of a product, by its identifier: whether its file is here and public,
-- and then where. The address is archive.obscore's, but made from the product, whose
-- identifier is found in one index; those of observations would be one for each partition.

CREATE VIEW archive.link AS
SELECT p.did, p.state, p.release_date, p.source IS NOT NULL AS has_file, p.media_type, p.size,
       current_setting('vo.data_url', true) || CASE
           WHEN place ~ '^[A-Za-z0-9_.~/-]*$' THEN place
           -- RFC 3986, 'Percent-Encoding'; the letters that ingest leaves alone, too.
           ELSE (SELECT string_agg(CASE
                            WHEN chr(byte) ~ '[A-Za-z0-9_.~/-]' THEN chr(byte)
                            ELSE '%' || upper(lpad(to_hex(byte), 2, '0')) END, '' ORDER BY i)
                 FROM convert_to(place, 'UTF8') AS bytes,
                      generate_series(0, length(bytes) - 1) AS i, get_byte(bytes, i) AS byte)
       END AS access_url
FROM archive.product p, LATERAL (SELECT p.collection || '/' || p.path AS place) AS placed
WHERE p.current;

GRANT SELECT ON archive.link TO vo_reader;
