"""What a worker does with jobs: take one, write its result, say how it ended.

The rights to a job are those of one database session (`vo_service.db.queue`): a worker that
lost its session can end nothing, and its jobs are somebody else's to run again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import anyio
import psycopg
import pyarrow as pa
from anyio import to_thread

from vo_service.db.connect import Role, conninfo
from vo_service.db.queue import Lost, Queue
from vo_service.errors import VOError
from vo_service.formats.output import output_format
from vo_service.model.job import Failure, Job, Lane, Result
from vo_service.model.table import Rows
from vo_service.model.visitor import Visitor
from vo_service.params.tap import parse_tap_query
from vo_service.services.datalink import links_descriptors
from vo_service.services.origin import query_origin
from vo_service.services.results import Drafts, Progress
from vo_service.services.tap import TapService
from vo_service.services.uploads import inline_parts
from vo_service.settings import Settings

__all__ = ["QueryRunner", "Runner", "WorkQueue", "open_queue", "remove_orphans"]

_log = logging.getLogger(__name__)

#: A statement about a job is small; a session that does not answer for so long is lost.
_ANSWER_S = 15.0

#: Directories without a job are left alone while they may belong to one that is being made.
_ORPHAN_S = 3600


class Runner(Protocol):
    """Does the jobs of a service."""

    async def run(self, job: Job, progress: Progress) -> Sequence[Result]:
        """Do a job: its results in their order, those that are files written as drafts.

        Raises
        ------
        VOError
            For whatever is wrong with it.
        """


@contextlib.asynccontextmanager
async def open_queue(
    settings: Settings, services: Collection[str] = ("tap",)
) -> AsyncIterator[WorkQueue]:
    """The queue of jobs of some services, for as long as one session of its own lasts."""
    connection = await psycopg.AsyncConnection.connect(
        conninfo(settings, Role.JOBS), autocommit=True
    )
    try:
        yield WorkQueue(connection, settings.job_attempts, services)
    finally:
        with anyio.CancelScope(shield=True):  # the locks must go with us, however we go
            await connection.close()


class WorkQueue:
    """Jobs that this worker has and may have; all through one session, one call at a time."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        attempts: int,
        services: Collection[str] = ("tap",),
    ) -> None:
        self._connection = connection
        self._services = list(services)
        self._attempts = attempts
        self._lock = anyio.Lock()
        self._mine: set[int] = set()

    async def claim(self, lane: Lane) -> Job | None:
        """The next job of a lane; EXECUTING from now on, and this worker's."""
        async with self._turn() as queue:
            job = await queue.claim(lane, self._services)
        if job is not None:
            self._mine.add(job.number)
        return job

    async def complete(
        self,
        job: Job,
        results: Sequence[Result],
        progress: Progress,
        publish: Callable[[], None],
    ) -> bool:
        """End a job as COMPLETED; *publish* puts results in their places before.

        False, and *publish* is not called, if the job was aborted or destroyed meanwhile.
        """
        async with self._turn(job) as queue:
            ours = await queue.complete(job.number, results, progress.rows, progress.size)
            if ours:
                publish()
        return ours

    async def fail(self, job: Job, failure: Failure) -> None:
        """End a job as ERROR."""
        async with self._turn(job) as queue:
            await queue.fail(job.number, failure)

    async def abort(self, job: Job, reason: str) -> None:
        """End a job as ABORTED, by the service."""
        async with self._turn(job) as queue:
            await queue.abort(job.number, reason)

    async def give_back(self, job: Job, lane: Lane | None = None) -> None:
        """Queue a job again through no fault of its own; the attempt does not count."""
        async with self._turn(job) as queue:
            await queue.give_back(job.number, lane=lane or _lane(job), count=False)

    async def retry(self, job: Job, failure: Failure) -> None:
        """Queue a job again after a passing fault, or end it as ERROR if that was the last try."""
        async with self._turn(job) as queue:
            if job.attempts < self._attempts:
                await queue.give_back(job.number, lane=_lane(job), count=True)
            else:
                await queue.fail(job.number, failure)

    async def release(self, job: Job) -> None:
        """Let go of a job that others have ended."""
        async with self._turn(job):
            pass

    async def recover(self) -> Sequence[Lost]:
        """Jobs of workers that died, queued again or ended."""
        async with self._turn() as queue:
            return await queue.recover(self._mine, self._attempts)

    async def note_progress(self, progress: Mapping[int, Progress]) -> Mapping[int, int]:
        """Write progress down; the execution durations of the jobs that still run, in seconds."""
        async with self._turn() as queue:
            await queue.note_progress((n, p.rows, p.size) for n, p in progress.items())
            return await queue.durations(list(progress))

    async def expire(self, archive_s: int) -> Sequence[str]:
        """Archive jobs whose time is over; identifiers of those whose files may go."""
        async with self._turn() as queue:
            return await queue.expire(archive_s)

    async def known(self, job_ids: Sequence[str]) -> set[str]:
        """Those of the identifiers whose jobs may have files."""
        async with self._turn() as queue:
            return await queue.known(job_ids)

    @contextlib.asynccontextmanager
    async def _turn(self, ending: Job | None = None) -> AsyncIterator[Queue]:
        """A transaction, not to be interrupted; with *ending*, this job is let go in it."""
        with anyio.fail_after(_ANSWER_S, shield=True):
            async with self._lock, self._connection.transaction():
                queue = Queue(self._connection)
                yield queue
                if ending is not None:
                    await queue.unlock(ending.number)
            if ending is not None:
                self._mine.discard(ending.number)


