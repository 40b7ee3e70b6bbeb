"""A made-up site, served by the real command, and an empty archive that crawls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import fresh_database
from tests.elsewhere.sky import Shot, add_shots, make_shots
from tests.support import settings_at
from tests.web.conftest import free_port, serving
from vo_service.db.schema import upgrade
from vo_service.services.setup import initialise
from vo_service.settings import Settings


@pytest.fixture(scope="session")
def shots() -> list[Shot]:
    return make_shots(300)


def _archive(url: str, place: Path, name: str) -> Settings:
    home = place / f"{name}_{uuid4().hex}"
    initialise(home)
    settings = settings_at(
        url, home, port=free_port(), authority=f"{name}.example", crawl_rows=130, crawl_pause_s=0
    )
    upgrade(settings)
    return settings


@pytest.fixture(scope="module")
def site(server: str, place: Path, shots: list[Shot]) -> Iterator[Settings]:
    """The site, with all shots, while it is served."""
    with fresh_database(server) as url:
        settings = _archive(url, place, "site")
        add_shots(settings, shots)
        with serving(settings):
            yield settings


@pytest.fixture
def ours(own_database_url: str, place: Path) -> Settings:
    """An archive of ours without anything in it."""
    return _archive(own_database_url, place, "ours")
