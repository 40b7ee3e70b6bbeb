"""What a worker looks at beside its jobs: free space on disks, and logs that are kept for a time.

Any number of workers may do so at once: an alarm is sent once for all (`services.alarm`), and
counting and purging downloads again changes nothing.
"""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, date, datetime

import anyio
import psycopg
from anyio import to_thread

from vo_service.services.alarm import AlarmKind, raise_alarm
from vo_service.services.downloads import tidy_downloads
from vo_service.services.health import file_systems
from vo_service.services.slow import forget_slow
from vo_service.settings import Settings

__all__ = ["look_at_disks", "watch"]

_log = logging.getLogger(__name__)

_LOOK_S = 300.0


async def watch(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Look every *look_s* seconds, until cancelled; the log is tidied when a day has begun."""
    tidied: date | None = None
    while True:
        now = datetime.now(UTC)
        try:
            await to_thread.run_sync(look_at_disks, settings, abandon_on_cancel=True)
            if tidied != now.date():
                gone = await to_thread.run_sync(tidy_downloads, settings, now)
                await to_thread.run_sync(forget_slow, settings)
                tidied = now.date()
                _log.info("downloads: counted; %d old rows deleted", gone)
        except psycopg.Error as error:
            _log.warning("downloads cannot be counted now: %s", str(error).strip())
        except Exception:  # a worker has more to do than to watch
            _log.exception("defect in the watch")
        await anyio.sleep(look_s)


def look_at_disks(settings: Settings) -> None:
    """Raise an alarm for each file system of ours that has less free than ``disk_free_share``."""
    for place in file_systems(settings):
        usage = shutil.disk_usage(place)
        if usage.free < settings.disk_free_share * usage.total:
            raise_alarm(
                settings,
                AlarmKind.DISK,
                f"the disk of {place} is filling up: {usage.free / 1e9:.1f} GB of "
                f"{usage.total / 1e9:.1f} GB are free, less than "
                f"{settings.disk_free_share:.0%} (disk_free_share)",
            )
