"""A client that costs little, so that the server is what is measured: HTTP/1.1 over sockets.

It knows what our own server sends, and no more. Times are seconds.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from urllib.parse import urlencode

__all__ = ["Answer", "Server", "Session", "get_request", "sync_path"]

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """How an answer came: the time to its first byte, to its last, and its size in bytes."""

    first_s: float
    whole_s: float
    size: int


@dataclass(frozen=True, slots=True)
class Server:
    """Where the service listens."""

    host: str
    port: int

    def fetch(self, path: str, body: bytes = b"", content_type: str = "") -> Answer:
        """Read one whole answer, keeping nothing of it.

        Raises
        ------
        RuntimeError
            If it is not one of success.
        """
        request = _request(self.host, path, body, content_type, close=True)
        buffer = bytearray(_BUFFER)
        with socket.create_connection((self.host, self.port)) as connection:
            started = time.perf_counter()
            connection.sendall(request)
            size = connection.recv_into(buffer)
            first = time.perf_counter() - started
            if not buffer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(bytes(buffer[:size]).decode("utf-8", "replace"))
            while received := connection.recv_into(buffer):
                size += received
        return Answer(first, time.perf_counter() - started, size)

    def session(self) -> Session:
        """A connection that is kept."""
        return Session(self.host, socket.create_connection((self.host, self.port)))


class Session:
    """Requests one after the other on one connection."""

    def __init__(self, host: str, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = host
        self._connection = connection
        self._stream = connection.makefile("rb", buffering=_BUFFER)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and content."""
        self._connection.sendall(get_request(self._host, path))
        status = int(self._stream.readline()[9:12])
        headers = dict(iter(self._header, ("", "")))
        if headers.get("transfer-encoding") != "chunked":
            return status, self._stream.read(int(headers["content-length"]))
        parts = []
        while size := int(self._stream.readline(), 16):
            parts.append(self._stream.read(size))
            self._stream.readline()
        self._stream.readline()
        return status, b"".join(parts)

    def _header(self) -> tuple[str, str]:
        """The next one, in lower case; empty after the last."""
        name, _, value = self._stream.readline().decode("latin-1").lower().partition(":")
        return name.strip(), value.strip()

    def close(self) -> None:
        """Leave."""
        self._stream.close()
        self._connection.close()


def sync_path(query: str, maxrec: int, response_format: str = "votable") -> str:
    """The address of a synchronous query."""
    pairs = {
        "LANG": "ADQL", "QUERY": query, "MAXREC": maxrec, "RESPONSEFORMAT": response_format,
    }  # fmt: skip
    return f"/tap/sync?{urlencode(pairs)}"


def get_request(host: str, path: str) -> bytes:
    """A GET on a connection that is kept."""
    return _request(host, path, b"", "", close=False)


def _request(host: str, path: str, body: bytes, content_type: str, *, close: bool) -> bytes:
    head = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}"]
    if close:
        head.append("Connection: close")
    if body:
        head += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body
