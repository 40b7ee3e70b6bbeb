"""``vo-service worker``: work off jobs in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
import typer
from rich.console import Console

from vo_service.cli.context import settings_of, stopping_on_sigterm
from vo_service.cli.keeper import database_kept_up
from vo_service.services.slow import noting_slow
from vo_service.settings import Settings
from vo_service.telemetry.logs import set_up_logs
from vo_service.telemetry.tracing import start_tracing
from vo_service.web.operator import operator_port
from vo_service.worker import work

__all__ = ["worker_command"]

_out = Console(highlight=False)


def worker_command(context: typer.Context) -> None:
    """Work off asynchronous jobs in the foreground until Ctrl-C; any number may run."""
    settings = settings_of(context)
    with stopping_on_sigterm(), database_kept_up(settings):
        _run_worker(settings, lambda: _out.print("ready: waiting for jobs"))


def _run_worker(settings: Settings, ready: Callable[[], None]) -> None:
    """Work off jobs, and call *ready* at the start; returns when told to stop."""
    set_up_logs(settings)
    start_tracing(settings)
    anyio.run(_run, settings, ready)


async def _run(settings: Settings, ready: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with work(settings), noting_slow(settings), operator_port(settings):
            ready()
            async for _ in signals:
                return
