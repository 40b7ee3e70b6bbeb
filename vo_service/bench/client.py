"""A client that costs little, so that the server is what is measured: HTTP/1.1 over sockets.

It knows what our own server sends, and no more. Times are seconds.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlencode

__all__ = ["Answer", "Server", "Session"]

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

    async def session(self) -> Session:
        """A connection that is kept."""
        return Session(self.host, *await asyncio.open_connection(self.host, self.port))


class Session:
    """Requests one after the other on one connection."""

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and content."""
        self._writer.write(_request(self._host, path, b"", "", close=False))
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            parts = []
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                parts.append(await self._reader.readexactly(size))
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            return status, b"".join(parts)
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        return status, await self._reader.readexactly(length)

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        await self._writer.wait_closed()


def sync_path(query: str, maxrec: int, response_format: str = "votable") -> str:
    """The address of a synchronous query."""
    pairs = {
        "LANG": "ADQL", "QUERY": query, "MAXREC": maxrec, "RESPONSEFORMAT": response_format,
    }  # fmt: skip
    return f"/tap/sync?{urlencode(pairs)}"


def _request(host: str, path: str, body: bytes, content_type: str, *, close: bool) -> bytes:
    head = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}"]
    if close:
        head.append("Connection: close")
    if body:
        head += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body
