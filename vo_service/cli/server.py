"""Serve in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum

import uvicorn
from starlette.applications import Starlette

from vo_service import __version__
from vo_service.cli.context import database
from vo_service.errors import ConfigError
from vo_service.settings import Settings
from vo_service.web.app import create_app
from vo_service.web.dataserver import create_data_app
from vo_service.worker import work

__all__ = ["ServedRole", "database_for", "listen", "on_port", "serve"]

_log = logging.getLogger(__name__)

#: Seconds for answers under way, and until everything must have ended.
_GRACE_S = 10
_STOP_LIMIT_S = 15


class _Server(uvicorn.Server):
    """uvicorn, which also says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as the wish to stop, and nothing more."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            async with asyncio.timeout(_STOP_LIMIT_S):
                await super().shutdown(sockets)
                if self.force_exit:  # a second Ctrl-C: uvicorn would leave the application open
                    await self.lifespan.shutdown()
        except TimeoutError:
            # What still waits is cancelled when the loop is closed.
            _log.error("not everything ended within %s s; it is given up", _STOP_LIMIT_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


class ServedRole(StrEnum):
    """What a server does: everything, everything but files, files alone."""

    ALL = "all"
    API = "api"
    DATA = "data"


def database_for(settings: Settings) -> AbstractContextManager[None]:
    """The database for as long as a server needs it; a data server has none of its own.

    Raises
    ------
    ConfigError
        If the role wants a setting that is not there.
    """
    if settings.role == "api" and not settings.data_url:
        raise ConfigError("data_url: role api needs the address of the server that delivers files")
    return contextlib.nullcontext() if settings.role == "data" else database(settings)


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on, bound first so that a taken port is found before any work.

    Raises
    ------
    ConfigError
        If the port is taken or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        # The protocol is named: asyncio turns Nagle's algorithm off only for sockets that say TCP.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        return sock
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}; "
            "choose another port with --port or VO_PORT"
        ) from error


def on_port(settings: Settings, sock: socket.socket) -> Settings:
    """The settings with the port that *sock* really has (0 asks for any that is free)."""
    return settings.model_copy(update={"port": sock.getsockname()[1]})


def serve(settings: Settings, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve on *sock* and call *ready* when requests are answered; returns when told to stop."""
    config = uvicorn.Config(
        _application(settings),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
        headers=[("Server", f"vo-service/{__version__}")],
    )
    _Server(config, ready).run(sockets=[sock])


def _application(settings: Settings) -> Starlette:
    if settings.role == "data":
        # Its log of downloads is lines on standard error where it has no database.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
        logging.getLogger("vo_service").setLevel(logging.INFO)
        return create_data_app(settings)
    return create_app(settings, [lambda: work(settings)] if settings.worker_in_serve else [])
