"""Archives of before: what version 0014 makes of their rows."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config

from tests.support import settings_at
from vo_service.db.connect import Role, engine
from vo_service.db.schema import schema_directory, upgrade

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
    own_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(own_database_url, tmp_path)
    upgrade(settings)
    config = Config()
    config.set_main_option("script_location", str(schema_directory()))
    config.attributes["partition_bounds"] = settings.partition_bounds
    with psycopg.connect(own_database_url, autocommit=True) as admin:
        admin.execute(
            "DROP SCHEMA archive, ivoa, uws, tap_schema, tap_upload, archive_stats, provenance "
            "CASCADE"
        )
        admin.execute("CREATE SCHEMA archive AUTHORIZATION vo_owner")
    owner = engine(settings, Role.OWNER)
    with owner.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.exec_driver_sql(OLD_ROWS)
        command.upgrade(config, "head")
        rows = connection.exec_driver_sql(
            "SELECT exposure, dataproduct_type FROM archive.product ORDER BY product_id"
        ).fetchall()
    owner.dispose()
    assert [tuple(row) for row in rows] == [("E1", "image"), ("E2", "cube"), (None, None)]
