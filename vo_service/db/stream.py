"""Queries from outside: Arrow record batches straight from PostgreSQL's binary protocol.

A pool of connections logged in as the reader. A small result is read as it comes, and its
connection is free before a byte of it is encoded. A larger one is read by a thread; memory holds
a few batches, one that is encoded and those that are fetched meanwhile. A client that leaves
cancels the statement and the connection goes back. Results come only through here, so MAXREC is
applied in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import anyio
import psycopg
import pyarrow as pa
from anyio import to_thread
from psycopg import DataError
from psycopg.sql import Literal
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from vo_service.db.faults import database_error
from vo_service.db.session import CANCEL_AGAIN_S, GIVE_UP_S, Session, beside
from vo_service.errors import TooManyError, TransientError, UsageError
from vo_service.model.table import Field, Rows
from vo_service.telemetry.meters import PoolUse
from vo_service.telemetry.statements import Measured, marked
from vo_service.telemetry.tracing import span

__all__ = ["Reader", "render"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]

_WAIT_FOR_CONNECTION_S = 10.0
_AGAIN_S = 10
#: Seconds beyond the statement's own limit in which a slow reader may take what was found: with
#: full buffers PostgreSQL waits for the reader, and its timeout with it.
_READING_S = 60.0


def render(statement: ClauseElement | str) -> str:
    """SQL text with its values in place, each quoted by psycopg; what is text is so already.

    The planner sees the values, so that it leaves out partitions and knows how many rows come.

    Raises
    ------
    UsageError
        If a value cannot be said in PostgreSQL (a NUL character).
    """
    if isinstance(statement, str):
        return statement
    compiled = statement.compile(dialect=_DIALECT)
    try:
        values = {name: Literal(value).as_string(None) for name, value in compiled.params.items()}
    except DataError as error:
        raise UsageError(f"a value cannot be stored in PostgreSQL: {error}") from error
    return str(compiled.string % values)


class Reader:
    """Runs statements as the reader role.

    Parameters
    ----------
    conninfo
        libpq connection string of the reader, statement_timeout included.
    size
        Connections at most; a request waits a while for one, then is told to come back.
    limit_s
        The statement timeout, for messages.
    """

    def __init__(self, conninfo: str, size: int, limit_s: float) -> None:
        self._conninfo = conninfo
        self._limit_s = limit_s
        self._idle: list[Session] = []
        self._size = size
        self._free = anyio.Semaphore(size)
        self._data_url: str | None = None

    def telling(self, data_url: str) -> Reader:
        """The same connections, for answers whose addresses of files begin with *data_url*."""
        other = copy.copy(self)
        other._data_url = data_url
        return other

    async def rows(
        self,
        statement: ClauseElement | str,
        fields: tuple[Field, ...],
        maxrec: int,
        person: str | None = None,
    ) -> Rows:
        """Run a statement and wait for its first batch, so that most failures come here.

        Parameters
        ----------
        statement
            A select whose columns have the types of *fields*, as it is or as `render` has it;
            it should itself be limited to ``maxrec + 1`` rows, so that truncation is seen and
            no more is computed.
        fields
            What the columns are.
        maxrec
            Rows that may leave.
        person
            Whose proposals count as known, for roles that look (`archive.mine`).

        Raises
        ------
        VOError
            As `vo_service.db.faults` decides.
        """
        sql = render(statement)
        session = await self._acquire()
        measured = Measured(sql)
        try:
            with measured.waiting(), span("execute"):
                found = await self._start(session, marked(sql), person or "")
        except BaseException:
            measured.end()
            await self._release(session)
            raise
        rows = Rows(fields=fields, source=_no_batches(), release=self._releaser(session, measured))
        rows.held_s = self._limit_s + _READING_S
        if session.answer is None:  # all of it is here, and the connection is not needed any more
            measured.rows = min(maxrec, sum(batch.num_rows for batch in found))
            measured.outcome = "complete"
            await rows.release()
            rows.source = _at_most(maxrec, rows, _given(found), None)
        else:
            source = self._batches(session, measured, found)
            rows.source = _at_most(maxrec, rows, source, measured)
        return rows

    def use(self) -> PoolUse:
        """How many connections work now, and who waits for one."""
        statistics = self._free.statistics()
        return PoolUse(self._size, self._size - self._free.value, statistics.tasks_waiting)

    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await to_thread.run_sync(self._idle.pop().close)

    async def _batches(
        self, session: Session, measured: Measured, found: Sequence[pa.RecordBatch]
    ) -> AsyncIterator[pa.RecordBatch]:
        """Those that were found, then those that are fetched meanwhile."""
        loop = asyncio.get_running_loop()
        fetched: asyncio.Queue[pa.RecordBatch | Exception | None] = asyncio.Queue()

        def give(batch: pa.RecordBatch | Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # nobody is left to take it
                loop.call_soon_threadsafe(fetched.put_nowait, batch)

        session.ahead = beside(partial(session.fetch, give))
        for batch in found:
            yield batch
        while True:
            with measured.waiting():
                batch = await fetched.get()
                if isinstance(batch, Exception):
                    raise self._fault(session, batch) from batch
            if batch is None:
                return
            session.room.release()
            yield batch

    async def _start(self, session: Session, sql: str, person: str) -> list[pa.RecordBatch]:
        """Execute and read the first batches; a connection that died while idle is replaced."""
        if session.connection is not None:
            try:
                return await self._begin(session, sql, person)
            except TransientError:
                session.close()
                session.connection = None
        session.connection, session.told = await self._connect(), ("", None)
        return await self._begin(session, sql, person)

    async def _begin(self, session: Session, sql: str, person: str) -> list[pa.RecordBatch]:
        """The first batches. No thread is asked for an answer that is small and comes soon."""
        if session.told != (person, self._data_url):
            await self._run(session, partial(session.work_for, person, self._data_url))
        try:
            answer = session.ask(sql)
            while not answer.arrived():
                await anyio.wait_readable(answer)
            if answer.over:
                return session.begin()
        except psycopg.Error as error:
            raise self._fault(session, error) from error
        except asyncio.CancelledError:
            session.cancel()
            raise
        return await self._run(session, session.begin)

    async def _connect(self) -> psycopg.Connection[Any]:
        try:
            return await to_thread.run_sync(
                lambda: psycopg.connect(self._conninfo, autocommit=True, client_encoding="UTF8")
            )
        except psycopg.Error as error:
            _log.error("no connection to PostgreSQL: %s", error)
            raise database_error("08001", str(error), self._limit_s) from error

    async def _run(self, session: Session, work: Callable[[], _T]) -> _T:
        """Run *work* in a thread; if this task is cancelled, so is the statement."""
        return await self._result(session, beside(work))

    async def _result(self, session: Session, work: Future[_T]) -> _T:
        """What *work*, which runs, comes to; if this task is cancelled, so is the statement."""
        waiting = asyncio.wrap_future(work)
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen
            until = time.monotonic() + GIVE_UP_S
            with anyio.CancelScope(shield=True):
                while not waiting.done():
                    session.cancel()
                    # Once more: a cancel that comes between two messages of the driver is lost.
                    await asyncio.wait([waiting], timeout=CANCEL_AGAIN_S)
                    if time.monotonic() > until and not waiting.done():
                        session.abandon(work)
                        break
            raise
        if (error := waiting.exception()) is not None:
            raise self._fault(session, error) from error
        return waiting.result()

    def _fault(self, session: Session, error: BaseException) -> BaseException:
        if not isinstance(error, psycopg.Error):
            return error
        state = error.sqlstate or "08006"  # libpq's own: the connection is lost
        fault = database_error(state, f"ERROR:  {error.diag.message_primary}", self._limit_s)
        if not isinstance(fault, UsageError):
            _log.error("statement failed (%s): %s", state, error)
        return fault

    async def _acquire(self) -> Session:
        try:
            with anyio.fail_after(_WAIT_FOR_CONNECTION_S):
                await self._free.acquire()
        except TimeoutError:
            raise TooManyError(
                "more queries wait than this service can answer now; try again in a moment",
                _AGAIN_S,
            ) from None
        return self._idle.pop() if self._idle else Session(None)

    def _releaser(self, session: Session, measured: Measured) -> Callable[[], Awaitable[None]]:
        """A release that works once, however often it is called."""
        released = False

        async def release() -> None:
            nonlocal released
            if not released:
                released = True
                measured.end()
                await self._release(session)

        return release

    async def _release(self, session: Session) -> None:
        with anyio.CancelScope(shield=True):
            if session.answer is not None:
                await to_thread.run_sync(session.finish)
            if session.connection is not None:
                self._idle.append(session)
            self._free.release()


async def _given(batches: Sequence[pa.RecordBatch]) -> AsyncIterator[pa.RecordBatch]:
    for batch in batches:
        yield batch


async def _at_most(
    maxrec: int, rows: Rows, source: AsyncIterator[pa.RecordBatch], measured: Measured | None
) -> AsyncIterator[pa.RecordBatch]:
    """So many rows of *source*, counted in *measured*; tells *rows* whether there are more."""
    given = 0
    async for batch in source:
        part = batch.slice(0, maxrec - given)
        given += part.num_rows
        rows.truncated = part.num_rows < batch.num_rows
        if measured is not None:
            measured.rows = given
        if part.num_rows:
            yield part
        if rows.truncated:
            break
    if measured is not None:
        measured.outcome = "complete"


async def _no_batches() -> AsyncIterator[pa.RecordBatch]:
    return
    yield
