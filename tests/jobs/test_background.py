"""Work in a process of its own ends soon when it is told to, and leaves nothing at work."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from vo_service.services.background import in_other_process

_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(61)' AND pid <> {}"


def sleep_in_the_database(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_sleep(61)")


def refuse() -> None:
    raise ValueError("no")


def busy(connection: psycopg.Connection) -> int:
    statement = _BUSY.format(connection.info.backend_pid)
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_statement_under_way_is_taken_back_when_its_process_is_stopped(
    database_url: str,
) -> None:
    stopped = threading.Event()
    found: list[object] = []
    with psycopg.connect(database_url, autocommit=True) as watching:
        thread = threading.Thread(
            target=lambda: found.append(
                in_other_process(sleep_in_the_database, database_url, stopped=stopped)
            )
        )
        thread.start()
        until = time.monotonic() + 30
        while not busy(watching):
            assert time.monotonic() < until
            time.sleep(0.05)
        stopped.set()
        begun = time.monotonic()
        thread.join(10)
        assert time.monotonic() - begun < 4  # on a machine that is busy; 0.4 s by itself
        assert found == [None]
        assert busy(watching) == 0


def test_what_such_work_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match=r"^no$"):
        in_other_process(refuse, stopped=threading.Event())
