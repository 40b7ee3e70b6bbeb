"""Connections of one socket are shared out, and nothing of one disturbs the others."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
import time
from collections import Counter
from typing import Any

import pytest

from vo_service.web import doors
from vo_service.web.doors import Door

pytestmark = pytest.mark.anyio


class Greeting(asyncio.Protocol):
    """Says hello and goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


def bound(kind: type[socket.socket] = socket.socket) -> socket.socket:
    sock = kind(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    return sock


async def greeted(address: Any) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_who_comes_is_served_until_the_door_is_closed() -> None:
    sock = bound()
    address = sock.getsockname()
    door = Door(sock, Greeting, None)
    assert await asyncio.gather(*(greeted(address) for _ in range(20))) == [b"hello"] * 20
    door.close()
    door.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    await door.wait_closed()


async def test_of_a_crowd_that_comes_at_once_each_door_takes_a_share() -> None:
    """Each takes a connection, and has 5 ms of work with it before it looks for another."""
    sock = bound()
    taken: Counter[str] = Counter()
    over = threading.Event()

    def connection() -> asyncio.Protocol:
        time.sleep(0.005)
        taken[threading.current_thread().name] += 1
        return Greeting()

    def serve() -> None:
        async def until_over() -> None:
            door = Door(sock.dup(), connection, None)
            await asyncio.to_thread(over.wait)
            door.close()

        asyncio.run(until_over())

    servers = [threading.Thread(target=serve, name=name) for name in ("one", "two")]
    for server in servers:
        server.start()
    await asyncio.sleep(0.2)
    address = sock.getsockname()
    assert await asyncio.gather(*(greeted(address) for _ in range(40))) == [b"hello"] * 40
    over.set()
    for server in servers:
        await asyncio.to_thread(server.join)
    sock.close()
    assert taken["one"] + taken["two"] == 40
    assert min(taken["one"], taken["two"]) >= 5


async def test_a_handshake_that_is_none_ends_that_connection_only() -> None:
    sock = bound()
    address = sock.getsockname()
    door = Door(sock, Greeting, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    for _ in range(2):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1000), 5)
        writer.close()
    door.close()


async def test_a_system_without_sockets_to_give_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Short(socket.socket):
        refused = 0

        def accept(self) -> Any:
            if not self.refused:
                self.refused += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    monkeypatch.setattr(doors, "_PAUSE_S", 0.1)
    sock = bound(Short)
    door = Door(sock, Greeting, None)
    began = time.monotonic()
    assert await greeted(sock.getsockname()) == b"hello"
    assert time.monotonic() - began >= 0.1
    assert "Too many open files" in caplog.text
    door.close()
