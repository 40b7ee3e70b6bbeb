"""An archive of tiny frames for one test."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.archive.toy import ingest_toys, write_collection, write_toys
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.settings import Settings

FRAMES = 12


@pytest.fixture(scope="module")
def schema_url(database_url: str, place: Path) -> str:
    """A database with our schema, which tests of a module share one after the other."""
    upgrade(settings_at(database_url, place))
    return database_url


@pytest.fixture
def toys(schema_url: str, tmp_path: Path) -> Settings:
    """Twelve frames of two nights that have arrived and are not public; nothing else."""
    settings = settings_at(schema_url, tmp_path / "home")
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        for table in (
            *("observation", "observation_closed", "download", "product", "volume", "refusal"),
            *("ingest_run", "release_list", "collection"),
        ):
            connection.execute(f"DELETE FROM archive.{table}".encode())
    root = write_collection(settings)
    write_toys(root, range(FRAMES))
    ingest_toys(settings, root)
    return settings
