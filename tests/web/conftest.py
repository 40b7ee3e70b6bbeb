"""The demonstration archive (small), ingested and served by the real command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.shards import everywhere
from tests.support import ended, settings_at
from vo_service.db.schema import upgrade
from vo_service.demo import make_demo
from vo_service.services.checks import compute_md5
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.services.release import release_due
from vo_service.services.setup import initialise
from vo_service.settings import Settings


@dataclass(frozen=True)
class Archive:
    """An archive with the demonstration frames, and where it is served."""

    settings: Settings
    url: str


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def serving(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """`vo-service serve` for *settings*, from its ready line to its end."""
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_PORT": str(settings.port),
        "VO_DATABASE_URL": settings.database_url or "",
    }
    command = (Path(sys.executable).parent / "vo-service", "serve")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready: "), line
            yield process
        finally:
            ended(process)


@pytest.fixture(scope="session")
def archive(server: str, place: Path) -> Iterator[Archive]:
    home = place / "archive"
    with fresh_database(server) as database_url:
        initialise(home)
        port = free_port()
        settings = settings_at(database_url, home, port=port)
        upgrade(settings)
        for made in make_demo(home / "demo", small=True).collections:
            collection = find_collection(settings, made.name)
            request = IngestRequest(collection=collection, paths=[made.directory], processes=0)
            counts = ingest(settings, request)
            assert (counts.added, counts.refused) == (made.files, 0)
        assert compute_md5(settings, print) == 127
        assert release_due(settings, datetime.now(UTC).date()).problems == []
        if everywhere.wanted():
            everywhere.spread_archive(settings)
        with serving(settings):
            yield Archive(settings, f"http://localhost:{port}")
