"""An archive with jobs, served once for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.jobs.archive import command, fill
from tests.web.conftest import free_port
from vo_service.settings import Settings


@dataclass(frozen=True)
class Served:
    """An archive, and its TAP service."""

    settings: Settings
    url: str


@pytest.fixture(scope="module")
def filled(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An archive that nobody serves."""
    home: Path = tmp_path_factory.mktemp("archive")
    return fill(database_url, home, port=free_port(), list_anonymous_jobs=True, short_job_s=5.0)


@pytest.fixture(scope="module")
def served(filled: Settings) -> Iterator[Served]:
    with command(filled, "serve"):
        yield Served(filled, f"http://localhost:{filled.port}/tap")


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=70) as client:
        yield client
