"""The tables that every service publishes can be queried as they are published."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.support import settings_at
from vo_service.adql import translate
from vo_service.db.schema import upgrade
from vo_service.db.stream import render
from vo_service.model.published import PUBLISHED


@pytest.fixture(scope="module")
def archive(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    home: Path = tmp_path_factory.mktemp("home")
    upgrade(settings_at(database_url, home))
    return database_url


@pytest.mark.parametrize(
    "query",
    [
        *(f"SELECT * FROM {table.name}" for table in PUBLISHED.tables),
        'SELECT "size", column_name FROM tap_schema.columns',
        "SELECT AREA(s_region), CENTROID(s_region), POINT(s_ra, s_dec) FROM ivoa.obscore",
        "SELECT s_region FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(10, 20), s_region)",
        "SELECT obs_id FROM ivoa.obscore WHERE 1 = INTERSECTS(CIRCLE(0, 0, 1), s_region)",
        "SELECT obs_id FROM ivoa.obscore WHERE DISTANCE(s_ra, s_dec, 1, 2) < 0.1",
    ],
)
def test_published_tables_answer(archive: str, query: str) -> None:
    with psycopg.connect(archive) as database:
        database.execute(render(translate(query, PUBLISHED).select).encode())
