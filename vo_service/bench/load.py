"""Many clients at once, made by one thread that hardly works: sockets, and requests made before.

An answer is looked at no further than its status and its end, so that little of the machine's
time is the client's; `Load` tells how much was whose. It knows what our own server sends
(``Content-Length``, or chunks with the last one empty), and no more. Times are seconds.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vo_service.bench.client import Server, get_request

__all__ = ["Load", "load"]

_BUFFER = 1 << 18
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What a crowd was answered, and seconds of CPU: the server's, the client's, all others'."""

    answers: int
    seconds: float
    server_s: float
    client_s: float
    others_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def split(self) -> str:
        """Milliseconds of CPU for each answer."""
        parts = {"server": self.server_s, "client": self.client_s, "PostgreSQL": self.others_s}
        each = (f"{name} {1000 * used / self.answers:.2f}" for name, used in parts.items())
        return f"ms of CPU: {', '.join(each)}"


def load(
    server: Server,
    process: int,
    paths: Iterator[str],
    *,
    status: int = 200,
    clients: int,
    seconds: float,
) -> Load:
    """Have *clients* ask for one path after the other, each again as soon as it is answered.

    Parameters
    ----------
    server, process
        Where it listens, and the number of its process, whose children count as it does.
    paths
        What to ask for, without end.
    status
        What is to be answered.
    clients, seconds
        How many ask, and for how long they begin to ask again.

    Raises
    ------
    RuntimeError
        If something else is answered.
    """
    expected = b"HTTP/1.1 %d " % status
    request = (get_request(server.host, path) for path in paths)
    with selectors.DefaultSelector() as selector:
        sockets = [socket.create_connection((server.host, server.port)) for _ in range(clients)]
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ, bytearray())
        before = _used(process), time.process_time(), _busy()
        began = time.perf_counter()
        until = began + seconds
        for sock in sockets:
            sock.sendall(next(request))
        answers, waiting = 0, clients
        while waiting:
            for key, _ in selector.select():
                content = key.data
                content += _received(key.fileobj)
                if not _is_whole(content):
                    continue
                if not content.startswith(expected):
                    raise RuntimeError(content.decode("utf-8", "replace"))
                answers += 1
                content.clear()
                if time.perf_counter() < until:
                    key.fileobj.sendall(next(request))  # type: ignore[union-attr]  # a socket, as registered
                else:
                    waiting -= 1
        took = time.perf_counter() - began
        used, ours, busy = _used(process), time.process_time(), _busy()
        for sock in sockets:
            sock.close()
    server_s, client_s = used - before[0], ours - before[1]
    others_s = max(0.0, busy - before[2] - server_s - client_s)
    return Load(answers, took, server_s, client_s, others_s)


def _received(sock: object) -> bytes:
    assert isinstance(sock, socket.socket)  # noqa: S101 - what was registered
    part = sock.recv(_BUFFER)
    if not part:
        raise RuntimeError("the server closed a connection")
    return part


def _is_whole(content: bytearray) -> bool:
    if content.endswith(b"\r\n0\r\n\r\n"):
        return True
    end = content.find(b"\r\n\r\n")
    _, said, length = content[: max(end, 0)].lower().partition(b"\r\ncontent-length:")
    return bool(said) and len(content) == end + 4 + int(length.partition(b"\r\n")[0])


def _used(process: int) -> float:
    """Seconds of CPU of a process and of its children that live."""
    used = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = stat.read_text("utf-8", "replace").partition(" ")
        except OSError:  # it has ended
            continue
        fields = rest.rpartition(")")[2].split()
        if process in (int(number), int(fields[1])):
            used += (int(fields[11]) + int(fields[12])) * _TICK_S
    return used


def _busy() -> float:
    """Seconds in which a processor of this machine worked, since it was started."""
    user, nice, system, _, _, irq, softirq = map(
        int, Path("/proc/stat").read_text("ascii").split(None, 9)[1:8]
    )
    return (user + nice + system + irq + softirq) * _TICK_S
