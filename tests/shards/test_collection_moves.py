"""Collections leave while people search, files come in, and the command is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from tests.shards import kinds
from tests.shards.cluster import Machine
from tests.shards.sky import add, bring_home, move, place, replaced
from tests.shards.test_moves import ROWS, SUM, reading, total, until_unlocked
from tests.support import settings_at, upgrade_to
from vo_service.cli.commands import app
from vo_service.db.bulk import build_indexes, drop_indexes
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.db.shards import ShardStore
from vo_service.errors import ConfigError, TransientError
from vo_service.model.shard import Part
from vo_service.services.shards import check_shards
from vo_service.settings import Settings

ALL = (ROWS, ROWS, SUM)
COMMANDS = [
    ("north", "--collection", "tomoe"),
    ("north", "--collection", "c", "--collection", "wide-field"),
    ("centre", "--collection", "tomoe"),
]


@pytest.fixture(scope="module")
def settings(database_url: str, place: Path) -> Iterator[Settings]:
    with kinds.made(database_url, place / f"home-{uuid4().hex[:8]}", kinds.COARSE) as made:
        yield made


@pytest.fixture(scope="module")
def node(settings: Settings, machines: tuple[Machine, Machine]) -> Iterator[str]:
    with machines[0].database() as url:
        add(settings, "north", url)
        yield url


def view(version: str) -> str:
    """The statement of a version that makes the view of all tables of observations."""
    text = (Path(__file__).parents[2] / f"schema/sql/{version}.sql").read_text("utf-8")
    found = re.search(r"CREATE [A-Z ]*VIEW archive.shard_part.*?;", text, re.DOTALL)
    assert found is not None
    return found[0]


def parts(settings: Settings) -> list[Part]:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        return ShardStore(owner).parts()


def test_a_command_that_is_killed_leaves_each_partition_whole_or_divided(
    settings: Settings, node: str
) -> None:
    dice = Random(11)
    command = Path(sys.executable).parent / "vo-service"
    environment = os.environ | {
        "VO_HOME": str(settings.home), "VO_DATABASE_URL": settings.database_url or "",
        "VO_PARTITION_BOUNDS": "[" + ",".join(map(str, settings.partition_bounds)) + "]",
    }  # fmt: skip
    seen = set()
    with reading(settings) as readers:
        for given in (COMMANDS[0], *COMMANDS):
            with subprocess.Popen(
                (command, "shard", "move", *given),
                env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            ) as process:  # fmt: skip
                assert process.stderr is not None
                assert process.stderr.readline().startswith("moving observation_ra_")
                time.sleep(dice.uniform(0.0, 0.6))
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            until_unlocked(settings)
            assert total(settings) == ALL
            seen.add(sum(part.shard == "north" for part in parts(settings)))
        assert len(seen) > 2
        # The same commands go on.
        place(settings, "north", "c", "wide-field")
        place(settings, "centre", "tomoe")
        move(settings, "north", "0:180")
    assert readers.wrong == []
    held = {
        (part.collection, part.shard): sum(
            (other.collection, other.shard) == (part.collection, part.shard)
            for other in parts(settings)
        )
        for part in parts(settings)
    }
    assert held == {
        ("c", "north"): 6, ("wide-field", "north"): 6, ("tomoe", None): 6,
        (None, "north"): 3, (None, None): 3,
    }  # fmt: skip
    check_shards(settings, repair=True)
    assert check_shards(settings).problems == []
    assert total(settings) == ALL


def test_files_that_come_in_meanwhile_are_all_there(settings: Settings, node: str) -> None:
    some = kinds.frames()[::40]
    stop = threading.Event()
    runs = 0

    def ingest() -> None:
        nonlocal runs
        while not stop.is_set():
            runs += 1
            kinds.fill(settings, [replaced(frame, 2880 + runs) for frame in some])

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        with reading(settings) as readers:
            place(settings, "north", kinds.MAPPED)
            place(settings, "centre", "c")
    finally:
        stop.set()
        thread.join(60)
    assert runs >= 2
    # While a file is taken in again, its old row has gone and its new one is not yet there.
    assert readers.wrong == []
    assert total(settings) == ALL
    assert check_shards(settings).problems == []


def test_a_division_that_finds_no_gap_changes_nothing(settings: Settings, node: str) -> None:
    before = parts(settings)
    with psycopg.connect(conninfo(settings, Role.READER)) as slow:
        slow.execute("SELECT count(*) FROM archive.obscore")  # and its transaction goes on
        with pytest.raises(TransientError, match="without a gap"):
            place(settings, "centre", kinds.MAPPED, patience_s=1.0)
    assert parts(settings) == before


def test_an_upgrade_finds_divided_partitions_and_their_nodes(settings: Settings, node: str) -> None:
    [leaf, *_] = (p.partition for p in parts(settings) if p.shard == "north" and p.collection)
    with psycopg.connect(node, autocommit=True) as there:
        table = sql.Identifier("archive", leaf)
        there.execute(sql.SQL("ALTER TABLE {} DROP COLUMN pol_xel").format(table))
        there.execute("UPDATE archive.node SET version = '0001'")
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        owner.execute("ALTER TABLE archive.observation ADD COLUMN later integer")
        owner.execute("CREATE INDEX observation_later ON archive.observation (later)")
        owner.execute("UPDATE archive.shard SET version = '0001'")
    upgrade(settings)
    with psycopg.connect(node) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (leaf,)
        ).fetchall()
        indexes = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE tablename = %s AND indexname LIKE '%%later'",
            (leaf,),
        ).fetchone()
    assert {("pol_xel",), ("later",)} <= set(columns)
    assert indexes == (1,)
    assert check_shards(settings).problems == []
    assert total(settings) == ALL
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        owner.execute("ALTER TABLE archive.observation DROP COLUMN later")


def test_nothing_moves_while_indexes_are_away(settings: Settings, node: str) -> None:
    owner = conninfo(settings, Role.OWNER)
    with psycopg.connect(owner) as connection:
        drop_indexes(connection, "archive.observation")
    with pytest.raises(ConfigError, match="vo-service db indexes"):
        place(settings, "centre", "tomoe", kinds.MAPPED)
    build_indexes(owner, at_once=2)


def test_an_archive_with_shards_of_before_is_upgraded(
    settings: Settings, node: str, empty_database_url: str, tmp_path: Path
) -> None:
    bring_home(settings, "north")
    other = settings_at(empty_database_url, tmp_path, partition_bounds=(0.0, 180.0, 360.0))
    upgrade_to(other, "0022")
    kinds.fill(other, kinds.frames()[:40])
    with psycopg.connect(conninfo(other, Role.OWNER)) as owner:
        owner.execute(view("0023_collection_shards").encode())  # for the program of today
    add(other, "north", node)
    move(other, "north", "0:180")
    with psycopg.connect(conninfo(other, Role.OWNER)) as owner:
        owner.execute("DROP VIEW archive.shard_part")
        owner.execute(view("0020_shards").encode())
    upgrade(other)
    assert place(other, "north", "tomoe") == 2
    assert {(p.shard, p.collection) for p in parts(other)} == {
        ("north", "tomoe"), ("north", None), (None, None),
    }  # fmt: skip
    assert check_shards(other).problems == []
    bring_home(other, "north")


def told(settings: Settings, *arguments: str) -> tuple[int, str]:
    """Exit status of a command, and what it says."""
    done = CliRunner().invoke(
        app,
        ["--home", str(settings.home), "shard", *arguments],
        env={"VO_DATABASE_URL": settings.database_url},
    )
    return done.exit_code, done.output + str(done.exception or "")


def test_commands_say_what_they_expect(
    settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    both = ("--ra", "0:180", "--collection", "c")
    with machines[1].database() as url:
        for command in (("add", "south", url), ("move", "centre")):
            status, said = told(settings, *command, *both)
            assert (status, "--ra and --collection: expected one of them" in said) == (1, True)
        status, said = told(settings, "move", "centre")
        assert (status, "--ra 0:180, or --collection NAME" in said) == (1, True)
        status, said = told(settings, "add", "south", url, "--collection", "d")
        assert (status, "no collection 'd': expected one of" in said) == (1, True)
        assert "south" not in told(settings, "list")[1]  # nothing half-done
        status, said = told(settings, "add", "south", url, "--collection", "c")
        assert (status, "6 partitions moved; collection c is kept by south." in said) == (0, True)
        assert re.search(r"south +- +c +6 ", told(settings, "list")[1])
        status, said = told(settings, "move", "south", "--ra", "0:60")
        assert status == 0
        assert re.search(r"moved by name stay .*tomoe \(centre\)", said)
        assert "c (south)" not in said
        bring_home(settings, "south")
