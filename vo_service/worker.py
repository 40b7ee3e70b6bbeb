"""The worker: runs queued jobs, several at once, in two lanes.

Runs inside ``serve`` or as ``vo-service worker``; any number may run on one archive. It is
woken by the database when a job is queued, aborted or destroyed. Stopped, it gives its jobs
back; killed, its session ends and other workers (or itself, started again) take them over.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import psycopg
from anyio.abc import TaskGroup

from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.notices import Notices
from vo_service.db.stream import Reader
from vo_service.errors import TransientError, VOError
from vo_service.model.job import Failure, Job, Lane, Phase
from vo_service.services.catalog import CatalogCache
from vo_service.services.tap import TapService
from vo_service.services.uploads import UploadService
from vo_service.services.work import (
    Progress,
    QueryRunner,
    WorkQueue,
    open_queue,
    remove_orphans,
)
from vo_service.settings import Settings

__all__ = ["Worker", "work"]

_log = logging.getLogger(__name__)

#: Between looks at what no notice tells: workers that died, durations, progress.
_TICK_S = 1.0
_SWEEP_S = 30.0
_RETRY_S = 1.0

#: What the loss of a database session shows as.
_LOST = (psycopg.Error, TimeoutError)

#: What others may do to a job of ours; nothing comes after it, so late news of it is no harm.
_ENDED = frozenset({Phase.ABORTED, Phase.ARCHIVED, "DELETED"})


@contextlib.asynccontextmanager
async def work(settings: Settings) -> AsyncIterator[None]:
    """Run a worker for as long as the block lasts."""
    # Longer than any job may run: only a worker that died leaves a statement to this limit.
    dsn = conninfo(
        settings,
        Role.READER,
        statement_timeout=f"{settings.async_limit_s + 60}s",
        client_connection_check_interval="5s",
        **{"vo.data_url": f"{settings.root_url}/data/"},
    )
    reader = Reader(dsn, settings.short_jobs + settings.long_jobs, settings.async_limit_s)
    engine = engine_at(dsn)
    catalogs = CatalogCache(engine, settings.async_limit_s)
    uploads = UploadService(settings)
    service = TapService(reader, catalogs, uploads)
    notices = Notices(conninfo(settings, Role.JOBS))
    worker = Worker(settings, QueryRunner(settings, service), notices)
    try:
        async with uploads.running(), anyio.create_task_group() as group:
            group.start_soon(notices.run)
            group.start_soon(worker.run)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await reader.aclose()
        engine.dispose()


@dataclass(slots=True)
class _Running:
    """A job under way, and why it is stopped where it is."""

    job: Job
    lane: Lane
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    progress: Progress = field(default_factory=Progress)
    began: float = field(default_factory=anyio.current_time)
    stopped: str | None = None

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self.scope.cancel()


class Worker:
    """Takes jobs while it has free places in their lane."""

    def __init__(self, settings: Settings, runner: QueryRunner, notices: Notices) -> None:
        self._settings = settings
        self._runner = runner
        self._notices = notices
        self._places = {Lane.SHORT: settings.short_jobs, Lane.LONG: settings.long_jobs}
        self._running: dict[int, _Running] = {}
        self._wake = anyio.Event()

    async def run(self) -> None:
        """Work until cancelled, with one database session after the other."""
        while True:
            try:
                async with open_queue(self._settings) as queue:
                    await self._serve(queue)
            except* _LOST as errors:
                _log.warning("worker without a database: %s", str(errors.exceptions[0]).strip())
            except* Exception as errors:
                _log.error("defect in the worker", exc_info=errors)
            await anyio.sleep(_RETRY_S)

    async def _serve(self, queue: WorkQueue) -> None:
        """Run jobs until the session is lost (then nothing of them is ours) or we are stopped."""
        swept = -_SWEEP_S
        with self._notices.told(self._hear):
            async with anyio.create_task_group() as group:
                while True:
                    self._wake = anyio.Event()
                    await self._look_after(queue)
                    if anyio.current_time() - swept >= _SWEEP_S:
                        swept = anyio.current_time()
                        await self._sweep(queue)
                    await self._take(queue, group)
                    with anyio.move_on_after(_TICK_S):
                        await self._wake.wait()

    def _hear(self, number: int | None, phase: str | None) -> None:
        """News: a queued job wakes us, one of ours that others ended is stopped."""
        running = self._running.get(number) if number is not None else None
        if running is not None and phase in _ENDED:
            running.stop("ended")
        if phase in (None, Phase.QUEUED):
            self._wake.set()

    async def _take(self, queue: WorkQueue, group: TaskGroup) -> None:
        for lane, places in self._places.items():
            while Counter(r.lane for r in self._running.values())[lane] < places:
                job = await queue.claim(lane)
                if job is None:
                    break
                self._running[job.number] = running = _Running(job, lane)
                group.start_soon(self._run_job, queue, running)

    async def _look_after(self, queue: WorkQueue) -> None:
        """Take over from workers that died; tell progress; stop what runs too long."""
        for lost in await queue.recover():
            _log.warning(
                "the worker of job %s died: %s", lost.job_id, "again" if lost.again else "given up"
            )
        if not self._running:
            return
        durations = await queue.note_progress(
            {number: running.progress for number, running in self._running.items()}
        )
        for number, running in self._running.items():
            ran = anyio.current_time() - running.began
            if number not in durations:
                running.stop("ended")
            elif ran > durations[number]:
                running.stop("overrun")
            elif running.lane is Lane.SHORT and ran > self._settings.short_job_s:
                running.stop("long")

    async def _sweep(self, queue: WorkQueue) -> None:
        expired = await queue.expire(self._settings.job_archive_s)
        try:
            await remove_orphans(self._settings, queue, expired)
        except OSError as error:
            _log.error("files of expired jobs cannot be removed: %s", error)

    async def _run_job(self, queue: WorkQueue, running: _Running) -> None:
        job = running.job
        try:
            with running.scope:
                await self._finish(queue, running)
            if running.scope.cancelled_caught:
                await self._end_stopped(queue, running)
        except anyio.get_cancelled_exc_class():
            # We are stopped: somebody else, or we when we are back, will run it from the start.
            with contextlib.suppress(*_LOST):
                await queue.give_back(job)
            raise
        finally:
            self._runner.discard(job)
            del self._running[job.number]
            self._wake.set()

    async def _finish(self, queue: WorkQueue, running: _Running) -> None:
        job = running.job
        try:
            result = await self._runner.run(job, running.progress)
            rows = running.progress.rows
            await queue.complete(job, result, rows, lambda: self._runner.publish(job))
        except _LOST:
            raise
        except TransientError as error:
            _log.warning("job %s: %s", job.job_id, error)
            await anyio.sleep(job.attempts)
            await queue.retry(job, Failure(str(error), transient=True))
        except VOError as error:
            await queue.fail(job, Failure(str(error), transient=False))
        except OSError as error:
            _log.error("job %s: its result cannot be written: %s", job.job_id, error)
            said = f"the result cannot be stored now ({error.strerror}); try again later"
            await queue.fail(job, Failure(said, transient=True))
        except Exception:
            _log.exception("defect in job %s", job.job_id)
            said = "this service made an error; its operator finds it in the log"
            await queue.fail(job, Failure(said, transient=False))

    async def _end_stopped(self, queue: WorkQueue, running: _Running) -> None:
        """Say how a job ended that was stopped here; others have said it if they ended it."""
        job = running.job
        match running.stopped:
            case "overrun":
                await queue.abort(job, "the job ran longer than its execution duration")
            case "long":
                await queue.give_back(job, Lane.LONG)
            case _:
                await queue.release(job)
