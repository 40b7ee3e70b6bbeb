"""Queries that took long: noted beside their way, shown to the operator, forgotten in time.

A query ends, is put into a short queue and written by a task of its own; if the database is away
the queue fills up and further ones are lost, which costs nobody anything. The log gets one line
for each, with a hash in place of the text, which may hold the positions that somebody looks at.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator

import anyio
import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.operations import SlowQuery, keep_slow, plan, purge_slow, slow_queries
from vo_service.errors import NotFoundError
from vo_service.settings import Settings
from vo_service.telemetry.logs import FIELDS
from vo_service.telemetry.statements import Measured, listening

__all__ = ["forget_slow", "noting_slow", "plan_of_slow", "slowest"]

_log = logging.getLogger(__name__)

_WAITING = 200
_TEXT_LIMIT = 200_000
_PAUSE_S = 1.0


@contextlib.asynccontextmanager
async def noting_slow(settings: Settings) -> AsyncIterator[None]:
    """Write queries that take ``slow_query_s`` or longer while the block lasts."""
    if not settings.slow_query_s:
        yield
        return
    send, receive = anyio.create_memory_object_stream[SlowQuery](_WAITING)

    def told(measured: Measured) -> None:
        if measured.seconds >= settings.slow_query_s:
            _tell(settings, measured)
            with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError):
                send.send_nowait(_kept(measured))

    async def write() -> None:
        async for found in receive:
            try:
                # They are rare: a connection is opened for each.
                async with await psycopg.AsyncConnection.connect(
                    conninfo(settings, Role.DOOR)
                ) as connection:
                    await keep_slow(connection, [found])
            except psycopg.Error as error:
                _log.warning("a slow query cannot be kept: %s", str(error).strip())
                await anyio.sleep(_PAUSE_S)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        try:
            with listening(told):
                yield
        finally:
            send.close()
            group.cancel_scope.deadline = anyio.current_time() + _PAUSE_S


def slowest(settings: Settings, limit: int) -> list[SlowQuery]:
    """The slowest queries that are kept, slowest first."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return slow_queries(connection, limit)


def plan_of_slow(settings: Settings, slow_id: int) -> tuple[SlowQuery, list[str]]:
    """A kept query, and how PostgreSQL would run it now for somebody who is not known.

    Raises
    ------
    NotFoundError
        If there is no such query, or its statement is not kept or can no longer be planned.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        found = slow_queries(connection, 1, slow_id)
    if not found:
        raise NotFoundError(f"{slow_id}: no slow query of this number is kept")
    if found[0].statement is None:
        raise NotFoundError(f"{slow_id}: its statement was too long to be kept")
    try:
        with psycopg.connect(conninfo(settings, Role.READER)) as connection:
            return found[0], plan(connection, found[0].statement)
    except psycopg.ProgrammingError as error:
        raise NotFoundError(
            f"{slow_id}: it cannot be planned any more, as with an uploaded table that is gone "
            f"({error.diag.message_primary})"
        ) from error


def forget_slow(settings: Settings) -> int:
    """Delete what is older than ``slow_query_days``; how many."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return purge_slow(connection, settings.slow_query_days)


def _tell(settings: Settings, measured: Measured) -> None:
    text = measured.query or measured.sql
    _log.warning(
        "slow query",
        extra={
            FIELDS: {
                "seconds": round(measured.seconds, 3),
                "rows": measured.rows,
                "outcome": measured.outcome,
                "query_hash": hashlib.sha256(text.encode()).hexdigest()[:16],
                "query": text if settings.log_personal else None,
            }
        },
    )


def _kept(measured: Measured) -> SlowQuery:
    query, sql = measured.query, measured.sql
    return SlowQuery(
        began=measured.began,
        seconds=measured.seconds,
        rows=measured.rows,
        outcome=measured.outcome,
        request_id=measured.request_id,
        query=query[:_TEXT_LIMIT] if query else None,
        statement=sql if len(sql) <= _TEXT_LIMIT else None,
    )
