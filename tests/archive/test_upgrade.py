"""Version 0006 of the schema, on a database that has rows already."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.archive.toy import ask
from tests.support import settings_at, upgrade_to
from vo_service.db import schema
from vo_service.db.connect import Role, conninfo

_ROWS = """
INSERT INTO archive.collection (name, title, definition) VALUES ('c', 'C', '{"name": "c"}');
INSERT INTO archive.product (collection, path, version, current, did, source, size, modified,
                             media_type, state, released, headers)
VALUES ('c', 'a', 1, false, 'a', '/a', 1, now(), 'x/y', 'public', now(), '[]'),
       ('c', 'a', 2, true, 'a', '/a', 1, now(), 'x/y', 'public', '2024-01-02 03:04:05+00', '[]'),
       ('c', 'b', 1, true, 'b', '/b', 1, now(), 'x/y', 'arrived', NULL, '[]')
"""


def test_rows_survive_and_the_past_is_written_down_as_far_as_it_is_known(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0005")
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        writer.execute(_ROWS.encode())
    schema.upgrade(settings)
    assert ask(
        settings, "SELECT path, version, state, current FROM archive.product ORDER BY product_id"
    ) == [("a", 1, "replaced", False), ("a", 2, "public", True), ("b", 1, "arrived", True)]
    assert ask(
        settings, "SELECT product_id, changed::text, old_state, new_state "
        "FROM archive.state_change"
    ) == [(2, "2024-01-02 03:04:05+00", "arrived", "public")]  # fmt: skip
    [(definition,)] = ask(settings, "SELECT definition FROM archive.collection")
    assert definition == {"name": "c", "withdrawn": "hide"}
