"""What PostgreSQL answers to a statement, read off the socket that libpq opened.

libpq hands rows over one by one, which costs more than reading and decoding them. So libpq does
all the rest: it logs in, sends the statement (binary results), cancels, and hears at the end
whether it went well. Only rows, and what comes before them, are taken from under it, whole
messages each, so that it finds the next one where it expects it. Where the connection is
encrypted the bytes are libpq's alone, and rows come through its COPY.
Source: PostgreSQL, "Frontend/Backend Protocol", "Message Flow", "Extended Query".
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Protocol

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import pq
from psycopg.errors import error_from_result

from vo_service.db.decode import Heading
from vo_service.db.kernels import walk

__all__ = ["BATCH_BYTES", "Answer", "asked"]

#: Bytes of rows that are given at once: some 6000 ObsCore rows. One row may be longer.
BATCH_BYTES = 3 * 1024 * 1024
_BUFFER_BYTES = BATCH_BYTES + 256 * 1024
#: An answer of less is read as it comes, by who has other things to do.
_SMALL_BYTES = 256 * 1024
_HEADING = 5
_ROW = ord("D")
#: Messages that need no attention: ParseComplete, BindComplete, NoData, Notice, Parameter,
#: Notification.
_SKIPPED = frozenset(b"12nNSA")
_COLUMNS = ord("T")
#: A message of more may not fit into a socket, so that it could be looked at as a whole.
_LONG_BYTES = 16 * 1024
_COPY_HEADING = 19
_COPY_END = b"\xff\xff"
_MOMENT_S = 0.001
#: PostgreSQL sends 8 kB at a time. Who woke for each would do little else, and keep Python's lock
#: from those who encode: after little has come, more is let come. The socket holds twice of that.
_LITTLE_BYTES = 96 * 1024
_GATHER_S = 0.0003


class Answer(Protocol):
    """The rows that come for one statement."""

    def fileno(self) -> int:
        """What becomes readable when more has come."""

    def arrived(self) -> bool:
        """Take what has come, without waiting; False while more is wanted.

        Then `headings` and `rows` wait for nothing if `over`, and otherwise for much.
        """

    @property
    def over(self) -> bool:
        """Whether all of the answer is here."""

    @property
    def ended(self) -> bool:
        """Whether it is known how the statement ended, so that another may be asked."""

    def headings(self) -> list[Heading]:
        """The columns, once the first row is there.

        Raises
        ------
        psycopg.Error
            If the statement failed before its first row.
        """

    def rows(self) -> tuple[NDArray[np.uint8], int] | None:
        """Messages with rows, and how many they are; None after the last.

        Raises
        ------
        psycopg.Error
            If the statement failed, or the connection is lost.
        """

    def close(self) -> None:
        """Let go of the socket; the connection stays."""


def asked(connection: psycopg.Connection, sql: str) -> Answer:
    """Ask for the rows of *sql*, one statement, on an idle connection in autocommit."""
    pgconn = connection.pgconn
    return _Relayed(pgconn, sql) if pgconn.ssl_in_use else _Direct(pgconn, sql)


class _Direct:
    """Rows off the socket."""

    def __init__(self, pgconn: pq.abc.PGconn, sql: str) -> None:
        self._headings: list[Heading] = []
        self._pgconn = pgconn
        pgconn.send_query_params(_text(sql), None, result_format=pq.Format.BINARY)
        while pgconn.flush():
            select.select([], [pgconn.socket], [])
        self._socket = socket.socket(fileno=os.dup(pgconn.socket))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = np.empty(_BUFFER_BYTES, np.uint8)
        self._end = 0  # of what is in the buffer: whole rows, and perhaps a part of one
        self._given = 0  # bytes of it that were given
        self._taken = 0  # bytes that the last look at the socket gave
        self._over = False  # there are no more rows
        self._ended = False  # and it is known how that went
        self._patient = True  # waits for what has not come

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def over(self) -> bool:
        return self._over

    @property
    def ended(self) -> bool:
        return self._ended

    def arrived(self) -> bool:
        self._patient = False
        try:
            while not self._over and self._end < _SMALL_BYTES:
                self._take(walk(self._buffer, 0, self._end)[0])
        except BlockingIOError:
            return False
        finally:
            self._patient = True
        return True

    def headings(self) -> list[Heading]:
        if not self._end:
            self._to_rows()
        if self._over:
            self._hear_outcome()
        return self._headings

    def rows(self) -> tuple[NDArray[np.uint8], int] | None:
        self._forget_given()
        at, last, count = walk(self._buffer, 0, self._end)
        while True:
            whole = at <= self._end
            given, complete = (at, count) if whole else (last, count - 1)
            if complete and (given >= BATCH_BYTES or self._over):
                self._given = given
                return self._buffer[:given], complete
            if self._over:
                self._hear_outcome()
                return None
            self._take(at)
            at, last, more = walk(self._buffer, last if count else 0, self._end)
            count = more if not count else count - 1 + more

    def _forget_given(self) -> None:
        """Go on in another buffer, with what is left: what was given is not ours any more."""
        if self._given:
            left = self._buffer[self._given : self._end]
            self._buffer = np.empty(max(_BUFFER_BYTES, 2 * len(left)), np.uint8)
            self._buffer[: len(left)] = left
            self._end, self._given = len(left), 0

    def _take(self, at: int) -> None:
        """Take what is there of rows; *at* is where the next message begins in the buffer."""
        if at > len(self._buffer):
            self._buffer = np.concatenate(
                [self._buffer, np.empty(at - len(self._buffer), np.uint8)]
            )
        if self._patient and self._taken < _LITTLE_BYTES:
            time.sleep(_GATHER_S)
        seen = self._peek(self._buffer.data[self._end :])
        if not seen:
            self._over = True
            return
        visible = self._end + seen
        at, _, _ = walk(self._buffer, at, visible)
        if at < 0:
            raise psycopg.OperationalError("PostgreSQL's answer cannot be read")
        if at >= visible or self._buffer[at] == _ROW:
            at = visible
        self._receive(self._buffer.data[self._end : at])
        self._taken, self._end = at - self._end, at
        if at < visible:
            self._to_rows()

    def _to_rows(self) -> None:
        """Take the messages that come before the next row; find out whether there is one."""
        heading = bytearray(_HEADING)
        while not self._over:
            seen = self._peek(memoryview(heading))
            kind = heading[0]
            if seen and kind == _ROW:
                return
            if seen == _HEADING and (kind in _SKIPPED or kind == _COLUMNS):
                message = self._whole(1 + int.from_bytes(heading[1:], "big"))
                if kind == _COLUMNS:
                    self._headings = _headings(bytes(message[_HEADING:]))
            elif seen in (0, _HEADING):
                self._over = True
            elif not self._patient:
                raise BlockingIOError
            else:  # the rest of it is on its way
                time.sleep(_MOMENT_S)

    def _whole(self, length: int) -> bytearray:
        """Take a message that is no row, once all of it has come; for a long one this waits."""
        message = bytearray(length)
        short = length < _LONG_BYTES
        if not self._patient and short and self._peek(memoryview(message)) < length:
            raise BlockingIOError
        patient, self._patient = self._patient, True
        self._receive(memoryview(message))
        self._patient = patient
        return message

    def _peek(self, into: memoryview) -> int:
        """Look at what has come, and wait for it; 0 where nothing will come any more."""
        return self._waiting(into, socket.MSG_PEEK)

    def _receive(self, into: memoryview) -> None:
        while into:
            taken = self._waiting(into, 0)
            if not taken:
                self._over = True
                return
            into = into[taken:]

    def _waiting(self, into: memoryview, how: int) -> int:
        while True:
            try:
                return self._socket.recv_into(into, 0, how)
            except BlockingIOError:
                if not self._patient:
                    raise
                self._poll.poll()
            except OSError:  # the connection is lost
                return 0

    def _hear_outcome(self) -> None:
        if not self._ended:
            self._ended = True
            self.close()
            _outcome(self._pgconn)

    def close(self) -> None:
        self._over = True
        self._socket.close()


class _Relayed:
    """Rows as libpq gives them, where the socket carries what only it can read."""

    def __init__(self, pgconn: pq.abc.PGconn, sql: str) -> None:
        self._pgconn = pgconn
        self._text = _text(sql)
        self._skip = _COPY_HEADING
        self._over = False  # there are no more rows
        self._ended = False  # and it is known how that went

    def fileno(self) -> int:
        return self._pgconn.socket

    @property
    def over(self) -> bool:
        return self._ended

    @property
    def ended(self) -> bool:
        return self._ended

    def arrived(self) -> bool:
        return True  # nothing is asked before `headings`

    def headings(self) -> list[Heading]:
        self._over = self._ended = True  # if it fails
        self._pgconn.send_prepare(b"", self._text)
        _outcome(self._pgconn)
        self._pgconn.send_describe_prepared(b"")
        described = _outcome(self._pgconn)
        self._pgconn.send_query(b"COPY (" + self._text + b"\n) TO STDOUT (FORMAT binary)")
        begun = _result(self._pgconn)
        if begun is None or begun.status != pq.ExecStatus.COPY_OUT:
            _outcome(self._pgconn, begun)
        self._over = self._ended = False
        return [
            Heading((described.fname(n) or b"").decode(), described.ftype(n))
            for n in range(described.nfields)
        ]

    def rows(self) -> tuple[NDArray[np.uint8], int] | None:
        parts: list[bytes] = []
        size = 0
        while size < BATCH_BYTES and not self._over:
            length, data = self._pgconn.get_copy_data(1)
            if length < 0:
                self._over = True
            elif not length:
                _hear(self._pgconn)
            else:
                row = bytes(data)[self._skip :]
                self._skip = 0
                if row and row != _COPY_END:
                    parts += [b"D" + (len(row) + 4).to_bytes(4, "big"), row]
                    size += len(row)
        if not parts:
            if not self._ended:
                self._ended = True
                _outcome(self._pgconn)
            return None
        return np.frombuffer(bytearray().join(parts), np.uint8), len(parts) // 2

    def close(self) -> None:
        self._over = True


def _text(sql: str) -> bytes:
    """What is sent; libpq would end it at a NUL."""
    if "\0" in sql:
        raise ValueError("a statement cannot hold a NUL character")
    return sql.encode()


def _headings(body: bytes) -> list[Heading]:
    """The columns that a RowDescription names."""
    headings, at = [], 2
    for _ in range(int.from_bytes(body[:2], "big")):
        end = body.index(b"\0", at)
        oid = int.from_bytes(body[end + 7 : end + 11], "big")
        headings.append(Heading(body[at:end].decode(), oid))
        at = end + 19
    return headings


def _hear(pgconn: pq.abc.PGconn) -> None:
    """Wait for more from PostgreSQL. libpq's own waiting would keep Python's lock."""
    select.select([pgconn.socket], [], [])
    pgconn.consume_input()


def _result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result; None after the last."""
    while pgconn.flush():
        select.select([pgconn.socket], [pgconn.socket], [])
        pgconn.consume_input()
    while pgconn.is_busy():
        _hear(pgconn)
    return pgconn.get_result()


def _outcome(pgconn: pq.abc.PGconn, first: pq.abc.PGresult | None = None) -> pq.abc.PGresult:
    """Hear how the statement ended, after which the connection is idle again; the last result."""
    result, last = first or _result(pgconn), None
    while result is not None:
        last = result if last is None or last.status != pq.ExecStatus.FATAL_ERROR else last
        result = _result(pgconn)
    if last is None:
        raise psycopg.OperationalError("PostgreSQL gave no answer")
    if last.status == pq.ExecStatus.FATAL_ERROR:
        raise error_from_result(last)
    return last
