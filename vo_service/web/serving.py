"""One server process: listens, watches its connections, and ends without cutting anybody short.

uvicorn does the work; here it gets our connections (`web.connections`), our certificate
(`web.tls`) and an end in order: told by SIGTERM it takes no more connections, lets what is under
way finish for ``drain_s``, then stops. Ctrl-C is a person who waits: ten seconds at most, none the
second time. SIGHUP reads the certificate again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from vo_service import __version__
from vo_service.services.drain import Drain
from vo_service.settings import Settings
from vo_service.web.connections import Connection, Crowd
from vo_service.web.doors import Door
from vo_service.web.redirect import Redirect
from vo_service.web.tls import Certificate

__all__ = ["Listening", "Server"]

_log = logging.getLogger(__name__)

#: Seconds for answers under way after Ctrl-C; and for the rest, when those have ended.
_CTRL_C_S = 10.0
_CLOSING_S = 5.0

#: Ticks of uvicorn, ten in a second, between looks at connections and at the certificate.
_LOOK, _LOOK_AT_FILES = 10, 100


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets: the one that is served, and the one that leads to it."""

    main: socket.socket
    redirect: socket.socket | None = None

    def close(self) -> None:
        """Give them back."""
        for sock in (self.main, self.redirect):
            if sock is not None:
                sock.close()


class Server(uvicorn.Server):
    """A server of *app*.

    Parameters
    ----------
    settings
        What the operator chose.
    app
        The application.
    drain
        Begun when the server is to end.
    ready
        Called when requests are answered.
    parent
        The process without which this one is to end; None where there is none.
    """

    def __init__(
        self,
        settings: Settings,
        app: ASGIApp,
        drain: Drain,
        ready: Callable[[], None],
        parent: int | None = None,
    ) -> None:
        self._configured = partial(
            uvicorn.Config,
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # `web.edge` finds out what may be believed
            http="httptools",
            ws="none",
            timeout_keep_alive=settings.keep_alive_s,
            server_header=False,
            headers=[("Server", f"vo-service/{__version__}")],
        )
        super().__init__(self._configured(app))
        self._settings = settings
        self._drain = drain
        self._ready = ready
        self._parent = parent
        self._grace_s = settings.drain_s
        self._crowd = Crowd(settings)
        self._certificate = (
            Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
        )

    def serve_on(self, listening: Listening) -> None:
        """Serve until told to stop."""
        self._listening = listening
        self.run()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as wishes, and nothing more."""
        handlers = {
            signal.SIGINT: self.handle_exit,
            signal.SIGTERM: self.handle_exit,
            signal.SIGHUP: self._handle_hangup,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end; a second Ctrl-C hurries it."""
        if sig == signal.SIGINT:
            self._grace_s = min(self._grace_s, _CTRL_C_S)
            if self.should_exit:
                self._drain.hurry()
        super().handle_exit(sig, frame)

    def _handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        if self._certificate is not None:
            asyncio.get_running_loop().call_soon_threadsafe(self._certificate.reload)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, then the doors."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        self.servers = [self._door(self.config, self._listening.main, self._certificate)]  # type: ignore[list-item]  # it does what is wanted of one
        if self._listening.redirect is not None:
            redirect = self._configured(Redirect(self._settings.root_url), lifespan="off")
            redirect.load()
            self.servers.append(self._door(redirect, self._listening.redirect, None))  # type: ignore[arg-type]  # as above
        self.started = True
        if not self.should_exit:
            self._ready()

    def _door(
        self, config: uvicorn.Config, sock: socket.socket, certificate: Certificate | None
    ) -> Door:
        connection = partial(
            Connection,
            self._crowd,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return Door(sock, connection, certificate.context if certificate else None)

    async def on_tick(self, counter: int) -> bool:
        """Look after connections and certificate now and then."""
        if counter % _LOOK == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look()
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True
        if counter % _LOOK_AT_FILES == 0 and self._certificate is not None:
            self._certificate.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is under way finish, as long as that may take."""
        self._drain.begin(self._grace_s)
        self.config.timeout_graceful_shutdown = round(self._grace_s)
        limit_s = self._grace_s + _CLOSING_S
        try:
            async with asyncio.timeout(limit_s):
                await super().shutdown(sockets)
                if self.force_exit:  # a second Ctrl-C: uvicorn would leave the application open
                    await self.lifespan.shutdown()
        except TimeoutError:
            # What still waits is cancelled when the loop is closed.
            _log.error("not everything ended within %g s; it is given up", limit_s)
