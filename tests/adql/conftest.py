"""The small sky of `sky`, loaded once a module."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.adql.sky import Sky, load
from tests.conftest import empty_database
from tests.shards import everywhere


@pytest.fixture(scope="module")
def database_url(server: str) -> Iterator[str]:
    """An empty one: their schemas are those of the small sky."""
    with empty_database(server) as url:
        yield url


@pytest.fixture(scope="module")
def sky(database_url: str) -> Iterator[Sky]:
    with psycopg.connect(database_url) as database:
        load(database)
        if everywhere.wanted():
            everywhere.spread_sky(database_url)
        database.execute("SET timezone = 'UTC'")
        database.commit()
        yield Sky(database)
