"""The log of downloads: what is written, who is in it, what is counted, what goes when."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.downloads import count_days, downloaders, months, purge_downloads
from vo_service.db.schema import upgrade
from vo_service.model.visitor import Visitor
from vo_service.services.downloads import (
    Download,
    DownloadLog,
    download_months,
    tidy_downloads,
)
from vo_service.settings import Settings

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
ALICE = Visitor("alice", "192.0.2.1")
SOMEBODY = Visitor(address="192.0.2.1")
OTHER = Visitor(address="2001:db8::1")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def made(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An archive with ten products: numbers 1 to 5 of 'open', 6 to 10 of 'closed'."""
    settings = settings_at(database_url, tmp_path_factory.mktemp("log"))
    upgrade(settings)
    with psycopg.connect(database_url) as connection:
        for name in ("open", "closed"):
            connection.execute(
                "INSERT INTO archive.collection (name, title, definition) "
                "VALUES (%s, %s, jsonb_build_object('metadata', %s::text, 'withdrawn', 'hide'))",
                (name, name, name),
            )
            connection.execute(
                "INSERT INTO archive.product (collection, path, did, size, modified, media_type, "
                "state, headers) SELECT %s, 'f' || i, %s || i, 1000, now(), 'image/fits', "
                "'public', '[]' FROM generate_series(1, 5) i",
                (name, f"ivo://x/{name}?"),
            )
    return settings


@pytest.fixture
def settings(made: Settings) -> Settings:
    with psycopg.connect(made.database_url or "") as connection:
        connection.execute("TRUNCATE archive.download, archive.download_key, archive.download_day")
    return made


def chosen(settings: Settings, **values: Any) -> Settings:
    return settings_at(settings.database_url or "", settings.home, **values)


def a_download(number: int, visitor: Visitor = SOMEBODY, **changed: Any) -> Download:
    values: dict[str, Any] = {
        "product_id": number, "visitor": visitor, "kind": "file", "method": "GET",
        "whole": True, "complete": True, "size": 1000, "ended": NOW,
    }  # fmt: skip
    return Download(**(values | changed))


@asynccontextmanager
async def logging_to(settings: Settings) -> AsyncIterator[DownloadLog]:
    """A log, as the servers run it."""
    pool: AsyncConnectionPool = AsyncConnectionPool(
        conninfo(settings, Role.DOOR), min_size=1, max_size=2, open=False, timeout=2.0
    )
    log = DownloadLog(settings, pool)
    async with pool, log.running():
        yield log


def rows(settings: Settings, what: str = "*") -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.database_url or "") as connection:
        return connection.execute(
            f"SELECT {what} FROM archive.download ORDER BY download_id".encode()
        ).fetchall()


async def test_a_download_is_a_row_when_the_server_stops_at_the_latest(settings: Settings) -> None:
    async with logging_to(settings) as log:
        log.note(a_download(1, ALICE))
        log.note(a_download(2, ALICE, whole=False, complete=False, size=17, kind="bundle"))
    assert rows(settings, "product_id, ended, kind, whole, complete, bytes, person, client") == [
        (1, NOW, "file", True, True, 1000, "alice", None),
        (2, NOW, "bundle", False, False, 17, "alice", None),
    ]


async def test_an_address_is_a_hash_that_is_another_on_another_day(settings: Settings) -> None:
    async with logging_to(settings) as log:
        for visitor, day in ((SOMEBODY, 0), (OTHER, 0), (SOMEBODY, 0), (SOMEBODY, 1)):
            log.note(a_download(1, visitor, ended=NOW + timedelta(days=day)))
    one, other, again, tomorrow = (client for (client,) in rows(settings, "client"))
    assert one == again
    assert len({one, other, tomorrow}) == 3
    assert "192.0.2.1" not in one


async def test_processes_agree_on_the_hash_of_a_day(settings: Settings) -> None:
    async with logging_to(settings) as first, logging_to(settings) as second:
        first.note(a_download(1))
        second.note(a_download(1))
    assert len(set(rows(settings, "client"))) == 1


