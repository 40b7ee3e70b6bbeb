"""``vo-service worker``: work off jobs in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import anyio
import typer
from rich.console import Console

from vo_service.cli.context import settings_of, stopping_on_sigterm
from vo_service.cli.keeper import database_kept_up
from vo_service.services.drain import Drain
from vo_service.services.slow import noting_slow
from vo_service.settings import Settings
from vo_service.telemetry.logs import set_up_logs
from vo_service.telemetry.tracing import start_tracing
from vo_service.web.operator import operator_port
from vo_service.worker import work

__all__ = ["worker_command"]

_out = Console(highlight=False)

#: Seconds for jobs under way after Ctrl-C.
_CTRL_C_S = 10.0


def worker_command(context: typer.Context) -> None:
    """Work off asynchronous jobs in the foreground until Ctrl-C; any number may run.

    SIGTERM: short jobs under way finish first (drain_s), others are given back to the queue.
    """
    settings = settings_of(context)
    with stopping_on_sigterm(), database_kept_up(settings):
        _run_worker(settings, lambda: _out.print("ready: waiting for jobs"))


def _run_worker(settings: Settings, ready: Callable[[], None]) -> None:
    """Work off jobs, and call *ready* at the start; returns when told to stop."""
    set_up_logs(settings)
    start_tracing(settings)
    anyio.run(_run, settings, ready)


async def _run(settings: Settings, ready: Callable[[], None]) -> None:
    drain = Drain()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            async with (
                noting_slow(settings), operator_port(settings, drain), work(settings, drain)
            ):  # fmt: skip
                ready()
                first = await anext(signals)
                drain.begin(
                    settings.drain_s if first == signal.SIGTERM
                    else min(settings.drain_s, _CTRL_C_S)
                )  # fmt: skip
                group.start_soon(_hurry, signals, drain)
            group.cancel_scope.cancel()


async def _hurry(signals: AsyncIterator[signal.Signals], drain: Drain) -> None:
    """Ctrl-C again: a person who does not want to wait."""
    async for again in signals:
        if again == signal.SIGINT:
            drain.hurry()
