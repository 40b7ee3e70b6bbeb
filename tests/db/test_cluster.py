"""The private cluster: made, started, killed, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from vo_service.db.cluster import Cluster, memory_settings
from vo_service.errors import ConfigError

_MEMORY = 512 * 1024**2


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Cluster]:
    made = Cluster(place / "own")
    yield made
    made.stop()


def postmaster(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def ask(cluster: Cluster, statement: str) -> object:
    with psycopg.connect(host=str(cluster.socket), dbname="postgres", user="vo_admin") as admin:
        row = admin.execute(statement.encode()).fetchone()
        return row[0] if row else None


def test_it_is_made_and_started_once(cluster: Cluster) -> None:
    assert not cluster.status().exists
    assert cluster.start(memory=_MEMORY)
    assert not cluster.start(memory=_MEMORY)
    assert cluster.status().running
    assert ask(cluster, "SELECT 1") == 1


def test_it_listens_on_its_socket_only(cluster: Cluster) -> None:
    assert ask(cluster, "SHOW listen_addresses") == ""
    assert cluster.socket.stat().st_mode & 0o077 == 0


def test_memory_follows_the_machine(cluster: Cluster) -> None:
    assert ask(cluster, "SHOW shared_buffers") == "128MB"
    large = memory_settings(64 * 1024**3, 16)
    assert large["shared_buffers"] == "16384MB"
    assert large["max_parallel_workers_per_gather"] == "8"


def test_it_comes_back_after_kill_9_of_all_its_processes(cluster: Cluster) -> None:
    head = postmaster(cluster)
    children = subprocess.run(
        ("pgrep", "-P", str(head)), capture_output=True, text=True, check=True
    ).stdout.split()
    for process in (head, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):  # a session that has just ended
            os.kill(process, signal.SIGKILL)
    assert cluster.start(memory=_MEMORY)
    assert ask(cluster, "SELECT 1") == 1


def test_it_comes_back_when_only_the_postmaster_was_killed(cluster: Cluster) -> None:
    busy = psycopg.connect(host=str(cluster.socket), dbname="postgres", user="vo_admin")
    os.kill(postmaster(cluster), signal.SIGKILL)
    assert cluster.start(memory=_MEMORY)
    busy.close()
    assert ask(cluster, "SELECT 1") == 1


def test_half_an_initdb_is_made_whole(place: Path) -> None:
    half = Cluster(place / "half")
    half.data.mkdir(parents=True)
    (half.data / "PG_VERSION").write_text("15\n")
    half.create()
    assert half.status().version is not None
    assert not half.status().running


def test_a_path_too_long_for_a_socket_is_refused_with_the_limit(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"is too long: .* may have 93 bytes"):
        Cluster(place / ("x" * 100)).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_place_that_postgresql_cannot_enter_is_refused_with_the_reason() -> None:
    closed = Path(tempfile.mkdtemp())
    try:
        with pytest.raises(ConfigError, match="runs as postgres and cannot reach"):
            Cluster(closed / "home").start()
    finally:
        shutil.rmtree(closed)


def test_stopping_twice_is_no_error(cluster: Cluster) -> None:
    assert cluster.stop()
    assert not cluster.stop()
    assert not cluster.status().running
