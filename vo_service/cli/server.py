"""Serve in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum

from starlette.applications import Starlette

from vo_service.cli.keeper import database_kept_up
from vo_service.errors import ConfigError
from vo_service.services.drain import Drain
from vo_service.settings import Settings
from vo_service.telemetry.logs import set_up_logs
from vo_service.telemetry.tracing import start_tracing
from vo_service.web.app import create_app
from vo_service.web.dataserver import create_data_app
from vo_service.web.serving import Listening, Server
from vo_service.worker import work

__all__ = ["ServedRole", "database_for", "serve"]

_log = logging.getLogger(__name__)

#: Files that a process may have open, if the system lets it: connections, and files on their way.
_FILES = 65_536


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
    return contextlib.nullcontext() if settings.role == "data" else database_kept_up(settings)


def serve(
    settings: Settings,
    listening: Listening,
    ready: Callable[[], None],
    *,
    parent: int | None = None,
) -> None:
    """Serve on *listening* and call *ready* when requests are answered; returns when told to stop.

    *parent* is the process without which this one ends.
    """
    set_up_logs(settings)
    start_tracing(settings)
    _allow_many_files()
    if settings.trusted_proxies and not settings.base_url:
        _log.warning(
            "base_url is not set: answers begin with the address that the proxy tells, but results "
            "of jobs and records of the registry with %s",
            settings.root_url,
        )
    drain = Drain()
    app = _application(settings, drain)
    Server(settings, app, drain, ready, parent).serve_on(listening)


def _application(settings: Settings, drain: Drain) -> Starlette:
    if settings.role == "data":
        return create_data_app(settings)
    beside = [lambda: work(settings, drain)] if settings.worker_in_serve else []
    return create_app(settings, beside, drain)


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
