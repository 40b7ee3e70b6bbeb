"""A database with rows is brought to the schema of previews and coverage."""

from __future__ import annotations

from pathlib import Path

import psycopg
from astropy import units as u
from mocpy import MOC

from tests.support import settings_at, upgrade_to
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.services.coverage import coverage, refresh_coverage

_PRODUCT = """
INSERT INTO archive.product (collection, path, did, source, size, modified, media_type, state,
                             current, headers)
VALUES ('c', %s, 'ivo://x/' || %s, %s, 10, now(), 'image/fits', %s, %s, '[]') RETURNING product_id
"""
_OBSERVATION = """
INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id,
    obs_publisher_did, s_ra, s_dec, s_fov, s_region, t_min, t_max, position)
VALUES (%s, 1, 'c', 'o', 'd', %s, 10, 1, %s, %s, %s, spoint(radians(%s), radians(10)))
"""


def test_files_get_previews_and_observations_count(empty_database_url: str, tmp_path: Path) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0012")
    ids = {}
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute(
            "INSERT INTO archive.collection (name, title, definition) VALUES ('c', 'c', '{}')"
        )
        for path, source, state, current in (
            ("public", "/a", "public", True), ("arrived", "/b", "arrived", True),
            ("header", None, "public", True), ("old", "/c", "replaced", False),
            ("gone", "/d", "withdrawn", True),
        ):  # fmt: skip
            row = connection.execute(_PRODUCT, (path, path, source, state, current)).fetchone()
            assert row is not None
            ids[path] = row[0]
        for path, ra, start in (("public", 40.0, 58000.5), ("header", 80.0, None)):
            region = f"CIRCLE ICRS {ra} 10 0.5"
            connection.execute(_OBSERVATION, (ids[path], ra, region, start, start, ra))
    upgrade(settings)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        rows = connection.execute("SELECT product_id FROM archive.preview").fetchall()
        assert {number for (number,) in rows} == {ids["public"], ids["arrived"]}
        count = connection.execute("SELECT count(*) FROM archive.observation").fetchone()
        assert count == (2,)
    assert refresh_coverage(settings) == 2
    kept = coverage(settings, "c")
    assert kept is not None
    moc = MOC.from_string(kept.space)
    assert moc.contains_lonlat([40.0, 80.0, 120.0] * u.deg, [10.0] * 3 * u.deg).tolist() == [
        True, True, False,
    ]  # fmt: skip
    assert kept.space_time is not None
