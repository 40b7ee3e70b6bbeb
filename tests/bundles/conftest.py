"""The archive of sparse frames, served by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.bundles.archive import fill
from tests.conftest import fresh_database
from tests.jobs.archive import command
from tests.web.conftest import free_port
from vo_service.settings import Settings


@dataclass(frozen=True)
class Served:
    """An archive, and its service of bundles."""

    settings: Settings
    url: str


@pytest.fixture(scope="session")
def served(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home: Path = tmp_path_factory.mktemp("bundles")
    with fresh_database(server) as url:
        settings = fill(url, home, port=free_port(), list_anonymous_jobs=True)
        with command(settings, "serve"):
            yield Served(settings, f"http://localhost:{settings.port}/bundles")


@pytest.fixture(scope="session")
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=70) as client:
        yield client
