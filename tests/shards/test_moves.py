"""Partitions move while people search and files come in; no row is lost, none is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from adbc_driver_postgresql import dbapi

from tests.shards.cluster import Machine
from tests.shards.sky import add, bring_home, fill, frames, move, replaced
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.db.shards import ShardStore
from vo_service.errors import ConfigError, TransientError, UsageError, VOError
from vo_service.services import shard_moves as module
from vo_service.services.shards import check_shards, list_shards
from vo_service.settings import Settings

ROWS = len(frames())
COUNT = "SELECT count(*), count(DISTINCT obs_id), sum(t_xel) FROM archive.obscore"
SUM = sum(f.observation.t_xel or 0 for f in frames())


@dataclass
class Readers:
    """Searches that count all rows, again and again, as TAP does and as the portal does."""

    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    wrong: list[object] = field(default_factory=list)
    searches: int = 0
    slowest_s: float = 0.0

    def copying(self) -> None:
        """By COPY, whose view of what is committed is older than its lock."""
        with dbapi.connect(conninfo(self.settings, Role.READER), autocommit=True) as connection:
            while not self.stop.is_set():
                begun = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute(COUNT)
                    self._note(cursor.fetchall()[0], begun)

    def asking(self) -> None:
        with psycopg.connect(conninfo(self.settings, Role.READER), autocommit=True) as connection:
            while not self.stop.is_set():
                begun = time.monotonic()
                self._note(connection.execute(COUNT).fetchall()[0], begun)

    def _note(self, row: tuple[Any, ...], begun: float) -> None:
        self.searches += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
        if tuple(map(int, row)) != (ROWS, ROWS, SUM):
            self.wrong.append(row)


@contextmanager
def reading(settings: Settings) -> Iterator[Readers]:
    readers = Readers(settings)
    threads = [threading.Thread(target=work) for work in (readers.copying, readers.asking)]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        readers.stop.set()
        for thread in threads:
            thread.join(30)


@pytest.fixture(scope="module")
def node(machines: tuple[Machine, Machine]) -> Iterator[str]:
    with machines[0].database() as url:
        yield url


def total(settings: Settings) -> tuple[int, ...]:
    with psycopg.connect(conninfo(settings, Role.READER)) as connection:
        return tuple(map(int, connection.execute(COUNT).fetchall()[0]))


def places(settings: Settings) -> dict[str, str | None]:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        return {part.partition: part.shard for part in ShardStore(owner).parts()}


def test_searches_during_moves_there_and_back_find_every_row_once(
    settings: Settings, node: str
) -> None:
    add(settings, "north", node)
    with reading(settings) as readers:
        assert move(settings, "north", "0:120") == 4
        assert move(settings, "centre", "0:60") == 2
        assert move(settings, "north", "330:60") == 3
        assert bring_home(settings, "north") == 5
    assert readers.wrong == []
    assert readers.searches > 50
    assert total(settings) == (ROWS, ROWS, SUM)
    with psycopg.connect(node) as there:
        left = there.execute(
            "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'archive'), "
            "(SELECT count(*) FROM pg_roles WHERE rolname LIKE current_database() || '%')"
        ).fetchone()
    assert left == (0, 0)  # a node that is no shard any more has nothing of ours


def test_files_that_come_in_during_a_move_are_all_there(settings: Settings, node: str) -> None:
    add(settings, "north", node)
    some = frames()[::40]
    stop = threading.Event()
    runs = 0

    def ingest() -> None:
        nonlocal runs
        while not stop.is_set():
            runs += 1
            fill(settings, [replaced(frame, 2880 + runs) for frame in some])

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        move(settings, "north", "0:120")
        move(settings, "centre", "0:120")
    finally:
        stop.set()
        thread.join(60)
    assert runs >= 2
    assert total(settings) == (ROWS, ROWS, SUM)
    assert check_shards(settings).problems == []
    bring_home(settings, "north")


def test_a_move_waits_for_searches_without_holding_others_up(settings: Settings, node: str) -> None:
    add(settings, "north", node)
    with psycopg.connect(conninfo(settings, Role.READER)) as slow:
        slow.execute(COUNT)  # and its transaction goes on
        with reading(settings) as readers, pytest.raises(TransientError, match="without a gap"):
            move(settings, "north", "0:30", patience_s=3.0)
        assert places(settings)["observation_ra_000"] is None
    assert readers.wrong == []
    assert readers.slowest_s < 2.0  # an attempt of 0.3 s, on a machine with much else to do
    assert check_shards(settings).problems == [
        # What was copied for nothing is said, and goes with the next move or check.
        "shard north: observation_ra_000 is left from a move that was killed (--repair)"
    ]
    assert move(settings, "north", "0:30") == 1
    assert check_shards(settings).problems == []
    bring_home(settings, "north")


def test_a_move_that_is_killed_at_any_moment_has_happened_or_has_not(
    settings: Settings, node: str
) -> None:
    add(settings, "north", node)
    dice = Random(7)
    command = Path(sys.executable).parent / "vo-service"
    environment = os.environ | {
        "VO_HOME": str(settings.home), "VO_DATABASE_URL": settings.database_url or "",
        "VO_PARTITION_BOUNDS": "[" + ",".join(map(str, settings.partition_bounds)) + "]",
    }  # fmt: skip
    seen = set()
    with reading(settings) as readers:
        for round_ in range(6):
            target = ("north", "centre")[round_ % 2]
            with subprocess.Popen(
                (command, "shard", "move", target, "--ra", "0:180"),
                env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            ) as process:  # fmt: skip
                assert process.stderr is not None
                said = process.stderr.readline()
                # Nothing, where the one before had done all or nothing.
                assert said == "" or said.startswith("moving observation_ra_"), said
                time.sleep(dice.uniform(0.0, 1.0))
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            until_unlocked(settings)
            assert total(settings) == (ROWS, ROWS, SUM)
            seen.add(tuple(places(settings).values()).count("north"))
    assert readers.wrong == []
    assert len(seen) > 1
    check_shards(settings, repair=True)
    assert check_shards(settings).problems == []
    assert move(settings, "north", "0:180") + tuple(places(settings).values()).count("north") >= 6
    bring_home(settings, "north")
    assert total(settings) == (ROWS, ROWS, SUM)


def until_unlocked(settings: Settings) -> None:
    """Until the server has noticed that the session of a killed command is gone."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
            if ShardStore(owner).lock():
                return
        time.sleep(0.1)
    pytest.fail("the lock of a killed command stays")


