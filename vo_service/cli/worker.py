"""Run a worker in the foreground until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio

from vo_service.settings import Settings
from vo_service.worker import work

__all__ = ["run_worker"]


def run_worker(settings: Settings, ready: Callable[[], None]) -> None:
    """Work off jobs, and call *ready* at the start; returns when told to stop."""
    anyio.run(_run, settings, ready)


async def _run(settings: Settings, ready: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with work(settings):
            ready()
            async for _ in signals:
                return
