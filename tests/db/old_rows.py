"""Rows for the tables of each schema version, as an archive of that time would have had them.

Put in by the owner while the database is at that version: later versions find rows of all before.
"""

from __future__ import annotations

__all__ = ["NO_ROWS", "ROWS"]

#: Tables without rows here: written by every upgrade, by triggers alone, or only for a moment.
NO_ROWS = {
    "archive.alembic_version", "archive.closed_reach", "archive.published", "archive.decided",
    "archive.centre",
    # An upgrade asks each shard; tests/shards have real ones.
    "archive.shard",
    # Records of other sites: `rr.resource` stands for its parts.
    "rr.alt_identifier", "rr.capability", "rr.interface", "rr.intf_param", "rr.relationship",
    "rr.res_date", "rr.res_detail", "rr.res_role", "rr.res_schema", "rr.res_subject",
    "rr.res_table", "rr.stc_spatial", "rr.stc_spectral", "rr.stc_temporal", "rr.table_column",
    "rr.validation",
    *(f"tap_schema.{name}" for name in ("columns", "key_columns", "keys", "schemas", "tables")),
}  # fmt: skip

ROWS: dict[str, str] = {
    "0001": """
INSERT INTO archive.collection (name, title, definition, roots)
VALUES ('c', 'C', '{"name": "c", "release": {"days": 31}}', '{/data}');
INSERT INTO archive.product (collection, path, version, current, did, source, size, modified,
                             media_type, md5, state, night, release_date, released, proposal_id,
                             headers)
VALUES ('c', 'a', 1, false, 'ivo://c/a', '/data/a', 1, '2024-01-01', 'image/fits', NULL, 'public',
        '2024-01-01', '2024-02-01', '2024-02-01', 'p', '[]'),
       ('c', 'a', 2, true, 'ivo://c/a', '/data/a', 2, '2024-01-02', 'image/fits',
        'd41d8cd98f00b204e9800998ecf8427e', 'public', '2024-01-01', '2024-02-01', '2024-02-01',
        'p', '[{"cards": [["FRAMEID", "F001", ""]]}]'),
       ('c', 'b', 1, true, 'ivo://c/b', '/data/b', 4, '2024-03-01', 'image/fits', NULL, 'arrived',
        '2024-03-01', NULL, NULL, NULL, '[]'),
       ('c', 'w', 1, true, 'ivo://c/w', '/data/w', 5, '2024-03-01', 'image/fits', NULL,
        'withdrawn', '2024-03-01', NULL, NULL, NULL, '[]');
INSERT INTO archive.observation (product_id, dataproduct_type, calib_level, obs_collection, obs_id,
                                 obs_publisher_did, access_path, s_ra, s_dec, s_fov, s_region,
                                 t_min, t_max, instrument_name, position)
VALUES (2, 'image', 1, 'c', 'E1', 'ivo://c/a', 'c/a', 40, 10, 1, 'CIRCLE ICRS 40 10 0.5', 60310,
        60310.1, 'X', spoint(radians(40), radians(10))),
       (3, 'image', 1, 'c', 'E2', 'ivo://c/b', 'c/b', NULL, NULL, NULL, NULL, 60370, 60370.1, 'X',
        NULL);
INSERT INTO archive.ingest_run (collection, ended, files, added) VALUES ('c', now(), 4, 3);
INSERT INTO archive.refusal (collection, source, run_id, reason) VALUES ('c', '/data/x', 1, 'bad')
""",
    "0002": """
INSERT INTO uws.job (job_id, owner, client, phase, parameters, destruction, execution_duration,
                     lane, rows_written, bytes_written, result_type, result_suffix)
VALUES (repeat('d', 32), NULL, '192.0.2.1', 'COMPLETED', '[{"name": "LANG", "value": "ADQL"}]',
        now() + interval '1 day', 60, 'short', 3, 99, 'text/csv', 'csv'),
       (repeat('q', 32), 'ada', 'user ada', 'QUEUED', '[]', now() + interval '1 day', 60, 'long',
        0, 0, NULL, NULL)
""",
    "0005": """
INSERT INTO archive.person (name, password) VALUES ('ada', '$argon2id$x');
INSERT INTO archive.membership (person, proposal_id, collection) VALUES ('ada', 'p', 'c');
INSERT INTO archive.token (digest, person, kind, expires)
VALUES (decode(repeat('ab', 32), 'hex'), 'ada', 'token', now() + interval '1 year');
INSERT INTO archive.observation_closed (product_id, calib_level, obs_collection, obs_id,
                                        obs_publisher_did, dataproduct_type, collection)
VALUES (4, 1, 'c', 'E3', 'ivo://c/w', 'cube', 'c')
""",
    "0006": """
INSERT INTO archive.intent (product_id, old_state, new_state, rule, actor)
VALUES (3, 'arrived', 'public', 'r', 'ada');
INSERT INTO archive.state_change (product_id, changed, old_state, new_state, rule, actor)
VALUES (2, '2024-02-01', 'arrived', 'public', 'r', 'ada')
""",
    "0007": """
INSERT INTO archive.release_list (collection, name, kind, by_file, digest, lines, actor)
VALUES ('c', 'l', 'prolongations', false, 'x', 1, 'ada'), ('c', 'h', 'holds', false, 'x', 1, 'ada'),
       ('c', 'f', 'frames', true, 'x', 1, 'ada');
INSERT INTO archive.prolongation VALUES (1, 1, 'p', '2030-01-01', 'why');
INSERT INTO archive.hold VALUES (2, 1, '2024-01-01', '2024-01-02', NULL, NULL, 'why');
INSERT INTO archive.frame_decision VALUES (3, 1, 'F001', 'public', '2024-01-01', 'why');
INSERT INTO archive.release_run (day, actor, daily, started, published, closed, planned, problems)
VALUES ('2024-03-01', 'worker', true, now(), 1, 0, 0, '{}')
""",
    "0008": """
INSERT INTO archive.correction (collection, start_frame, end_frame, digits, keyword, current,
                                updated, datatype, source, imported_by)
VALUES ('c', 'F001', 'F001', 0, 'OBJECT', 'M81', 'M82', 'string', 'list', 'ada')
""",
    "0009": """
INSERT INTO uws.bundle VALUES (1, 1, 2, 0, false, 10240, 'tag');
INSERT INTO uws.bundle_member VALUES (1, 1, 'a', 2, 0, 2, NULL, NULL)
""",
    "0010": """
INSERT INTO archive.download (product_id, ended, kind, method, whole, complete, bytes, client)
VALUES (2, now(), 'file', 'GET', true, true, 2, 'hash');
INSERT INTO archive.download_key VALUES (current_date, 'key');
INSERT INTO archive.download_day VALUES ('c', '2024-03-01', 1, 2, 1);
INSERT INTO archive.alarm VALUES ('disk', now(), 2)
""",
    "0011": """
INSERT INTO archive.dropped_index VALUES ('i', 'archive.observation', 'USING btree (t_max)')
""",
    "0013": """
INSERT INTO archive.coverage_day VALUES ('c', 60310, '5/1-3', NULL);
INSERT INTO archive.coverage (collection, space) VALUES ('c', '5/1-3')
""",
    "0014": """
INSERT INTO archive.activity (activity_id, collection, run) VALUES ('act', 'c', 'run');
INSERT INTO archive.generation VALUES (2, 'act', now(), true);
INSERT INTO archive.derivation VALUES (2, 'progenitor', 'path', 'c', 'raw', true)
""",
    "0015": """
INSERT INTO archive.record (ivoid, identifier, title, sets, document, simple, digest, created,
                            updated)
VALUES ('ivo://x/c', 'ivo://x/C', 'C', '{}', '<r/>', '<d/>', 'digest', now(),
        date_trunc('second', now()))
""",
    "0017": """
INSERT INTO rr.resource (ivoid, res_type, res_title) VALUES ('ivo://y/s', 'vs:service', 'S');
INSERT INTO archive.harvest_source (url, set_name) VALUES ('https://y.example/oai', '');
INSERT INTO archive.harvested (ivoid, source_id, datestamp, state, run)
VALUES ('ivo://y/s', 1, '2024-01-01', 'active', 1)
""",
    "0018": """
INSERT INTO archive.origin (name, url, protocol) VALUES ('y', 'https://y.example/tap', 'tap');
INSERT INTO archive.crawl_slice (origin, path) VALUES ('y', '0');
INSERT INTO archive.crawl_refusal VALUES ('y', '0', 'no position', 1, 'x');
INSERT INTO archive.elsewhere (origin, path, calib_level, obs_id, obs_publisher_did, s_ra, s_dec,
                               position)
VALUES ('y', '0', 2, 'o', 'ivo://y/o', 200, -30, spoint(radians(200), radians(-30)))
""",
    "0019": """
INSERT INTO archive.slow_query (began, seconds, rows, outcome, query)
VALUES (now(), 7, 1, 'complete', 'SELECT 1')
""",
}
