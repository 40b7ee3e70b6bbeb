"""Once a day, and when a worker starts, records are made anew; those that changed are published.

That reads times and wavelengths of all rows, so it is done in a process that gives way to others;
``vo-service registry publish`` does it at once.
"""

from __future__ import annotations

import logging
import threading
from functools import partial

from vo_service.services.background import in_other_process, look_again_and_again
from vo_service.services.registry import publish_records
from vo_service.settings import Settings

__all__ = ["run_registry"]

_log = logging.getLogger(__name__)

_LOOK_S = 86_400.0


async def run_registry(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Publish changed records every day, until cancelled; what is refused is logged."""
    told: set[str] = set()
    await look_again_and_again(partial(_look, settings, told), look_s, "registry records")


def _look(settings: Settings, told: set[str], stopped: threading.Event) -> None:
    done = in_other_process(publish_records, settings, stopped=stopped)
    if done is None:
        return
    for reason in done.refused:
        if reason not in told:
            told.add(reason)
            _log.error("a registry record is not published: %s", reason)
