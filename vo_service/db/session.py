"""One connection of the reader, and the statement under way on it; used by one task at a time.

Everything here blocks and runs in threads of `vo_service.db.stream`.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray

from vo_service.db.decode import Decoder
from vo_service.db.wire import BATCH_BYTES, Answer, asked

__all__ = ["CANCEL_AGAIN_S", "GIVE_UP_S", "Session", "beside"]

_T = TypeVar("_T")

#: Rows, the error in their place, or None after the last.
_Read = tuple[NDArray[np.uint8], int] | Exception | None

#: A first batch of so little is hardly ever followed by another, so that is found out with it.
_SMALL_BYTES = BATCH_BYTES // 4
#: Batches that are fetched before they are wanted: some formats write much at a time.
_AHEAD = 3

#: Batches after which memory that is free goes back to the system: in a long answer the pieces of
#: it that lie about would add up to tens of megabytes.
_TRIM_EVERY = 8

#: Seconds after which a statement that still runs is told once more to stop.
CANCEL_AGAIN_S = 0.1

#: Seconds after which a statement that does not stop is left to itself: PostgreSQL waits without
#: end to tell a shard that is half dead to stop, too.
GIVE_UP_S = 3.0


def _decode(
    decoder: Decoder | None,
    read: SimpleQueue[_Read],
    give: Callable[[pa.RecordBatch | Exception | None], None],
) -> None:
    """Give what was read as batches, until there is no more."""
    while isinstance(rows := read.get(), tuple):
        try:
            give(None if decoder is None else decoder.batch(*rows))
        except Exception as error:  # raised again in the task that reads
            give(error)
            return
    give(rows)


def beside(work: Callable[[], _T]) -> Future[_T]:
    """Run *work* in a thread of its own, which does not keep the process from ending.

    A statement that runs on, or a reader that takes nothing, cannot hold up a server that is told
    to stop.
    """
    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # raised again where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="query", daemon=True).start()
    return done


@dataclass(slots=True)
class Session:
    """One connection and the statement under way on it; used by one task at a time."""

    connection: psycopg.Connection[Any] | None
    answer: Answer | None = None
    decoder: Decoder | None = None  # None: there are no more rows
    ahead: Future[None] | None = None  # `fetch`, while it runs
    room: threading.Semaphore = field(default_factory=threading.Semaphore)
    stopped: bool = False
    told: tuple[str, str | None] = ("", None)

    def work_for(self, person: str, data_url: str | None) -> None:
        """Tell PostgreSQL for whom statements run (`archive.mine`), and where files are."""
        if self.told == (person, data_url) or self.connection is None:
            return
        said = {"vo.person": person, "vo.data_url": data_url}
        for name, value in said.items():
            if value is not None:
                self.connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        self.told = (person, data_url)

    def ask(self, sql: str) -> Answer:
        """Send a statement; does not wait."""
        if self.connection is None:
            raise ValueError("a session needs a connection")
        self.room, self.stopped = threading.Semaphore(_AHEAD), False
        self.answer = asked(self.connection, sql)
        return self.answer

    def begin(self) -> list[pa.RecordBatch]:
        """Read the first batch; all of a small result, which is then done with."""
        if self.answer is None:
            raise ValueError("nothing was asked")
        self.decoder = Decoder(self.answer.headings())
        found: list[pa.RecordBatch] = []
        while (batch := self._next_batch()) is not None:
            found.append(batch)
            if len(found) > 1 or batch.nbytes > _SMALL_BYTES:
                return found
        self.finish()
        return found

    def fetch(self, give: Callable[[pa.RecordBatch | Exception | None], None]) -> None:
        """Give batches to the end, then None; or the error. A few may wait to be taken.

        Rows are decoded in one more thread: the socket holds so little that PostgreSQL would stand
        still meanwhile.
        """
        read: SimpleQueue[_Read] = SimpleQueue()
        beside(partial(_decode, self.decoder, read, give))
        try:
            for number in itertools.count(1):
                self.room.acquire()
                if number % _TRIM_EVERY == 0:
                    pa.default_memory_pool().release_unused()
                rows = None if self.stopped or self.answer is None else self.answer.rows()
                read.put(rows)
                if rows is None:
                    return
        except Exception as error:  # raised again in the task that reads
            read.put(error)

    def _next_batch(self) -> pa.RecordBatch | None:
        if self.answer is None or self.decoder is None:
            return None
        try:
            rows = self.answer.rows()
        except psycopg.Error:
            self.decoder = None
            raise
        if rows is None:
            self.decoder = None
            return None
        return self.decoder.batch(*rows)

    def cancel(self) -> None:
        """Stop what PostgreSQL is doing for this session; callable from another thread."""
        if self.answer is not None and self.connection is not None:
            with contextlib.suppress(psycopg.Error):
                self.connection.pgconn.get_cancel().cancel()

    def finish(self) -> None:
        """Free the statement; one that still has rows to give is stopped first."""
        until = time.monotonic() + GIVE_UP_S
        self.stopped = True
        self.room.release()
        self._stop_ahead(until)
        if self.answer is not None and not self.answer.ended:
            # PostgreSQL hears of the wish to stop only when it need not wait for a reader: unread,
            # it would hold its locks until the session is used again.
            self.ahead = beside(self._drain)
            self._stop_ahead(until)
        if self.answer is not None:
            self.answer.close()
        self.answer = self.decoder = None

    def _stop_ahead(self, until: float) -> None:
        """Stop the statement until nobody reads it any more; leave it behind after *until*."""
        while self.ahead is not None and not self.ahead.done():
            self.cancel()
            wait_for([self.ahead], CANCEL_AGAIN_S)
            if time.monotonic() > until:
                self.abandon(self.ahead)
        self.ahead = None

    def _drain(self) -> None:
        with contextlib.suppress(psycopg.Error):
            while self.answer is not None and self.answer.rows() is not None:
                pass

    def abandon(self, work: Future[Any]) -> None:
        """Leave the connection to *work*, which cannot be stopped; it is closed when that ends."""
        lost = Session(self.connection, self.answer)
        self.connection = self.answer = self.decoder = self.ahead = None
        work.add_done_callback(lambda _: lost.close())

    def close(self) -> None:
        """End the session."""
        self.finish()
        if self.connection is not None:
            self.connection.close()
