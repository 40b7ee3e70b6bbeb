"""A private PostgreSQL that is killed comes back; one that is stopped stays so."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.clusters import lay_cluster
from vo_service.cli.keeper import database_kept_up
from vo_service.db.cluster import Cluster
from vo_service.db.connect import admin_conninfo
from vo_service.services.setup import initialise
from vo_service.settings import Settings

_LOOK_S = 0.2


@pytest.fixture
def settings(place: Path) -> Iterator[Settings]:
    made = initialise(place / "kept", partition_bounds=[0.0, 360.0])
    lay_cluster(made.home)
    yield made
    Cluster(made.home).stop()
    shutil.rmtree(made.home)


def _pid(settings: Settings) -> int:
    return int((Cluster(settings.home).data / "postmaster.pid").read_text().split()[0])


def test_a_database_that_was_killed_is_started_again_and_one_stopped_is_not(
    settings: Settings,
) -> None:
    with database_kept_up(settings, look_s=_LOOK_S):
        killed = _pid(settings)
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(admin_conninfo(settings)) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
                if _pid(settings) != killed:
                    break
            except (psycopg.OperationalError, FileNotFoundError):
                assert time.monotonic() < until, "it did not come back"
            time.sleep(_LOOK_S)
        cluster = Cluster(settings.home)
        assert cluster.stop()
        time.sleep(5 * _LOOK_S)
        assert not cluster.status().running
