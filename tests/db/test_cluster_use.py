"""The private cluster runs as long as anybody uses it: the last one who leaves stops it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clusters import lay_cluster
from vo_service.db.cluster import Cluster
from vo_service.db.cluster_use import start_to_stay, stop_for_all, used

#: Another process that uses the cluster until its input ends, or it is killed.
_USER = """
import sys
from pathlib import Path
from vo_service.db.cluster import Cluster
from vo_service.db.cluster_use import used
with used(Cluster(Path(sys.argv[1]))):
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Cluster]:
    home = place / "shared"
    lay_cluster(home)
    made = Cluster(home)
    yield made
    made.stop()


def runs(cluster: Cluster) -> bool:
    return cluster.status().running


def other(cluster: Cluster) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        (sys.executable, "-c", _USER, str(cluster.home)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def test_the_one_that_started_it_does_not_take_it_from_others(cluster: Cluster) -> None:
    with ExitStack() as first:
        first.enter_context(used(cluster))
        second = other(cluster)
        first.close()
        assert runs(cluster)
    second.communicate("")
    assert not runs(cluster)


def test_who_was_killed_does_not_count(cluster: Cluster) -> None:
    killed = other(cluster)
    with used(cluster):
        killed.kill()
        killed.communicate()
        assert runs(cluster)
    assert not runs(cluster)


def test_what_was_left_by_one_that_was_killed_is_stopped_by_the_next(cluster: Cluster) -> None:
    killed = other(cluster)
    killed.kill()
    killed.communicate()
    assert runs(cluster)
    with used(cluster):
        pass
    assert not runs(cluster)


def test_what_was_started_to_stay_is_left_running(cluster: Cluster) -> None:
    assert start_to_stay(cluster)
    with used(cluster):
        pass
    assert runs(cluster)
    with used(cluster), used(cluster, stop=True):
        pass
    assert runs(cluster)  # who wanted it stopped was not the last
    with used(cluster, stop=True):
        pass
    assert not runs(cluster)


def test_what_a_command_started_stays_once_it_is_wanted_to(cluster: Cluster) -> None:
    with used(cluster):
        assert not start_to_stay(cluster)
    assert runs(cluster)
    assert stop_for_all(cluster)
    assert not stop_for_all(cluster)