def _lane(job: Job) -> Lane:
    return job.lane or Lane.LONG


class QueryRunner:
    """Runs TAP queries into files, written as the answers of ``/sync`` are."""

    def __init__(self, settings: Settings, service: TapService, drafts: Drafts) -> None:
        self._settings = settings
        self._service = service
        self._drafts = drafts

    async def run(self, job: Job, progress: Progress) -> Sequence[Result]:
        """Write the result of a job.

        Raises
        ------
        VOError
            For whatever is wrong with the query or its parameters, also if it shows late.
        """
        settings = self._settings
        wanted = parse_tap_query(
            job.pairs,
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
            query_length=settings.query_length_limit,
            uploads_limit=settings.uploads_limit,
        )
        written, media_type = output_format(wanted.response_format)
        parts = await to_thread.run_sync(inline_parts, settings, job, wanted.uploads)
        rows = await self._service.query(wanted, parts, Visitor(name=job.owner))
        try:
            watched = _Watched(rows, progress)
            services = links_descriptors(settings, rows.fields)
            content = written.write(watched.rows, query_origin(settings, wanted), services)
            await self._drafts.write(job, content, progress)
        finally:
            with anyio.CancelScope(shield=True):
                await rows.aclose()
        if watched.failure is not None:
            raise watched.failure
        return [Result(media_type, progress.size, written.suffix)]


class _Watched:
    """Rows that count themselves and keep the error that writers only tell in their document."""

    def __init__(self, rows: Rows, progress: Progress) -> None:
        self.failure: VOError | None = None
        self.rows = rows
        self._source = rows.source
        self._progress = progress
        rows.source = self._batches()

    async def _batches(self) -> AsyncIterator[pa.RecordBatch]:
        try:
            async for batch in self._source:
                yield batch
                self._progress.rows += batch.num_rows
        except VOError as error:
            self.failure = error
            raise


async def remove_orphans(settings: Settings, queue: WorkQueue, expired: Iterable[str]) -> None:
    """Remove files of expired jobs, and old directories that no job claims."""
    gone = set(expired)
    old = await to_thread.run_sync(_old_directories, settings.jobs)
    gone |= set(old) - await queue.known(old)
    for job_id in gone:
        await to_thread.run_sync(_remove, settings.jobs / job_id)


def _old_directories(jobs: Path) -> list[str]:
    if not jobs.is_dir():
        return []
    before = time.time() - _ORPHAN_S
    old = []
    with os.scandir(jobs) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    old.append(entry.name)
    return old


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
