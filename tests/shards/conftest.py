"""Two PostgreSQL servers beside that of the tests; an archive of its own for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import empty_database
from tests.shards import sky
from tests.shards.cluster import Machine, machine
from vo_service.settings import Settings


@pytest.fixture(scope="session")
def machines(place: Path) -> Iterator[tuple[Machine, Machine]]:
    with machine(place / "north") as north, machine(place / "south") as south:
        yield north, south


@pytest.fixture(scope="module")
def database_url(server: str) -> Iterator[str]:
    """An empty one: their partitions are wider."""
    with empty_database(server) as url:
        yield url


@pytest.fixture(scope="module")
def settings(database_url: str, place: Path) -> Iterator[Settings]:
    with sky.made(database_url, place / f"home-{uuid4().hex[:8]}") as made:
        yield made
