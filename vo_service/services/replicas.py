"""Read replicas: streaming copies of the database that run searches, as long as they keep up.

A replica counts as fresh while it has replayed what the primary had written ``replica_lag_s`` ago.
That is found by positions in the log, not by the time of the last transaction, which says nothing
where nobody writes. What is not fresh, or has become a primary itself, is not asked.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import psycopg
from psycopg.conninfo import conninfo_to_dict

from vo_service.db.connect import Role, conninfo
from vo_service.db.stream import Reader
from vo_service.settings import Settings
from vo_service.telemetry.meters import watch_gauge, watch_pools

__all__ = ["Replicas"]

_log = logging.getLogger(__name__)

_EVERY_S = 0.5
_ANSWER_S = 3.0
_REMEMBERED = 600

#: Bytes of log, of a primary written and of a replica replayed; and which cluster it is.
_WRITTEN = (
    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, "
    "(SELECT system_identifier FROM pg_control_system())"
)
_REPLAYED = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN "
    "pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END, "
    "(SELECT system_identifier FROM pg_control_system())"
)


@dataclass(slots=True)
class _Replica:
    """A replica; *fresh_at* is when (monotonic) the primary was as the replica is now."""

    conninfo: str
    reader: Reader
    name: str
    fresh_at: float | None = None
    problem: str = "has not been looked at"


class Replicas:
    """The replicas of ``reader_urls``, asked in turn.

    Parameters
    ----------
    settings
        What the operator chose.
    limit_s
        Seconds that a statement may run.
    parameters
        Run-time settings of PostgreSQL for the sessions, as the primary's have.
    """

    def __init__(self, settings: Settings, limit_s: float, **parameters: str | float) -> None:
        self._lag_s = settings.replica_lag_s
        self._primary = conninfo(settings, Role.READER)
        self._written: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)
        self._cluster: int | None = None
        self._replicas = []
        for url in settings.reader_urls:
            there = settings.model_copy(update={"database_url": url})
            dsn = conninfo(there, Role.READER, **parameters)
            reader = Reader(dsn, settings.reader_connections, limit_s)
            self._replicas.append(_Replica(dsn, reader, _place(dsn)))
        self._turn = itertools.count()
        self._data_url: str | None = None

    def telling(self, data_url: str) -> Replicas:
        """The same, for answers whose addresses of files begin with *data_url*."""
        other = copy.copy(self)
        other._data_url = data_url
        return other

    def fresh(self) -> Reader | None:
        """The reader of a replica that keeps up; None where the primary must be asked."""
        able = [r for r in self._replicas if self._keeps_up(r)]
        if not able:
            return None
        reader = able[next(self._turn) % len(able)].reader
        return reader if self._data_url is None else reader.telling(self._data_url)

    def show(self, prefix: str = "") -> None:
        """Let meters tell of each replica, and of its pool under *prefix* and its name."""
        watch_pools({f"{prefix}replica {r.name}": r.reader.use for r in self._replicas})
        watch_gauge(
            "vo_replica_up", "Whether searches are sent to a replica: it answers and keeps up",
            "replica", lambda: {r.name: float(self._keeps_up(r)) for r in self._replicas},
        )  # fmt: skip
        watch_gauge(
            "vo_replica_lag_seconds", "How far a replica is behind the primary; +Inf: not known",
            "replica", lambda: {r.name: _lag_s(r) for r in self._replicas},
        )  # fmt: skip

    def _keeps_up(self, replica: _Replica) -> bool:
        return _lag_s(replica) <= self._lag_s

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compare the replicas with the primary for as long as this is open."""
        if not self._replicas:
            yield
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow_primary)
            for replica in self._replicas:
                group.start_soon(self._follow, replica)
            yield
            group.cancel_scope.cancel()
        for replica in self._replicas:
            await replica.reader.aclose()

    async def _follow_primary(self) -> None:
        asking = _Asking(self._primary, _WRITTEN)
        while True:
            asked = time.monotonic()
            answer = await asking.answer()
            if answer is not None:
                written, self._cluster = answer
                self._written.append((asked, written))
            await anyio.sleep(_EVERY_S)

    async def _follow(self, replica: _Replica) -> None:
        asking = _Asking(replica.conninfo, _REPLAYED)
        while True:
            answer = await asking.answer()
            if answer is not None and self._cluster is not None:
                self._compare(replica, *answer)
            elif answer is None:
                replica.fresh_at = None
                _tell(replica, "does not answer")
            await anyio.sleep(_EVERY_S)

    def _compare(self, replica: _Replica, replayed: int | None, cluster: int) -> None:
        if replayed is None or cluster != self._cluster:
            replica.fresh_at = None
            _tell(replica, "is no replica of this database, or none any more")
            return
        reached = [at for at, written in self._written if written <= replayed]
        replica.fresh_at = max(reached, default=None)
        _tell(replica, "" if self._keeps_up(replica) else "is behind")


@dataclass(slots=True)
class _Asking:
    """A question to a server that is asked again and again."""

    dsn: str
    question: str
    connection: psycopg.AsyncConnection[Any] | None = None

    async def answer(self) -> tuple[Any, Any] | None:
        """Its two columns; None where there is no answer in time."""
        try:
            with anyio.fail_after(_ANSWER_S):
                if self.connection is None or self.connection.closed:
                    self.connection = await psycopg.AsyncConnection.connect(
                        self.dsn, autocommit=True
                    )
                row = await (await self.connection.execute(self.question.encode())).fetchone()
        except (psycopg.Error, TimeoutError):
            if self.connection is not None:
                self.connection.pgconn.finish()  # an end in form might wait for the server
            self.connection = None
            return None
        return (row[0], row[1]) if row is not None else None


def _tell(replica: _Replica, problem: str) -> None:
    """Say in the log when a replica ceases to be asked, and when it is asked again."""
    if problem == replica.problem:
        return
    replica.problem = problem
    _log.warning("replica %s %s", replica.name, problem or "is asked")


def _lag_s(replica: _Replica) -> float:
    return math.inf if replica.fresh_at is None else time.monotonic() - replica.fresh_at


def _place(dsn: str) -> str:
    place = conninfo_to_dict(dsn)
    return f"{place.get('host', '')}:{place.get('port', '5432')}"