def test_a_move_to_where_there_is_no_room_is_refused(
    settings: Settings, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(settings, "north", node)
    monkeypatch.setattr(module, "_SPARE", 1e18)  # as if a partition were larger than any disk
    with pytest.raises(UsageError, match=r"shard north has \d+ bytes free: expected"):
        move(settings, "north", "0:30")
    assert set(places(settings).values()) == {None}


def test_one_command_moves_at_a_time(settings: Settings, node: str) -> None:
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        assert ShardStore(owner).lock()
        with pytest.raises(TransientError, match="another 'vo-service shard' command"):
            add(settings, "north", node)


@pytest.mark.parametrize(
    ("ra", "message"),
    [
        ("0-30", "expected two numbers"),
        ("0:31", "no partition begins or ends at 31 deg: expected two of 0, 30, 60"),
        ("30:30", "is empty"),
        ("nan:30", "no partition begins or ends at nan deg"),
        ("0:30:60", "expected two numbers"),
    ],
)
def test_a_range_that_is_no_range_of_partitions_is_refused(
    settings: Settings, node: str, ra: str, message: str
) -> None:
    add(settings, "north", node)
    with pytest.raises(UsageError, match=message):
        move(settings, "north", ra)


@pytest.mark.parametrize("name", ["centre", "", "North", "a b", "1st", "x" * 32, "ä", 'a"b'])
def test_a_name_that_is_none_is_refused(settings: Settings, node: str, name: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        add(settings, name, node)


def test_a_database_that_is_something_else_is_refused(
    settings: Settings, node: str, own_database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is an archive itself"):
        add(settings, "self", settings.database_url or "")
    with pytest.raises(ConfigError, match="expected postgresql://"):
        add(settings, "nowhere", "not a url")
    with pytest.raises(TransientError, match="does not let us in"):
        add(settings, "nowhere", "host=/nonexistent dbname=x user=y")
    other = settings_at(own_database_url, tmp_path)
    upgrade(other)
    with pytest.raises(ConfigError, match="is shard north of another archive"):
        add(other, "south", node)


def test_a_shard_cannot_be_told_to_be_where_its_rows_are_not(
    settings: Settings, node: str, machines: tuple[Machine, Machine]
) -> None:
    move(settings, "north", "0:30")
    with (
        machines[1].database() as elsewhere,
        pytest.raises(ConfigError, match="is not where its partitions are"),
    ):
        add(settings, "north", elsewhere)
    add(settings, "north", node)  # the same place, with new passwords
    assert total(settings) == (ROWS, ROWS, SUM)


def test_a_list_tells_what_is_where_and_what_does_not_answer(
    settings: Settings, node: str, machines: tuple[Machine, Machine]
) -> None:
    machines[0].kill()
    found, centre = list_shards(settings)
    assert [(s.name, s.ranges, s.partitions) for s in found] == [("north", [(0, 30)], 1)]
    assert "does not let us in" in (found[0].problem or "")
    assert (centre.ranges, centre.partitions) == ([(30, 360)], 11)
    with pytest.raises(VOError, match="does not let us in"):
        bring_home(settings, "north")
    [problem] = check_shards(settings).problems
    assert problem.endswith("it keeps RA 0..30 deg")
    machines[0].start()
    assert bring_home(settings, "north") == 1
    assert total(settings) == (ROWS, ROWS, SUM)
