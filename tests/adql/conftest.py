"""The small sky of `sky`, loaded once a module."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.adql.sky import Sky, load


@pytest.fixture(scope="module")
def sky(database_url: str) -> Iterator[Sky]:
    with psycopg.connect(database_url) as database:
        load(database)
        database.execute("SET timezone = 'UTC'")
        database.commit()
        yield Sky(database)
