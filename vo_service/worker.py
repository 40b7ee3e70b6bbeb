"""The worker: runs queued jobs, several at once, in two lanes.

Runs inside ``serve`` or as ``vo-service worker``; any number may run on one archive. It is
woken by the database when a job is queued, aborted or destroyed. Stopped, it lets short jobs
finish and gives the others back; killed, its session ends and other workers (or itself, started
again) take them over.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio
import psycopg
from anyio import to_thread
from anyio.abc import TaskGroup
from psycopg_pool import AsyncConnectionPool

from vo_service.db.catalog import read_member_catalog
from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.notices import Notices
from vo_service.db.stream import Reader
from vo_service.errors import TransientError, VOError
from vo_service.model.job import Failure, Job, Lane, Phase
from vo_service.services.alarm import AlarmKind, raise_alarm
from vo_service.services.bundle_jobs import BUNDLES, BundleRunner
from vo_service.services.bundles import BundleService
from vo_service.services.catalog import CatalogCache
from vo_service.services.coverage import run_coverage
from vo_service.services.cutout_jobs import SODA, CutoutRunner
from vo_service.services.daily import run_daily
from vo_service.services.drain import Drain
from vo_service.services.expiry import run_expiry
from vo_service.services.files import FileService
from vo_service.services.hips import run_hips
from vo_service.services.origins import run_crawls
from vo_service.services.outage import Outage
from vo_service.services.previews import run_previews
from vo_service.services.registry_daily import run_registry
from vo_service.services.replicas import Replicas
from vo_service.services.results import Drafts, Progress
from vo_service.services.shard_watch import ShardWatch
from vo_service.services.soda import SodaService
from vo_service.services.tap import TapService
from vo_service.services.uploads import UploadService
from vo_service.services.watch import watch
from vo_service.services.work import QueryRunner, Runner, WorkQueue, open_queue, remove_orphans
from vo_service.settings import Settings
from vo_service.telemetry.context import working_for
from vo_service.telemetry.meters import watch_pools

__all__ = ["Worker", "work"]

_log = logging.getLogger(__name__)

#: Between looks at what no notice tells: workers that died, durations, progress.
_TICK_S = 1.0
_SWEEP_S = 30.0
_RETRY_S = 1.0
_LAST_JOBS_S = 0.1

#: What the loss of a database session shows as.
_LOST = (psycopg.Error, TimeoutError)

#: What others may do to a job of ours; nothing comes after it, so late news of it is no harm.
_ENDED = frozenset({Phase.ABORTED, Phase.ARCHIVED, "DELETED"})


@contextlib.asynccontextmanager
async def work(settings: Settings, drain: Drain | None = None) -> AsyncIterator[None]:
    """Run a worker for as long as the block lasts, and for what *drain* leaves of its end."""
    drain = drain or Drain()
    # Longer than any job may run: only a worker that died leaves a statement to this limit.
    dsn, member_dsn = (
        conninfo(
            settings,
            role,
            statement_timeout=f"{settings.async_limit_s + 60}s",
            client_connection_check_interval="5s",
            **{"vo.data_url": f"{settings.root_url}/data/"},
        )
        for role in (Role.READER, Role.MEMBER)
    )
    places, limit_s = settings.short_jobs + settings.long_jobs, settings.async_limit_s
    reader, member_reader = Reader(dsn, places, limit_s), Reader(member_dsn, places, limit_s)
    engine, member_engine = engine_at(dsn), engine_at(member_dsn)
    catalogs = CatalogCache(engine, limit_s)
    member_catalogs = CatalogCache(member_engine, limit_s, read_member_catalog)
    uploads = UploadService(settings)
    shards = ShardWatch(conninfo(settings, Role.DOOR), settings.shard_answer_s)
    replicas = Replicas(
        settings, limit_s, statement_timeout=f"{limit_s + 60}s",
        **{"vo.data_url": f"{settings.root_url}/data/"},
    )  # fmt: skip
    members = TapService(
        member_reader, member_catalogs, uploads,
        outage=Outage(shards, member_dsn, settings.shard_down),
    )  # fmt: skip
    service = TapService(
        reader, catalogs, uploads, members=members,
        outage=Outage(shards, dsn, settings.shard_down), replicas=replicas,
    )  # fmt: skip
    notices = Notices(conninfo(settings, Role.JOBS))
    drafts = Drafts(settings)
    door: AsyncConnectionPool
    jobs: AsyncConnectionPool
    door, jobs = (
        AsyncConnectionPool(
            conninfo(settings, role), min_size=0, max_size=4, open=False, timeout=10.0
        )
        for role in (Role.DOOR, Role.JOBS)
    )
    bundles = BundleService(settings, door, jobs, service)
    runners: dict[str, Runner] = {
        "tap": QueryRunner(settings, service, drafts),
        BUNDLES: BundleRunner(settings, bundles, drafts),
        SODA: CutoutRunner(settings, SodaService(door, FileService(door), shards), drafts, uploads),
    }
    worker = Worker(settings, runners, drafts, notices)
    watch_pools({"worker": reader.use, "worker_member": member_reader.use})
    replicas.show("worker_")
    shards.show()
    try:
        async with (
            door, jobs, uploads.running(), shards.running(), replicas.running(),
            anyio.create_task_group() as group
        ):  # fmt: skip
            group.start_soon(notices.run)
            group.start_soon(worker.run)
            group.start_soon(run_daily, settings)
            group.start_soon(run_expiry, settings)
            group.start_soon(watch, settings)
            group.start_soon(run_previews, settings)
            group.start_soon(run_coverage, settings)
            group.start_soon(run_hips, settings)
            group.start_soon(run_registry, settings)
            group.start_soon(run_crawls, settings)
            try:
                with drain.told(worker.wind_up):
                    yield
                await worker.finish(drain)
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await reader.aclose()
            await member_reader.aclose()
        engine.dispose()
        member_engine.dispose()


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
    """Takes jobs of services that it has runners for, while it has free places in their lane."""

    def __init__(
        self, settings: Settings, runners: Mapping[str, Runner], drafts: Drafts, notices: Notices
    ) -> None:
        self._settings = settings
        self._runners = runners
        self._drafts = drafts
        self._notices = notices
        self._places = {Lane.SHORT: settings.short_jobs, Lane.LONG: settings.long_jobs}
        self._running: dict[int, _Running] = {}
        self._wake = anyio.Event()
        self._winding_up = False

    def wind_up(self) -> None:
        """Take no more jobs, and give long ones back: they would not end in time anyway."""
        self._winding_up = True
        self._wake.set()

    async def finish(self, drain: Drain) -> None:
        """Wait until no job runs any more, as long as that may take."""
        while self._running and drain.left_s > 0:  # noqa: ASYNC110 - a signal may shorten it
            await anyio.sleep(_LAST_JOBS_S)

    async def run(self) -> None:
        """Work until cancelled, with one database session after the other."""
        while True:
            try:
                async with open_queue(self._settings, self._runners) as queue:
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
                job = None if self._winding_up else await queue.claim(lane)
                if job is None:
                    break
                self._running[job.number] = running = _Running(job, lane)
                group.start_soon(self._run_job, queue, running)

    async def _look_after(self, queue: WorkQueue) -> None:
        """Take over from workers that died; tell progress; stop what runs too long."""
        for lost in await queue.recover():
            _log.warning(
                # Not its whole id, whose knowledge may be all that protects it.
                "the worker of job %s... died: %s",
                lost.job_id[:6],
                "again" if lost.again else "given up",
            )
            if not lost.again:
                await self._drafts.clear(lost.job_id)
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
            elif running.lane is Lane.LONG and self._winding_up:
                running.stop("leaving")

    async def _sweep(self, queue: WorkQueue) -> None:
        expired = await queue.expire(self._settings.job_archive_s)
        try:
            await remove_orphans(self._settings, queue, expired)
        except OSError as error:
            _log.error("files of expired jobs cannot be removed: %s", error)

    async def _run_job(self, queue: WorkQueue, running: _Running) -> None:
        job = running.job
        try:
            with running.scope, working_for(f"job-{job.number}"):
                await self._finish(queue, running)
            if running.scope.cancelled_caught:
                await self._end_stopped(queue, running)
        except anyio.get_cancelled_exc_class():
            # We are stopped: somebody else, or we when we are back, will run it from the start.
            with contextlib.suppress(*_LOST):
                await queue.give_back(job)
            raise
        finally:
            self._drafts.discard(job)
            del self._running[job.number]
            self._wake.set()

    async def _finish(self, queue: WorkQueue, running: _Running) -> None:
        job = running.job
        try:
            await self._drafts.clear(job.job_id)
            results = await self._runners[job.service].run(job, running.progress)
            publish = partial(self._drafts.publish, job, results)
            await queue.complete(job, results, running.progress, publish)
        except _LOST:
            raise
        except TransientError as error:
            _log.warning("job-%d: %s", job.number, error)
            await anyio.sleep(job.attempts)
            await queue.retry(job, Failure(str(error), transient=True))
        except VOError as error:
            await queue.fail(job, Failure(str(error), transient=False))
        except OSError as error:
            _log.error("job-%d: its result cannot be written: %s", job.number, error)
            said = f"the result cannot be stored now ({error.strerror}); try again later"
            await queue.fail(job, Failure(said, transient=True))
            await self._alarm(f"the result of a job cannot be stored: {error.strerror}")
        except Exception:
            _log.exception("defect in job-%d", job.number)
            said = "this service made an error; its operator finds it in the log"
            await queue.fail(job, Failure(said, transient=False))
            await self._alarm("a job failed by a defect of the service; the log says where")

    async def _alarm(self, text: str) -> None:
        # Nothing that names a job: its address may be all that protects it.
        await to_thread.run_sync(
            raise_alarm, self._settings, AlarmKind.JOBS, text, abandon_on_cancel=True
        )

    async def _end_stopped(self, queue: WorkQueue, running: _Running) -> None:
        """Say how a job ended that was stopped here; others have said it if they ended it."""
        job = running.job
        match running.stopped:
            case "overrun":
                await queue.abort(job, "the job ran longer than its execution duration")
            case "long":
                await queue.give_back(job, Lane.LONG)
            case "leaving":
                await queue.give_back(job)
            case _:
                await queue.release(job)