async def test_the_operator_may_keep_addresses_or_nothing(settings: Settings) -> None:
    async with logging_to(chosen(settings, download_log="address")) as log:
        log.note(a_download(1))
    assert rows(settings, "client") == [("192.0.2.1",)]
    async with logging_to(chosen(settings, download_log="off")) as log:
        log.note(a_download(2))
    assert len(rows(settings)) == 1


async def test_the_door_writes_and_cannot_read(settings: Settings) -> None:
    with psycopg.connect(conninfo(settings, Role.DOOR)) as door:
        for statement in (b"SELECT * FROM archive.download", b"DELETE FROM archive.download"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                door.execute(statement)
            door.rollback()
    for role in (Role.READER, Role.MEMBER, Role.JOBS, Role.UPLOAD):
        with psycopg.connect(conninfo(settings, role)) as connection:
            for table in ("download", "download_key", "download_day", "alarm"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT * FROM archive.{table}".encode())
                connection.rollback()


async def test_thousands_of_notes_wait_for_nobody_and_all_arrive(settings: Settings) -> None:
    async with logging_to(settings) as log:
        start = time.perf_counter()
        for number in range(5000):
            log.note(a_download(number % 5 + 1))
        assert time.perf_counter() - start < 2.0
    assert len(rows(settings, "1")) == 5000


async def test_more_than_can_wait_is_lost_and_the_log_says_how_many(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vo_service.services.downloads._WAITING", 100)
    async with logging_to(settings) as log:
        for _ in range(250):
            log.note(a_download(1))
    assert len(rows(settings, "1")) == 100
    assert "downloads lost=150" in caplog.text


async def test_connections_that_are_lost_lose_no_notes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vo_service.services.downloads._RETRY_S", 0.2)
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        async with logging_to(settings) as log:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename IS NOT NULL AND pid <> pg_backend_pid() "
                "AND datname = current_database()"
            )
            log.note(a_download(3))
    assert rows(settings, "product_id") == [(3,)]


async def test_who_had_a_product_is_told_for_a_withdrawal(settings: Settings) -> None:
    later = NOW + timedelta(hours=2)
    async with logging_to(settings) as log:
        log.note(a_download(1, ALICE, complete=False, size=400))
        log.note(a_download(1, ALICE, whole=False, size=600, ended=later))
        log.note(a_download(1, SOMEBODY, ended=NOW - timedelta(hours=1)))
        log.note(a_download(2, ALICE))
        log.note(a_download(3, ALICE))
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        found = downloaders(writer, [1, 3, 99])
    alice, somebody, third = found
    assert (alice.product_id, alice.collection, alice.path) == (1, "open", "f1")
    assert (alice.person, alice.client, alice.downloads) == ("alice", None, 2)
    assert (alice.size, alice.first, alice.last, alice.complete) == (1000, NOW, later, False)
    assert (somebody.person, somebody.complete) == (None, True)
    assert somebody.client is not None
    assert (third.product_id, third.person) == (3, "alice")


def insert(connection: psycopg.Connection[Any], logged: list[tuple[int, int, int, int]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO archive.download "
            "(product_id, ended, kind, method, whole, complete, bytes, client) "
            "VALUES (%s, %s, 'file', 'GET', true, true, %s, %s)",
            [
                (product, NOW - timedelta(days=age), size, f"client {who}")
                for product, age, size, who in logged
            ],
        )


@pytest.fixture
def writer(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(settings.database_url or "") as connection:
        yield connection
        connection.rollback()


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 10), st.integers(1, 70), st.integers(0, 10**10), st.integers(0, 3)
        ),
        max_size=30,
    ),
    st.integers(1, 80),
)
def test_months_are_those_counted_by_hand_before_and_after_the_purge(
    writer: psycopg.Connection[Any], logged: list[tuple[int, int, int, int]], kept: int
) -> None:
    expected: dict[tuple[str, str], list[int]] = {}
    for collection in ("open", "closed"):
        for day in {TODAY - timedelta(days=age) for _, age, _, _ in logged}:
            of_day = [
                (product, size, who)
                for product, age, size, who in logged
                if TODAY - timedelta(days=age) == day and (product <= 5) == (collection == "open")
            ]
            if of_day:
                month = expected.setdefault((collection, f"{day:%Y-%m}"), [0, 0, 0])
                month[0] += len({(product, who) for product, _, who in of_day})
                month[1] += sum(size for _, size, _ in of_day)
                month[2] += len({who for _, _, who in of_day})
    before = TODAY - timedelta(days=kept)
    with writer.transaction(force_rollback=True):
        insert(writer, logged)
        for _ in range(2):  # counting again changes nothing
            count_days(writer, TODAY)
            counted = {
                (m.collection, m.month): [m.files, m.size, m.visitor_days] for m in months(writer)
            }
            assert counted == expected
            gone = purge_downloads(writer, before, TODAY)
            left = writer.execute("SELECT count(*) FROM archive.download").fetchone()
            assert left == (sum(age <= kept for _, age, _, _ in logged),)
        assert gone == 0


