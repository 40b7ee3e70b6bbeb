"""What PostgreSQL's planner expects of a query, before it is run.

Source: PostgreSQL, "EXPLAIN". Run as the reader; nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from sqlalchemy import ClauseElement

from vo_service.db.people import work_for
from vo_service.db.stream import render
from vo_service.model.job import Estimate

__all__ = ["estimate", "partitions_of"]

_PARTITIONS = (
    "SELECT c.relname FROM pg_partition_tree('archive.observation') "
    "JOIN pg_class c ON c.oid = relid WHERE isleaf"
)


async def estimate(
    connection: psycopg.AsyncConnection[Any],
    statement: ClauseElement | str,
    person: str | None = None,
) -> Estimate | None:
    """Rows, cost and partitions of *statement* if *person* asks; None if there is no plan."""
    plan = await _plan(connection, statement, person)
    if plan is None:
        return None
    relations = set(_relations(plan))
    names = await (await connection.execute(_PARTITIONS)).fetchall()
    partitions = {name for (name,) in names}
    read = relations & partitions
    return Estimate(
        rows=plan["Plan Rows"],
        cost=plan["Total Cost"],
        partitions_read=len(read) if read else None,
        partitions=len(partitions) if read else None,
    )


async def partitions_of(
    connection: psycopg.AsyncConnection[Any],
    statement: ClauseElement | str,
    person: str | None = None,
) -> set[str]:
    """Names of the tables, partitions among them, that *statement* may read; asks no shard."""
    plan = await _plan(connection, statement, person)
    return set(_relations(plan)) if plan is not None else set()


async def _plan(
    connection: psycopg.AsyncConnection[Any], statement: ClauseElement | str, person: str | None
) -> Mapping[str, Any] | None:
    await work_for(connection, person)
    # Without parameters, so that psycopg leaves the percent signs of the text alone.
    cursor = await connection.execute(f"EXPLAIN (FORMAT JSON) {render(statement)}".encode())
    row = await cursor.fetchone()
    return row[0][0]["Plan"] if row is not None else None


def _relations(plan: Mapping[str, Any]) -> Iterator[str]:
    for node in _nodes(plan):
        if "Relation Name" in node:
            yield node["Relation Name"]
        # What a shard joins by itself has no one name: (archive.observation_ra_010 o) INNER JOIN ..
        yield from re.findall(r"\w+", node.get("Relations", ""))


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
