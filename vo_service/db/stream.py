"""Queries from outside: Arrow record batches straight from PostgreSQL's COPY BINARY.

A pool of ADBC connections logged in as the reader. Each statement runs in a thread; memory
holds two batches, one that is encoded and the next, which is fetched meanwhile; a client that
leaves cancels the statement and the connection goes back. Results come only through here, so
MAXREC is applied in one place.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import Error as ADBCError
from adbc_driver_manager._reader import AdbcRecordBatchReader
from adbc_driver_postgresql import dbapi
from anyio import CapacityLimiter, to_thread
from psycopg import DataError
from psycopg.sql import Literal
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from vo_service.db.faults import database_error
from vo_service.errors import TransientError, UsageError, VOError
from vo_service.model.table import Field, Rows

__all__ = ["Reader", "render"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]

#: Bytes of COPY data in one batch: some 10 000 ObsCore rows.
_BATCH_BYTES = 4 * 1024 * 1024
_WAIT_FOR_CONNECTION_S = 10.0
_CANCEL_AGAIN_S = 0.1


def render(statement: ClauseElement) -> str:
    """SQL text with its values in place, each quoted by psycopg.

    COPY takes no parameters, so values are written on the client's side.

    Raises
    ------
    UsageError
        If a value cannot be said in PostgreSQL (a NUL character).
    """
    compiled = statement.compile(dialect=_DIALECT)
    try:
        values = {name: Literal(value).as_string(None) for name, value in compiled.params.items()}
    except DataError as error:
        raise UsageError(f"a value cannot be stored in PostgreSQL: {error}") from error
    return str(compiled.string % values)


@dataclass(slots=True)
class _Session:
    """One ADBC connection and the statement under way on it; used by one task at a time."""

    connection: Any
    cursor: Any = None
    # ADBC's own reader: pyarrow's, which its cursor gives, loses the SQLSTATE of late errors.
    reader: AdbcRecordBatchReader | None = None
    ahead: Future[pa.RecordBatch | None] | None = None
    person: str = ""

    def work_for(self, person: str) -> None:
        """Tell PostgreSQL for whom statements run from now on (`archive.mine`)."""
        if self.person != person:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT set_config('vo.person', $1, false)", (person,))
                cursor.fetchall()
            self.person = person

    def execute(self, sql: str) -> None:
        self.cursor = self.connection.cursor()
        self.cursor.adbc_statement.set_options(
            **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
        )
        statement = self.cursor.adbc_statement
        statement.set_sql_query(sql)
        handle, _ = statement.execute_query()
        self.reader = AdbcRecordBatchReader._import_from_c(handle.address)

    def next_batch(self) -> pa.RecordBatch | None:
        if self.reader is None:
            return None
        try:
            return self.reader.read_next_batch()
        except StopIteration:
            self.reader = None
            return None

    def cancel(self) -> None:
        """Stop what PostgreSQL is doing for this session; callable from another thread."""
        if self.cursor is not None:
            with contextlib.suppress(ADBCError):
                self.cursor.adbc_cancel()

    def finish(self) -> None:
        """Free the statement; one that still has rows to give is stopped first."""
        while self.ahead is not None and not self.ahead.done():
            self.cancel()
            wait_for([self.ahead], _CANCEL_AGAIN_S)
        self.ahead = None
        if self.reader is not None:
            self.cancel()
            self.reader = None
        if self.cursor is not None:
            cursor, self.cursor = self.cursor, None
            with contextlib.suppress(ADBCError):
                cursor.close()

    def close(self) -> None:
        self.finish()
        with contextlib.suppress(ADBCError, RuntimeError):
            self.connection.close()


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
        self._idle: list[_Session] = []
        self._free = anyio.Semaphore(size)
        self._threads = CapacityLimiter(size)
        self._fetchers = ThreadPoolExecutor(size, "fetch")

    async def rows(
        self,
        statement: ClauseElement,
        fields: tuple[Field, ...],
        maxrec: int,
        person: str | None = None,
    ) -> Rows:
        """Run a statement and wait for its first batch, so that most failures come here.

        Parameters
        ----------
        statement
            A select whose columns have the types of *fields*; it should itself be limited
            to ``maxrec + 1`` rows, so that truncation is seen and no more is computed.
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
        try:
            first = await self._start(session, sql, person or "")
        except BaseException:
            await self._release(session)
            raise
        rows = Rows(fields=fields, source=_no_batches(), release=self._releaser(session))
        rows.source = self._batches(rows, session, first, maxrec)
        return rows

    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await to_thread.run_sync(self._idle.pop().close)
        self._fetchers.shutdown(wait=False)

    async def _batches(
        self, rows: Rows, session: _Session, batch: pa.RecordBatch | None, left: int
    ) -> AsyncIterator[pa.RecordBatch]:
        while batch is not None:
            if batch.num_rows > left:
                rows.truncated = True
                if left:
                    yield batch.slice(0, left)
                return
            left -= batch.num_rows
            session.ahead = self._fetchers.submit(session.next_batch)
            yield batch
            batch = await self._run(session, session.ahead.result)

    async def _start(self, session: _Session, sql: str, person: str) -> pa.RecordBatch | None:
        """Execute and read the first batch; a connection that died while idle is replaced."""

        def start() -> pa.RecordBatch | None:
            session.work_for(person)
            session.execute(sql)
            return session.next_batch()

        if session.connection is not None:
            try:
                return await self._run(session, start)
            except TransientError:
                session.close()
                session.connection = None
        session.connection, session.person = await self._connect(), ""
        return await self._run(session, start)

    async def _connect(self) -> Any:
        try:
            return await to_thread.run_sync(
                lambda: dbapi.connect(self._conninfo, autocommit=True), limiter=self._threads
            )
        except ADBCError as error:
            _log.error("no connection to PostgreSQL: %s", error)
            raise database_error("08001", str(error), self._limit_s) from error

    async def _run(self, session: _Session, work: Callable[[], _T]) -> _T:
        """Run *work* in a thread; if this task is cancelled, so is the statement."""
        finished = False

        async def stop_with_us() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    while not finished:
                        session.cancel()
                        # Once more: a cancel that comes between two messages of the driver is lost.
                        await anyio.sleep(_CANCEL_AGAIN_S)

        async with anyio.create_task_group() as group:
            group.start_soon(stop_with_us)
            with anyio.CancelScope(shield=True):
                outcome = await to_thread.run_sync(_outcome, work, limiter=self._threads)
            finished = True
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
        if isinstance(outcome, Exception):
            raise self._fault(session, outcome) from outcome
        return outcome

    def _fault(self, session: _Session, error: Exception) -> VOError | Exception:
        if not isinstance(error, ADBCError):
            return error
        lost = error.sqlstate is None and error.status_code == AdbcStatusCode.IO
        state = "08006" if lost else error.sqlstate
        fault = database_error(state, str(error), self._limit_s)
        if not isinstance(fault, UsageError):
            _log.error("statement failed (%s): %s", state, error)
        return fault

    async def _acquire(self) -> _Session:
        try:
            with anyio.fail_after(_WAIT_FOR_CONNECTION_S):
                await self._free.acquire()
        except TimeoutError:
            raise TransientError("the service is busy; try again in a moment") from None
        return self._idle.pop() if self._idle else _Session(None)

    def _releaser(self, session: _Session) -> Callable[[], Awaitable[None]]:
        """A release that works once, however often it is called."""
        released = False

        async def release() -> None:
            nonlocal released
            if not released:
                released = True
                await self._release(session)

        return release

    async def _release(self, session: _Session) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(session.finish)
            if session.connection is not None:
                self._idle.append(session)
            self._free.release()


def _outcome(work: Callable[[], _T]) -> _T | Exception:
    try:
        return work()
    except Exception as error:  # raised again in the task that asked
        return error


async def _no_batches() -> AsyncIterator[pa.RecordBatch]:
    return
    yield
