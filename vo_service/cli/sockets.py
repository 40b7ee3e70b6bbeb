"""Sockets to serve on: bound here, or given by systemd or by the process that started this one.

A socket that somebody else holds open loses no connection while the server behind it is started
again: they wait in its queue. Source: sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from vo_service.errors import ConfigError
from vo_service.settings import Settings
from vo_service.web.serving import Listening

__all__ = ["listen", "on_port"]

_FIRST_OF_SYSTEMD = 3


def listen(settings: Settings, fds: list[int] | None = None) -> Listening:
    """The sockets to serve on, bound first so that a taken port is found before any work.

    Parameters
    ----------
    settings
        With ``host`` (one with a slash is the path of a Unix socket), ``port``, ``redirect_port``.
    fds
        Sockets that are open already: the one to serve on, then that of the redirect. Without,
        those of systemd, if there are.

    Raises
    ------
    ConfigError
        If a port is taken, the address is not this machine's, or what was given is no socket.
    """
    given = [_inherited(fd) for fd in fds or _fds_of_systemd()]
    main = given[0] if given else _bind(settings.host, settings.port, "--port or VO_PORT")
    if settings.redirect_port is None:
        return Listening(main)
    if len(given) > 1:
        return Listening(main, given[1])
    choice = "--redirect-port or VO_REDIRECT_PORT"
    return Listening(main, _bind(settings.host, settings.redirect_port, choice))


def on_port(settings: Settings, listening: Listening) -> Settings:
    """The settings with the port that is really served (0 asks for any that is free)."""
    name = listening.main.getsockname()
    return settings.model_copy(update={"port": name[1]}) if isinstance(name, tuple) else settings


def _fds_of_systemd() -> list[int]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return list(range(_FIRST_OF_SYSTEMD, _FIRST_OF_SYSTEMD + count))


def _inherited(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        if sock.type != socket.SOCK_STREAM:
            raise ConfigError(f"file descriptor {fd}: expected a stream socket")
    except OSError as error:
        raise ConfigError(f"file descriptor {fd} is no socket: {error.strerror}") from error
    os.set_inheritable(fd, False)
    return sock


def _bind(host: str, port: int, choice: str) -> socket.socket:
    if "/" in host:
        return _bind_path(Path(host))
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol is named: asyncio turns Nagle's algorithm off only for sockets that say TCP.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        return sock
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}; "
            f"choose another port with {choice}"
        ) from error


def _bind_path(path: Path) -> socket.socket:
    """A Unix socket; one that nobody listens on any more is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _is_answered(path):
            path.unlink()
        sock.bind(str(path))
        path.chmod(0o660)
    except OSError as error:
        raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
