"""What clients do with jobs: make, look, wait, change, run, abort, destroy.

Source: UWS 1.1, "State changing requests"; TAP 1.1, "/async". A job belongs to the user who
made it; one that nobody known made belongs to whoever has its identifier of 128 random bits.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psycopg
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.jobs import JobStore
from vo_service.db.notices import Notices
from vo_service.errors import ForbiddenError, NotFoundError, TooLargeError, TransientError
from vo_service.model.job import ACTIVE, Job, JobFilter, Lane, Parameter, Phase
from vo_service.model.visitor import Visitor
from vo_service.params.uws import Wait, merge_parameters
from vo_service.services.drain import Drain
from vo_service.services.estimates import Estimator
from vo_service.services.results import part_file, remove_unfinished
from vo_service.services.uploads import Part
from vo_service.settings import Settings

__all__ = ["JobService"]

_log = logging.getLogger(__name__)

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]

_ID = re.compile(r"[0-9a-f]{32}")
_PARAMETERS = 1000

#: Seconds that a WAIT lasts at most: less than proxies let a connection stay silent.
_WAIT_S = 50


class JobService:
    """Jobs of clients.

    Methods raise NotFoundError if there is no such job, ForbiddenError if it is somebody
    else's or its phase does not allow what was asked, TransientError without a database.

    Parameters
    ----------
    pool
        Connections of role ``vo_jobs``.
    notices
        News of jobs; run by the caller.
    estimator
        What a job is expected to cost; None where nothing can be foretold.
    service
        Whose jobs these are; those of others are not seen.
    drain
        Nobody waits any more once it has begun.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        notices: Notices,
        estimator: Estimator | None = None,
        *,
        service: str = "tap",
        drain: Drain | None = None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._notices = notices
        self._estimator = estimator
        self._service = service
        self._drain = drain or Drain()

    async def create(
        self,
        client: Visitor,
        pairs: Sequence[tuple[str, str]],
        parts: Sequence[tuple[str, Part]] = (),
        *,
        run: bool = False,
    ) -> Job:
        """A new job; its parameters are not looked at before it runs (TAP 1.1, "Parameters").

        Files of *parts*, the inline parts by name, become the job's.
        """
        limit = self._settings.jobs_per_client
        now = datetime.now(UTC)
        job_id = secrets.token_hex(16)
        async with self._store() as store:
            if await store.unfinished(client.key) >= limit:
                raise ForbiddenError(
                    f"you have {limit} jobs that are not finished, which is the limit; wait for "
                    "some, or delete those that you do not need"
                )
            job = await store.insert(
                job_id,
                owner=client.name,
                client=client.key,
                parameters=await self._kept(job_id, (), pairs, parts),
                execution_duration=self._settings.async_default_s,
                destruction=now + timedelta(seconds=self._settings.job_retention_s),
                service=self._service,
            )
        _log.info("job-%d made", job.number)  # the id of its log lines, with that of this request
        return await self._start(job) if run else job

    async def get(self, client: Visitor, job_id: str) -> Job:
        """A job as it is now."""
        async with self._store() as store:
            return await self._own(store, client, job_id)

    async def list(self, client: Visitor, wanted: JobFilter) -> Sequence[Job]:
        """Jobs of a user; of those whom nobody knows, none (unless the operator lists them)."""
        if client.name is None and not self._settings.list_anonymous_jobs:
            return []
        async with self._store() as store:
            return await store.list(client.name, wanted, self._service)

    async def wait(self, client: Visitor, job_id: str, wait: Wait) -> Job:
        """A job when its phase has changed, or the time is over (UWS 1.1, "WAIT")."""
        limit = _WAIT_S if wait.seconds is None else min(wait.seconds, _WAIT_S)
        deadline = anyio.current_time() + limit
        job = await self.get(client, job_id)
        number, start = job.number, wait.phase or job.phase
        changed = anyio.Event()

        def look(about: int | None, phase: str | None) -> None:
            if about in (None, number):
                changed.set()

        with self._notices.told(look), self._drain.told(partial(look, None, None)):
            while True:
                changed = anyio.Event()
                job = await self.get(client, job_id)
                if job.phase != start or job.phase not in ACTIVE or self._drain.begun:
                    return job
                with anyio.move_on_after(deadline - anyio.current_time()) as scope:
                    await changed.wait()
                if scope.cancelled_caught:
                    return job

    async def add_parameters(
        self,
        client: Visitor,
        job_id: str,
        pairs: Sequence[tuple[str, str]],
        parts: Sequence[tuple[str, Part]],
    ) -> Job:
        """Add or change parameters of a PENDING job."""
        async with self._store() as store:
            job = await self._own(store, client, job_id, lock=True)
            if job.phase is not Phase.PENDING:
                raise ForbiddenError(
                    f"the job is {job.phase}: its parameters can be changed while it is PENDING"
                )
            merged = await self._kept(job_id, job.parameters, pairs, parts)
            return _there(await store.set_parameters(job_id, merged))

    async def run(self, client: Visitor, job_id: str) -> Job:
        """Queue a PENDING job; one that is QUEUED or EXECUTING stays as it is."""
        job = await self.get(client, job_id)
        if job.phase in (Phase.QUEUED, Phase.EXECUTING):
            return job
        if job.phase is not Phase.PENDING:
            raise ForbiddenError(f"the job is {job.phase}: only a PENDING job can be run")
        return await self._start(job)

    async def abort(self, client: Visitor, job_id: str) -> Job:
        """Stop a job, and the database statement behind it; one that has ended stays as it is."""
        async with self._store() as store:
            job = await self._own(store, client, job_id, lock=True)
            ended = await store.abort(job_id) or job
        if ended.phase is Phase.ABORTED:  # its worker may be dead
            await to_thread.run_sync(remove_unfinished, self._settings, job_id)
        return ended

    async def delete(self, client: Visitor, job_id: str) -> None:
        """Stop a job and destroy it with its files."""
        async with self._store() as store:
            await self._own(store, client, job_id, lock=True)
            await store.delete(job_id)
        await to_thread.run_sync(_remove, self._settings.jobs / job_id)

    async def set_duration(self, client: Visitor, job_id: str, seconds: int) -> Job:
        """Set how long a job may run: at most the limit, which 0 (unlimited) becomes."""
        limit = self._settings.async_limit_s
        async with self._store() as store:
            job = await self._own(store, client, job_id, lock=True)
            return await store.set_duration(job_id, min(seconds or limit, limit)) or job

    async def set_destruction(self, client: Visitor, job_id: str, moment: datetime) -> Job:
        """Set when a job is destroyed: not before now, not after the limit."""
        now = datetime.now(UTC)
        latest = now + timedelta(seconds=self._settings.job_retention_limit_s)
        async with self._store() as store:
            job = await self._own(store, client, job_id, lock=True)
            return await store.set_destruction(job_id, max(now, min(moment, latest))) or job

    async def _start(self, job: Job) -> Job:
        expected = None
        if self._estimator is not None:
            expected = await self._estimator.expect(job.pairs, job.owner)
        seconds = None if expected is None else expected.cost / self._settings.cost_per_s
        bound = min(job.execution_duration, seconds or 0.0)
        lane = Lane.LONG if bound > self._settings.short_job_s else Lane.SHORT
        async with self._store() as store:
            queued = await store.queue(job.job_id, lane, expected, seconds)
            return queued or _there(await store.get(job.job_id))

    async def _kept(
        self,
        job_id: str,
        present: tuple[Parameter, ...],
        pairs: Sequence[tuple[str, str]],
        parts: Sequence[tuple[str, Part]],
    ) -> tuple[Parameter, ...]:
        """Parameters with new ones merged in; parts are files of the job by then."""
        free = 1 + max((p.part for p in present if p.part is not None), default=-1)
        numbered = list(enumerate(parts, free))
        given = [Parameter(name, value) for name, value in pairs]
        given += [
            Parameter(name, "", number, part.content_type) for number, (name, part) in numbered
        ]
        merged = merge_parameters(present, tuple(given))
        if len(merged) > _PARAMETERS:
            raise ForbiddenError(f"a job may have {_PARAMETERS} parameters, not {len(merged)}")
        if numbered:
            files = {
                part.path: part_file(self._settings, job_id, number)
                for number, (_, part) in numbered
            }
            await to_thread.run_sync(_take, files, self._settings.upload_bytes_limit)
        return merged

    async def _own(
        self, store: JobStore, client: Visitor, job_id: str, *, lock: bool = False
    ) -> Job:
        job = await store.get(job_id, lock=lock) if _ID.fullmatch(job_id) else None
        if job is None or job.service != self._service:
            raise NotFoundError(f"there is no job {job_id[:60]!r}; it may have been destroyed")
        if job.owner != client.name:
            raise ForbiddenError("this job belongs to somebody else")
        return job

    @contextlib.asynccontextmanager
    async def _store(self) -> AsyncIterator[JobStore]:
        """A transaction."""
        try:
            async with self._pool.connection() as connection:
                yield JobStore(connection)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error


def _there(job: Job | None) -> Job:
    if job is None:
        raise NotFoundError("the job was destroyed meanwhile")
    return job


def _take(files: dict[Path, Path], limit: int) -> None:
    """Move files into the directory of a job, which may hold so many bytes."""
    place = next(iter(files.values())).parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(file.stat().st_size for file in (*files, *place.iterdir())) > limit:
        raise TooLargeError(f"the inline parts of a job may have {limit} bytes together")
    for source, target in files.items():
        shutil.move(source, target)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
