"""Settings and a database at the newest schema."""

from __future__ import annotations

import pytest

from tests.support import settings_at
from vo_service.db.schema import upgrade
from vo_service.settings import Settings


@pytest.fixture(scope="module")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_at(database_url, tmp_path_factory.mktemp("home"))
    upgrade(made)
    return made
