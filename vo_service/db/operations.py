"""Statements of those who watch: numbers for meters, queries that took long.

`gauges` and `keep_slow` run as the door, `slow_queries` and `purge_slow` as the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = ["Gauge", "SlowQuery", "gauges", "keep_slow", "plan", "purge_slow", "slow_queries"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that the database knows: its name as a meter, labels, value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowQuery:
    """A query that took long; times are UTC, *seconds* those that the database took."""

    began: datetime
    seconds: float
    rows: int
    outcome: str
    request_id: str | None
    query: str | None
    statement: str | None
    slow_id: int | None = None


def gauges(connection: psycopg.Connection[Any]) -> list[Gauge]:
    """What there is to be said of the archive now."""
    with connection.cursor(row_factory=class_row(Gauge)) as cursor:
        cursor.execute("SELECT name, labels, value FROM archive.gauge")
        return cursor.fetchall()


async def keep_slow(connection: psycopg.AsyncConnection[Any], found: Sequence[SlowQuery]) -> None:
    """Write queries that took long."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO archive.slow_query "
            "(began, seconds, rows, outcome, request_id, query, statement) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (s.began, s.seconds, s.rows, s.outcome, s.request_id, s.query, s.statement)
                for s in found
            ],
        )


def slow_queries(
    connection: psycopg.Connection[Any], limit: int, slow_id: int | None = None
) -> list[SlowQuery]:
    """The slowest queries that are kept, slowest first; or the one of a number."""
    with connection.cursor(row_factory=class_row(SlowQuery)) as cursor:
        cursor.execute(
            "SELECT slow_id, began, seconds, rows, outcome, request_id, query, statement "
            "FROM archive.slow_query WHERE %(slow_id)s::bigint IS NULL OR slow_id = %(slow_id)s "
            "ORDER BY seconds DESC, slow_id LIMIT %(limit)s",
            {"slow_id": slow_id, "limit": limit},
        )
        return cursor.fetchall()


def purge_slow(connection: psycopg.Connection[Any], days: int) -> int:
    """Forget queries that are older than *days*; how many."""
    return connection.execute(
        "DELETE FROM archive.slow_query WHERE began < now() - make_interval(days => %s)", [days]
    ).rowcount


def plan(connection: psycopg.Connection[Any], statement: str) -> list[str]:
    """How PostgreSQL would run *statement* now, in lines; it is not run."""
    # Without parameters, so that psycopg leaves the percent signs of the text alone.
    rows = connection.execute(f"EXPLAIN {statement}".encode()).fetchall()
    return [str(line) for (line,) in rows]
