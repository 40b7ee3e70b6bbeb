"""An empty archive for each test, in one database for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.release.archive import Made, archive_at
from tests.support import settings_at
from vo_service.db.schema import upgrade
from vo_service.settings import Settings


@pytest.fixture(scope="package")
def upgraded(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with fresh_database(server) as url:
        settings = settings_at(url, tmp_path_factory.mktemp("home"))
        upgrade(settings)
        yield settings


@pytest.fixture
def made(upgraded: Settings, tmp_path: Path) -> Iterator[Made]:
    settings = upgraded.model_copy(update={"home": tmp_path})
    found = archive_at(settings)
    found.clear()
    yield found
    found.connection.close()
