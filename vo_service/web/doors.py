"""A listening socket whose connections are taken one at a time.

Several processes may listen on one socket. asyncio takes all connections that wait there at once,
so that of a crowd that comes together one process would get everybody, and the others nothing to
do for as long as these connections are kept. Here each process takes one, and looks again when it
has nothing more urgent to do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

__all__ = ["Door"]

_log = logging.getLogger(__name__)

#: Connections that may wait to be taken.
_BACKLOG = 2048
_HANDSHAKE_S = 10.0

#: How long no more are taken where the system has no more sockets or memory to give.
_PAUSE_S = 1.0


class Door:
    """Serves connections of a socket from now on.

    Parameters
    ----------
    sock
        Bound; closed by `close`.
    connection
        Makes the protocol of one.
    context
        Of HTTPS; None for HTTP.
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._connection = connection
        self._context = context
        self._begun: set[asyncio.Task[None]] = set()
        self._open = True
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._watch()

    def close(self) -> None:
        """Take no more; those that were taken go on."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def wait_closed(self) -> None:
        """Nothing: who was taken is waited for by the server."""

    def _watch(self) -> None:
        if self._open:
            self._loop.add_reader(self._socket, self._take)

    def _take(self) -> None:
        try:
            taken, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was quicker, or the client has left
        except OSError as error:
            _log.error("no connections are taken for %g s: %s", _PAUSE_S, error)
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_PAUSE_S, self._watch)
            return
        task = self._loop.create_task(self._begin(taken))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _begin(self, taken: socket.socket) -> None:
        taken.setblocking(False)
        if taken.family != socket.AF_UNIX:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit_s = None if self._context is None else _HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                self._connection, taken, ssl=self._context, ssl_handshake_timeout=limit_s
            )
        except (OSError, TimeoutError):  # it left, or its handshake was none
            taken.close()
