-- What SODA needs of a product, for those who may know of it: where its file stands, and, where
-- the one who asks may read the file, its headers and ObsCore values.

CREATE VIEW archive.dataset AS
SELECT k.did, k.collection, k.path, k.media_type, k.size, k.readable,
       CASE WHEN k.readable THEN p.headers END AS headers,
       o.dataproduct_type, o.s_ra, o.s_dec, o.s_fov, o.s_region, o.t_min, o.t_max,
       o.t_resolution, o.t_xel, o.em_min, o.em_max, o.pol_states
FROM archive.known_product k
JOIN archive.product p USING (product_id)
LEFT JOIN LATERAL (
    SELECT dataproduct_type, s_ra, s_dec, s_fov, s_region, t_min, t_max, t_resolution, t_xel,
           em_min, em_max, pol_states
    FROM archive.observation WHERE product_id = k.product_id AND k.readable
    UNION ALL
    SELECT dataproduct_type, s_ra, s_dec, s_fov, s_region, t_min, t_max, t_resolution, t_xel,
           em_min, em_max, pol_states
    FROM archive.observation_closed WHERE product_id = k.product_id AND k.readable
) AS o ON true;

GRANT SELECT ON archive.dataset TO vo_door;