def test_rows_are_purged_after_their_time_and_numbers_stay(settings: Settings) -> None:
    kept = chosen(settings, download_retention_days=30)
    with psycopg.connect(settings.database_url or "") as connection:
        insert(connection, [(1, 31, 10, 0), (1, 30, 20, 0), (1, 0, 40, 0), (6, 31, 80, 0)])
        connection.execute(
            "INSERT INTO archive.download_key SELECT %s - i, 'k' FROM generate_series(0, 2) i",
            (TODAY,),
        )
    assert tidy_downloads(kept, NOW) == 2
    assert sorted(rows(settings, "bytes")) == [(20,), (40,)]
    with psycopg.connect(settings.database_url or "") as connection:
        keys = connection.execute("SELECT day FROM archive.download_key").fetchall()
        counted = connection.execute("SELECT sum(bytes) FROM archive.download_day").fetchone()
    assert keys == [(TODAY,)]
    assert counted == (110,)  # not that of today, which is not over
    assert tidy_downloads(kept, NOW) == 0


def test_everybody_may_read_months_but_not_of_closed_collections(settings: Settings) -> None:
    with psycopg.connect(settings.database_url or "") as connection:
        insert(connection, [(1, 40, 10, 0), (1, 40, 5, 1), (6, 40, 80, 0)])
    tidy_downloads(settings, NOW)
    day = TODAY - timedelta(days=40)
    for role in (Role.READER, Role.MEMBER):
        with psycopg.connect(conninfo(settings, role)) as connection:
            found = connection.execute("SELECT * FROM archive_stats.download_month").fetchall()
        assert found == [("open", f"{day:%Y-%m}", 2, 15, 2)]
    assert {line.collection for line in download_months(settings)} == {"open", "closed"}


def test_the_operator_sees_today_which_is_not_counted_yet(settings: Settings) -> None:
    today = datetime.now(UTC)
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute(
            "INSERT INTO archive.download (product_id, ended, kind, method, whole, complete, bytes)"
            " VALUES (1, %s, 'file', 'GET', true, true, 7)",
            (today,),
        )
    assert [(m.month, m.size) for m in download_months(settings)] == [(f"{today:%Y-%m}", 7)]
    with psycopg.connect(settings.database_url or "") as connection:
        days = connection.execute("SELECT count(*) FROM archive.download_day").fetchone()
    assert days == (0,)


def test_a_late_row_of_a_purged_day_takes_nothing_away(
    writer: psycopg.Connection[Any],
) -> None:
    insert(writer, [(1, 40, 100, 0), (2, 40, 100, 1)])
    count_days(writer, TODAY)
    purge_downloads(writer, TODAY - timedelta(days=30), TODAY)
    insert(writer, [(1, 40, 1, 0)])
    count_days(writer, TODAY)
    assert [(m.files, m.size, m.visitor_days) for m in months(writer)] == [(2, 200, 2)]
