"""One ADBC connection of the reader, and the statement under way on it; used by one task at a time.

Everything here blocks and runs in threads of `vo_service.db.stream`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from adbc_driver_manager import Error as ADBCError
from adbc_driver_manager._reader import AdbcRecordBatchReader

__all__ = ["CANCEL_AGAIN_S", "GIVE_UP_S", "Session"]

#: Bytes of COPY data in one batch: some 10 000 ObsCore rows.
_BATCH_BYTES = 4 * 1024 * 1024
#: A first batch of so little is hardly ever followed by another, so that is found out with it.
_SMALL_BYTES = _BATCH_BYTES // 4
#: Batches that are fetched before they are wanted: some formats write much at a time.
_AHEAD = 4

#: Seconds after which a statement that still runs is told once more to stop.
CANCEL_AGAIN_S = 0.1

#: Seconds after which a statement that does not stop is left to itself: PostgreSQL waits without
#: end to tell a shard that is half dead to stop, too.
GIVE_UP_S = 3.0


@dataclass(slots=True)
class Session:
    """One ADBC connection and the statement under way on it; used by one task at a time."""

    connection: Any
    cursor: Any = None
    # ADBC's own reader: pyarrow's, which its cursor gives, loses the SQLSTATE of late errors.
    reader: AdbcRecordBatchReader | None = None
    ahead: Future[None] | None = None  # `fetch`, while it runs
    room: threading.Semaphore = field(default_factory=threading.Semaphore)
    stopped: bool = False
    told: tuple[str, str | None] = ("", None)

    def work_for(self, person: str, data_url: str | None) -> None:
        """Tell PostgreSQL for whom statements run (`archive.mine`), and where files are."""
        if self.told == (person, data_url):
            return
        said = {"vo.person": person, "vo.data_url": data_url}
        with self.connection.cursor() as cursor:
            for name, value in said.items():
                if value is not None:
                    cursor.execute("SELECT set_config($1, $2, false)", (name, value))
                    cursor.fetchall()
        self.told = (person, data_url)

    def _execute(self, sql: str) -> None:
        self.cursor = self.connection.cursor()
        self.cursor.adbc_statement.set_options(
            **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
        )
        statement = self.cursor.adbc_statement
        statement.set_sql_query(sql)
        handle, _ = statement.execute_query()
        self.reader = AdbcRecordBatchReader._import_from_c(handle.address)

    def begin(self, sql: str) -> list[pa.RecordBatch]:
        """Execute and read the first batch; all of a small result, which is then done with."""
        self.room, self.stopped = threading.Semaphore(_AHEAD), False
        self._execute(sql)
        found: list[pa.RecordBatch] = []
        while (batch := self._next_batch()) is not None:
            found.append(batch)
            if len(found) > 1 or batch.nbytes > _SMALL_BYTES:
                return found
        self.finish()
        return found

    def fetch(self, give: Callable[[pa.RecordBatch | Exception | None], None]) -> None:
        """Give batches to the end, then None; or the error. A few may wait to be taken."""
        try:
            while True:
                self.room.acquire()
                batch = None if self.stopped else self._next_batch()
                give(batch)
                if batch is None:
                    return
        except Exception as error:  # raised again in the task that reads
            give(error)

    def _next_batch(self) -> pa.RecordBatch | None:
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
        until = time.monotonic() + GIVE_UP_S
        self.stopped = True
        self.room.release()
        self._stop_ahead(until)
        if self.reader is not None:
            # PostgreSQL hears of the wish to stop only when it need not wait for a reader: unread,
            # it would hold its locks until the session is used again.
            thread = ThreadPoolExecutor(1)
            self.ahead = thread.submit(self._drain)
            thread.shutdown(wait=False)
            self._stop_ahead(until)
            self.reader = None
        if self.cursor is not None:
            cursor, self.cursor = self.cursor, None
            with contextlib.suppress(ADBCError):
                cursor.close()

    def _stop_ahead(self, until: float) -> None:
        """Stop the statement until nobody reads it any more; leave it behind after *until*."""
        while self.ahead is not None and not self.ahead.done():
            self.cancel()
            wait_for([self.ahead], CANCEL_AGAIN_S)
            if time.monotonic() > until:
                self.abandon(self.ahead)
        self.ahead = None

    def _drain(self) -> None:
        with contextlib.suppress(ADBCError):
            while self._next_batch() is not None:
                pass

    def abandon(self, work: Future[Any]) -> None:
        """Leave the connection to *work*, which cannot be stopped; it is closed when that ends."""
        lost = Session(self.connection, self.cursor, self.reader)
        self.connection = self.cursor = self.reader = self.ahead = None
        work.add_done_callback(lambda _: lost.close())

    def close(self) -> None:
        """End the session."""
        self.finish()
        with contextlib.suppress(ADBCError, RuntimeError):
            self.connection.close()
