"""Version 0007 of the schema, on a database that has rows already."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from tests.release.archive import archive_at
from tests.support import settings_at, upgrade_to
from vo_service.db import schema
from vo_service.services.release import release_due

_ROWS = """
INSERT INTO archive.collection (name, title, definition)
VALUES ('c', 'C', '{"name": "c", "release": {"days": 31}}');
INSERT INTO archive.product (collection, path, version, current, did, source, size, modified,
                             media_type, state, night, release_date, headers)
VALUES ('c', 'a', 1, false, 'a', '/a', 1, now(), 'x/y', 'replaced', '2024-01-01', NULL, '[]'),
       ('c', 'a', 2, true, 'a', '/a', 2, now(), 'x/y', 'public', '2024-01-01', '2024-02-01', '[]'),
       ('c', 'b', 1, true, 'b', '/b', 4, now(), 'x/y', 'arrived', '2024-03-01', NULL, '[]');
INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id,
                                 obs_publisher_did, instrument_name)
SELECT product_id, 1, 'c', path, did, 'X' FROM archive.product WHERE current
"""


def test_rows_survive_are_counted_and_get_instrument_and_rule(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0006")
    made = archive_at(settings)
    made.connection.execute(_ROWS.encode())
    schema.upgrade(settings)
    counts = "SELECT night, instrument, state, files, size, release_rule FROM archive.volume"
    assert sorted(made.connection.execute(counts.encode()).fetchall()) == [
        (date(2024, 1, 1), "X", "public", 1, 2, None),
        (date(2024, 3, 1), "X", "arrived", 1, 4, None),
    ]
    done = release_due(settings, date(2024, 2, 2))
    assert (done.count, done.closed, done.planned, done.problems) == (0, 0, 2, [])
    assert made.states()["b"] == ("arrived", date(2024, 4, 1))
    rules = made.connection.execute(
        "SELECT DISTINCT release_rule FROM archive.product WHERE current"
    ).fetchall()
    assert rules == [("31 days after the night",)]
    made.connection.close()
