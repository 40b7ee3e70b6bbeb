"""Connections that waste no place: those that send or read too slowly are closed.

A client that sends a header, a body or nothing at all byte by byte, or reads an answer so, holds
a place that another could have. uvicorn waits for such clients for ever; this protocol, which is
uvicorn's own otherwise, is looked at once a second (`Connection.look`) and ends what takes too
long: a head after ``header_limit_s``, a body and an answer that move slower than `SLOW_BYTES_S`
over ``stalled_s``. A connection beyond ``client_connections`` or ``connections_limit`` is answered
429 and closed. Source: RFC 9110, "408 Request Timeout"; RFC 6585, "431".
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vo_service.errors import TooManyError
from vo_service.model.visitor import network_of
from vo_service.settings import Settings
from vo_service.web.limits import REFUSED
from vo_service.web.proxies import Proxies

__all__ = ["SLOW_BYTES_S", "Connection", "Crowd"]

#: Bytes per second: less, and a client is held to be no program that wants an answer.
SLOW_BYTES_S = 1000

#: Bytes of the request line and all headers.
_HEAD_LIMIT = 256 * 1024

_AGAIN_S = 10


class Crowd:
    """All connections of a process, counted by where they come from.

    Proxies that are trusted are not counted by address: everybody comes from there.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._proxies = Proxies(settings)
        self._from: Counter[str] = Counter()

    def enter(self, address: str) -> TooManyError | None:
        """Count a connection; says what is wrong with it."""
        self._from[network_of(address)] += 1
        if self._from.total() > self.settings.connections_limit:
            return TooManyError("this service has as many connections as it can", _AGAIN_S)
        limit = self.settings.client_connections
        if self._from[network_of(address)] > limit and not self._proxies.trust(address):
            return TooManyError(f"you have more than {limit} connections to this service", _AGAIN_S)
        return None

    def leave(self, address: str) -> None:
        """Count no more."""
        key = network_of(address)
        self._from[key] -= 1
        if not self._from[key]:
            del self._from[key]


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, crowd: Crowd, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._crowd = crowd
        self._limits = crowd.settings
        self._refused: TooManyError | None = None
        self._head_bytes = 0
        # Since when we wait for a head; None while there is no need for one.
        self._head_since: float | None = None
        # Since when, and with how many bytes done by then, a body comes or an answer leaves.
        self._body: tuple[float, int] | None = None
        self._received = 0
        self._answer: tuple[float, int] | None = None
        self._closing_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Count it, and wait for a head."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._refused = self._crowd.enter(self._address)
        self._head_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._crowd.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head has an end, and a time."""
        if self._head_since is None and self._is_idle():
            self._head_since = self.loop.time()
        if self._head_bytes > _HEAD_LIMIT:
            self._end(b"431 Request Header Fields Too Large", b"the headers are too long\n")
            return
        if self._head_since is not None:
            self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin the request; one on a connection too many is told so where it is answered."""
        self._head_since, self._head_bytes = None, 0
        self._received = 0
        self._body = self.loop.time(), 0
        if self._refused is not None:
            self.scope[REFUSED] = self._refused  # type: ignore[literal-required]  # a key of ours
        super().on_headers_complete()
        if self._refused is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count what comes."""
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for no more of it."""
        self._body = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to watch how fast the client reads."""
        self._answer = self.loop.time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads well enough."""
        self._answer = None
        super().resume_writing()

    def look(self) -> None:
        """End the connection if its client is too slow."""
        now, stalled_s = self.loop.time(), self._limits.stalled_s
        if self.transport.is_closing():
            # What is left is not being read: closing would wait for that, too.
            self._closing_since = self._closing_since or now
            if now - self._closing_since > stalled_s:
                self.transport.abort()
        elif self._head_since is not None and now - self._head_since > self._limits.header_limit_s:
            self._end(b"408 Request Timeout", b"the request did not come in time\n")
        elif self._answer is not None and now - self._answer[0] > stalled_s:
            left = self.transport.get_write_buffer_size()
            if self._answer[1] - left < SLOW_BYTES_S * stalled_s:
                self.transport.abort()
            self._answer = now, left
        elif self._body is not None and now - self._body[0] > stalled_s:
            # With reading paused the client waits for us.
            slow = self._received - self._body[1] < SLOW_BYTES_S * stalled_s
            if slow and not self.flow.read_paused:
                self._end(b"408 Request Timeout", b"the request did not come in time\n")
            self._body = now, self._received

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end(self, status: bytes, said: bytes) -> None:
        """Say what is wrong, where no answer has begun, and close."""
        if self._is_idle() or not self.cycle.response_started:
            head = b"HTTP/1.1 %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
            self.transport.write(head % (status, len(said)) + b"connection: close\r\n\r\n" + said)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
