"""A database at the newest schema, and what answers queries with uploads on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import settings_at
from tests.uploads.support import Uploads
from vo_service.db.schema import upgrade
from vo_service.settings import Settings


@pytest.fixture(scope="module")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_at(
        database_url,
        tmp_path_factory.mktemp("home"),
        upload_rows_limit=2000,
        upload_bytes_limit=1_000_000,
    )
    upgrade(made)
    return made


@pytest.fixture
async def uploads(settings: Settings, tmp_path: Path) -> AsyncIterator[Uploads]:
    made = Uploads(settings, tmp_path)
    yield made
    await made.aclose()
