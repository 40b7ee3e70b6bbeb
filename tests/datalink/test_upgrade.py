"""Archives of before: what version 0014 makes of their rows."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.support import settings_at, upgrade_to
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade

OLD_ROWS = """
INSERT INTO archive.collection (name, title, definition) VALUES ('c', '', '{}');
INSERT INTO archive.product (collection, path, did, source, size, modified, media_type, headers)
SELECT 'c', n || '.fits', 'ivo://c/' || n, '/f', 0, now(), 'image/fits', '[]'
FROM generate_series(1, 3) AS n;
INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id,
                                 obs_publisher_did, dataproduct_type)
VALUES (1, 1, 'c', 'E1', 'ivo://c/1', 'image');
INSERT INTO archive.observation_closed (product_id, calib_level, obs_collection, obs_id,
                                        obs_publisher_did, dataproduct_type, collection)
VALUES (2, 1, 'c', 'E2', 'ivo://c/2', 'cube', 'c')
"""


def test_exposures_and_kinds_are_taken_from_observations(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0013")
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        owner.execute(OLD_ROWS.encode())
    upgrade(settings)
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        rows = owner.execute(
            "SELECT exposure, dataproduct_type FROM archive.product ORDER BY product_id"
        ).fetchall()
    assert rows == [("E1", "image"), ("E2", "cube"), (None, None)]
