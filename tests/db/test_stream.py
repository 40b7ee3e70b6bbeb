"""Statements from outside: values in place, batches out, connections back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import ClauseElement, Text, cast, literal, select, text

from vo_service.db.connect import Role, conninfo
from vo_service.db.stream import Reader, render
from vo_service.errors import TransientError, UsageError, VOError
from vo_service.model.table import Field
from vo_service.settings import Settings

pytestmark = pytest.mark.anyio

ANY = (Field(name="x", datatype="char", arraysize="*"),)


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[Reader]:
    made = Reader(conninfo(settings, Role.READER, statement_timeout="60s"), size=2, limit_s=60.0)
    yield made
    await made.aclose()


@pytest.fixture
async def hasty(settings: Settings) -> AsyncIterator[Reader]:
    """One whose statements may take a second."""
    made = Reader(conninfo(settings, Role.READER, statement_timeout="1s"), size=2, limit_s=1.0)
    yield made
    await made.aclose()


async def fetch(
    reader: Reader, statement: ClauseElement, maxrec: int = 10**9
) -> tuple[list[object], bool]:
    rows = await reader.rows(statement, ANY, maxrec)
    try:
        found = [value async for batch in rows.batches() for value in batch.column(0).to_pylist()]
    finally:
        await rows.aclose()
    return found, rows.truncated


@pytest.mark.parametrize(
    ("maxrec", "count", "cut"), [(9, 9, True), (10, 10, False), (11, 10, False), (1, 1, True)]
)
async def test_maxrec_cuts_and_says_so(reader: Reader, maxrec: int, count: int, cut: bool) -> None:
    found, truncated = await fetch(reader, text("SELECT generate_series(1, 10)"), maxrec)
    assert (found, truncated) == (list(range(1, count + 1)), cut)


async def test_an_empty_result_has_no_rows(reader: Reader) -> None:
    assert await fetch(reader, text("SELECT 1 WHERE false")) == ([], False)


def test_every_text_arrives_as_it_was_given(settings: Settings) -> None:
    with start_blocking_portal() as portal:
        reader = Reader(conninfo(settings, Role.READER), size=1, limit_s=60.0)

        @hypothesis_settings(deadline=None, max_examples=200)
        @given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
        def arrives(value: str) -> None:
            found = portal.call(fetch, reader, select(cast(literal(value), Text)))
            assert found == ([value], False)

        try:
            arrives()
        finally:
            portal.call(reader.aclose)


def test_a_nul_character_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be stored"):
        render(select(literal("a\0b")))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT 1 / 0", "division by zero"),
        # Late: the first thousands of rows are already on their way.
        ("SELECT 1 / (300000 - g) FROM generate_series(1, 300001) g", "division by zero"),
        ("SELECT '1e400'::float8", "out of range"),
    ],
)
async def test_what_a_client_can_mend_is_told_without_sql(
    reader: Reader, statement: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        await fetch(reader, text(statement))
    assert said in str(caught.value)
    assert "SELECT" not in str(caught.value)
    assert (await fetch(reader, text("SELECT 1")))[0] == [1]


async def test_a_statement_that_takes_too_long_ends_with_the_limit_told(hasty: Reader) -> None:
    with pytest.raises(UsageError, match="longer than the limit of 1 s"):
        await fetch(hasty, text("SELECT pg_sleep(60)::text"))
    assert (await fetch(hasty, text("SELECT 1")))[0] == [1]


async def test_a_defect_of_ours_is_not_shown(reader: Reader) -> None:
    with pytest.raises(VOError) as caught:
        await fetch(reader, text("SELECT secret FROM archive.product"))
    assert not isinstance(caught.value, UsageError)
    assert "secret" not in str(caught.value)
    assert "archive" not in str(caught.value)


async def test_a_cancelled_task_stops_its_statement_at_once(reader: Reader) -> None:
    started = time.monotonic()
    with anyio.move_on_after(0.2):
        await fetch(reader, text("SELECT pg_sleep(50)::text"))
    assert time.monotonic() - started < 30
    assert (await fetch(reader, text("SELECT 1")))[0] == [1]


async def test_rows_left_unread_give_their_connection_back(reader: Reader) -> None:
    for _ in range(5):  # more often than there are connections
        rows = await reader.rows(text("SELECT repeat('x', 100) FROM generate_series(1, 200000)"),
                                 ANY, 10**9)  # fmt: skip
        async for _batch in rows.batches():
            break
        await rows.aclose()
        await rows.aclose()
    assert (await fetch(reader, text("SELECT 1")))[0] == [1]


async def test_a_connection_that_died_idle_is_replaced(reader: Reader, settings: Settings) -> None:
    await fetch(reader, text("SELECT 1"))
    admin = Reader(settings.database_url or "", size=1, limit_s=1.0)
    await fetch(
        admin,
        text(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ),
    )
    await admin.aclose()
    assert (await fetch(reader, text("SELECT 1")))[0] == [1]


async def test_a_database_that_is_away_is_a_passing_fault() -> None:
    nowhere = Reader("host=/nonexistent dbname=vo user=vo_reader", size=1, limit_s=1.0)
    with pytest.raises(TransientError, match="not available now"):
        await fetch(nowhere, text("SELECT 1"))


async def test_a_small_result_keeps_no_connection_while_it_is_written(reader: Reader) -> None:
    kept = [await reader.rows(text("SELECT 'a' FROM generate_series(1, 5)"), ANY, 4)
            for _ in range(10)]  # more often than there are connections  # fmt: skip
    assert reader.use().used == 0
    for rows in kept:
        assert [batch.num_rows async for batch in rows.batches()] == [4]
        assert rows.truncated
        await rows.aclose()


async def test_narrow_rows_all_arrive(reader: Reader) -> None:
    """A full batch of booleans is a few kilobytes in Arrow, and so looks like a small result."""
    count = 2_000_000
    rows = await reader.rows(text(f"SELECT true FROM generate_series(1, {count})"), ANY, 10**9)
    sizes = [batch.num_rows async for batch in rows.batches()]
    await rows.aclose()
    assert len(sizes) > 1
    assert sum(sizes) == count


async def test_a_failure_behind_a_small_first_batch_is_told_before_the_first_row(
    reader: Reader,
) -> None:
    late = text("SELECT 1 / (2000000 - g) > 0 FROM generate_series(1, 2000001) g")
    with pytest.raises(UsageError, match="division by zero"):
        await fetch(reader, late)
    assert (await fetch(reader, text("SELECT 1")))[0] == [1]


async def test_rendered_sql_is_run_as_it_is(reader: Reader) -> None:
    sql = render(select(literal("50%")))
    rows = await reader.rows(sql, ANY, 10)
    assert [batch.column(0).to_pylist() async for batch in rows.batches()] == [["50%"]]
    await rows.aclose()
