-- Collections that live in other PostgreSQL servers (docs/shards.md). A partition that a collection
-- has left is divided by obs_collection: a table for each collection that ever left it, and the
-- default one for the rest.

-- Each table that holds observations, its bounds (degrees), and the shard where it is; its
-- collection, and the partition that is divided. What has no position has no bounds, the rest no
-- collection; what is here has no shard.
CREATE OR REPLACE VIEW archive.shard_part AS
SELECT coalesce(part.relname, top.relname)::text AS partition, substr(s.srvname, 4) AS shard,
       substring(bounds.told FROM $$FROM \('?([0-9.e+-]+)'?\)$$)::double precision AS low,
       substring(bounds.told FROM $$TO \('?([0-9.e+-]+)'?\)$$)::double precision AS high,
       replace(substring(part.told FROM $$^FOR VALUES IN \('(.*)'\)$$), '''''', '''') AS collection,
       CASE WHEN part.relname IS NOT NULL THEN top.relname::text END AS within
FROM pg_inherits i
JOIN pg_class top ON top.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(top.relpartbound, top.oid) AS told) AS bounds
LEFT JOIN (SELECT j.inhparent, c.oid, c.relname, pg_get_expr(c.relpartbound, c.oid) AS told
           FROM pg_inherits j JOIN pg_class c ON c.oid = j.inhrelid
           WHERE NOT j.inhdetachpending) AS part ON part.inhparent = top.oid
LEFT JOIN pg_foreign_table f ON f.ftrelid = coalesce(part.oid, top.oid)
LEFT JOIN pg_foreign_server s ON s.oid = f.ftserver
WHERE i.inhparent = 'archive.observation'::regclass AND NOT i.inhdetachpending
  AND (top.relkind <> 'p' OR part.oid IS NOT NULL);

-- As archive.dataset, of files that may be read and whose observation is there: what is asked while
-- a shard is away, since conditions on s_ra and obs_collection leave out tables that it keeps.
CREATE VIEW archive.dataset_at AS
SELECT k.did, k.collection, k.path, k.media_type, k.size, k.readable, p.headers,
       o.dataproduct_type, o.s_ra, o.s_dec, o.s_fov, o.s_region, o.t_min, o.t_max,
       o.t_resolution, o.t_xel, o.em_min, o.em_max, o.pol_states, o.obs_collection
FROM archive.known_product k
JOIN archive.product p USING (product_id)
JOIN (
    SELECT product_id, dataproduct_type, s_ra, s_dec, s_fov, s_region, t_min, t_max, t_resolution,
           t_xel, em_min, em_max, pol_states, obs_collection
    FROM archive.observation
    UNION ALL
    SELECT product_id, dataproduct_type, s_ra, s_dec, s_fov, s_region, t_min, t_max, t_resolution,
           t_xel, em_min, em_max, pol_states, obs_collection
    FROM archive.observation_closed
) AS o USING (product_id)
WHERE k.readable;
GRANT SELECT ON archive.dataset_at TO vo_door;
