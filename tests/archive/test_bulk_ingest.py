"""``vo-service ingest --bulk``: indexes away for a first load, and there after it in any case."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.archive.conftest import FRAMES
from tests.archive.toy import write_toys
from vo_service.db.bulk import drop_indexes, only_load
from vo_service.db.connect import Role, conninfo
from vo_service.errors import ConfigError, TransientError
from vo_service.services.bulk import build_missing, bulk_load
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.settings import Settings

INDEXES = (
    "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i "
    "JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'archive.observation'::regclass "
    "AND i.indisvalid ORDER BY 1"
)
PLAN = (
    "EXPLAIN SELECT * FROM archive.observation "
    "WHERE s_ra BETWEEN 10 AND 10.1 AND position <@ scircle(spoint(0.175, 0), 0.0001)"
)


@pytest.fixture
def owner(toys: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo(toys, Role.OWNER), autocommit=True) as connection:
        yield connection


def request(settings: Settings, count: int, *, bulk: bool = True) -> IngestRequest:
    collection = find_collection(settings, "toy")
    root = settings.home / "store"
    write_toys(root, range(FRAMES, FRAMES + count))
    return IngestRequest(collection=collection, paths=[root], file="toy", processes=0, bulk=bulk)


def indexes(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(INDEXES).fetchall()


def missing(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM archive.dropped_index").fetchone()
    return row[0] if row else -1


def test_after_a_bulk_load_every_index_is_there_again_and_used(
    toys: Settings, owner: psycopg.Connection
) -> None:
    before = indexes(owner)
    seen: list[tuple[int, int]] = []
    counts = ingest(toys, request(toys, FRAMES), built=lambda *at: seen.append(at))
    assert counts.added == FRAMES
    assert indexes(owner) == before
    assert missing(owner) == 0
    assert seen[-1][0] == seen[-1][1] > 0
    owner.execute("SET enable_seqscan = off")
    assert "observation_position" in str(owner.execute(PLAN).fetchall())


def test_while_it_loads_the_table_has_no_index_of_positions_and_can_be_searched(
    toys: Settings, owner: psycopg.Connection
) -> None:
    with bulk_load(toys, FRAMES, lambda *_: None):
        assert "observation_position" not in dict(indexes(owner))
        with psycopg.connect(conninfo(toys, Role.READER)) as reader:
            reader.execute("SELECT count(*) FROM archive.obscore")
    assert "observation_position" in dict(indexes(owner))


def test_a_load_that_fails_builds_the_indexes_too(
    toys: Settings, owner: psycopg.Connection
) -> None:
    before = indexes(owner)
    with pytest.raises(KeyboardInterrupt), bulk_load(toys, FRAMES, lambda *_: None):
        raise KeyboardInterrupt
    assert indexes(owner) == before


def test_what_a_killed_load_left_is_built_by_the_next_ingest(
    toys: Settings, owner: psycopg.Connection
) -> None:
    before = indexes(owner)
    with owner.transaction():
        drop_indexes(owner, "archive.observation")
    assert missing(owner) == len(before) - len(indexes(owner)) > 0
    ingest(toys, request(toys, 0, bulk=False))
    assert indexes(owner) == before
    assert build_missing(toys) == 0


def test_more_rows_than_files_are_no_first_load(toys: Settings, owner: psycopg.Connection) -> None:
    before = indexes(owner)
    with (
        pytest.raises(ConfigError, match=f"{FRAMES} rows are there and some {FRAMES - 1} come"),
        bulk_load(toys, FRAMES - 1, lambda *_: None),
    ):
        pass
    assert indexes(owner) == before


def test_files_that_are_known_do_not_count(toys: Settings, owner: psycopg.Connection) -> None:
    """The same directory again, after a load that was killed near its end."""
    before = indexes(owner)
    with pytest.raises(ConfigError, match=f"{FRAMES} rows are there and some 5 come"):
        ingest(toys, request(toys, 5))
    assert indexes(owner) == before


def test_two_bulk_loads_do_not_meet(toys: Settings, owner: psycopg.Connection) -> None:
    with (
        only_load(owner),
        pytest.raises(TransientError, match="a bulk load is running"),
        bulk_load(toys, FRAMES, lambda *_: None),
    ):
        pass


def test_a_long_search_makes_the_load_give_up_and_nothing_is_changed(
    toys: Settings, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vo_service.services.bulk._LOCK_TIMEOUT", "200ms")
    before = indexes(owner)
    with psycopg.connect(conninfo(toys, Role.READER)) as search:
        search.execute("SELECT count(*) FROM archive.obscore")  # its transaction stays open
        with (
            pytest.raises(TransientError, match="in use by long queries"),
            bulk_load(toys, FRAMES, lambda *_: None),
        ):
            pass
    assert indexes(owner) == before
