"""The demonstration archive (of the session), served once more with an operator's port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support import ended
from tests.web.conftest import Archive, archive, free_port  # noqa: F401 - a fixture
from vo_service.db.connect import Role, conninfo
from vo_service.settings import Settings


@dataclass(frozen=True)
class Operated:
    """A server, its operator's port, and what it has logged."""

    settings: Settings
    url: str
    operator: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def meters(self) -> dict[str, float]:
        """What it measures: name with labels, and value."""
        text = httpx.get(f"{self.operator}/metrics").text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


@pytest.fixture(scope="module")
def operated(archive: Archive, place: Path) -> Iterator[Operated]:  # noqa: F811 - a fixture
    settings = archive.settings.model_copy(
        update={"port": free_port(), "operator_port": free_port(), "worker_in_serve": False}
    )
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_PORT": str(settings.port),
        "VO_DATABASE_URL": settings.database_url or "",
        "VO_OPERATOR_PORT": str(settings.operator_port),
        "VO_WORKER_IN_SERVE": "false",
        "VO_LOG_FORMAT": "json",
        "VO_ACCESS_LOG": "true",
        "VO_SLOW_QUERY_S": "0.000001",
    }
    command = (Path(sys.executable).parent / "vo-service", "serve")
    log = place / "operated.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("ready: ")
            yield Operated(
                settings,
                f"http://127.0.0.1:{settings.port}",
                f"http://127.0.0.1:{settings.operator_port}",
                log,
            )
        finally:
            ended(process)
            with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
                connection.execute("DELETE FROM archive.slow_query")
