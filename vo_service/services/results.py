"""Results of jobs on disk: written beside their place, put there when they are whole.

A job has any number of results, each a file with the name of the result; some services have
results that are no files (a tar archive that is made while it is sent). Sizes are bytes.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from vo_service.errors import UsageError
from vo_service.model.job import RESULT, Job, Result
from vo_service.settings import Settings

__all__ = ["Drafts", "Progress", "part_file", "remove_unfinished", "result_file"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Rows and bytes of a result that are written."""

    rows: int = 0
    size: int = 0


def result_file(settings: Settings, job_id: str, name: str = RESULT) -> Path:
    """Where a result of a job lies."""
    return settings.jobs / job_id / (name if name == RESULT else f"{RESULT}-{name}")


def part_file(settings: Settings, job_id: str, part: int) -> Path:
    """Where the content of an inline part lies."""
    return settings.jobs / job_id / f"part-{part}"


def remove_unfinished(settings: Settings, job_id: str, *, completed: bool = False) -> None:
    """Remove what workers that died had written of the results of a job.

    One that lives and lost the job may still write: it goes on with a file without a name.
    A worker may also die after its draft became the result, and before it could say so; the
    results of a job that is not *completed* go as well.
    """
    place = settings.jobs / job_id
    try:
        for name in ("draft-*",) if completed else ("draft-*", f"{RESULT}*"):
            for file in place.glob(name):
                file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("job %s...: what a worker left cannot be removed now: %s", job_id[:6], error)


class Drafts:
    """Results that a worker is writing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A worker that does not know yet that it lost a job may still be writing its draft
        # when the next one begins: each has names of its own.
        self._name = secrets.token_hex(8)

    def file(self, job: Job, name: str = RESULT) -> Path:
        """Where a result is written before it is whole."""
        place = result_file(self._settings, job.job_id, name)
        return place.with_name(f"draft-{self._name}-{name}")

    async def write(
        self, job: Job, content: AsyncIterator[bytes], progress: Progress, name: str = RESULT
    ) -> None:
        """Write a result and have it survive a loss of power.

        Raises
        ------
        UsageError
            If the results of the job get larger than ``result_limit``.
        """
        limit = self._settings.result_limit
        path = self.file(job, name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("wb") as file:
            async for chunk in content:
                await to_thread.run_sync(file.write, chunk)
                progress.size += len(chunk)
                if progress.size > limit:
                    raise UsageError(f"the result is larger than {limit} bytes; ask for less")
            file.flush()
            await to_thread.run_sync(os.fsync, file.fileno())

    def publish(self, job: Job, results: Iterable[Result]) -> None:
        """Put those of the results that are files in their places, each whole or not at all."""
        for result in results:
            draft = self.file(job, result.name)
            if draft.exists():
                os.replace(draft, result_file(self._settings, job.job_id, result.name))
        place = self._settings.jobs / job.job_id
        if place.is_dir():
            _sync_directory(place)
        remove_unfinished(self._settings, job.job_id, completed=True)

    def discard(self, job: Job) -> None:
        """Remove what was written so far."""
        place = self._settings.jobs / job.job_id
        for draft in place.glob(f"draft-{self._name}-*"):
            draft.unlink(missing_ok=True)

    async def clear(self, job_id: str) -> None:
        """Remove what workers that died had written of a result."""
        await to_thread.run_sync(remove_unfinished, self._settings, job_id)


def _sync_directory(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
