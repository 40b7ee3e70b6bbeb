"""The daily run of the release rules, by whichever worker comes first.

The day of the archive begins at ``release_hour`` (UTC). Every worker looks now and then whether
the run of the day has been done (`archive.release_run` tells, a lock keeps others out), so one
that was missed is done as soon as a worker runs again, and none is done twice.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, date, datetime, timedelta

import anyio
import psycopg
from anyio import to_thread

from vo_service.errors import VOError
from vo_service.services.release import release_daily
from vo_service.settings import Settings

__all__ = ["day_of_archive", "run_daily", "set_when_cancelled"]

_log = logging.getLogger(__name__)

_LOOK_S = 60.0


def day_of_archive(now: datetime, release_hour: int) -> date:
    """The day whose run is wanted at *now* (UTC)."""
    return (now - timedelta(hours=release_hour)).date()


async def run_daily(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Do the run of each day, until cancelled; a run under way then ends at its next batch."""
    if settings.release_hour < 0:
        return
    stopped = threading.Event()
    told = ""
    async with anyio.create_task_group() as group:
        group.start_soon(set_when_cancelled, stopped)
        while True:
            try:
                await to_thread.run_sync(_run, settings, stopped)
                told = ""
            except (VOError, psycopg.Error, OSError) as error:
                if str(error) != told:  # once, not every minute while it lasts
                    told = str(error)
                    _log.error("the daily release failed and is tried again: %s", told.strip())
            except Exception:
                _log.exception("defect in the daily release")
            await anyio.sleep(look_s)


async def set_when_cancelled(stopped: threading.Event) -> None:
    """Tell the thread, which cannot be cancelled, that it is time to end."""
    try:
        await anyio.sleep_forever()
    finally:
        stopped.set()


def _run(settings: Settings, stopped: threading.Event) -> None:
    today = day_of_archive(datetime.now(UTC), settings.release_hour)
    done = release_daily(settings, today, stopped=stopped.is_set)
    if done is None:
        return
    _log.info(
        "daily release: %d published, %d closed again, %d planned anew",
        done.count, done.closed, done.planned,
    )  # fmt: skip
