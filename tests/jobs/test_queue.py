"""The queue: whose turn it is, who may take over, what is swept; on real sessions."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import anyio
import psycopg
import pytest

from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.jobs import JobStore
from vo_service.db.queue import Lost
from vo_service.db.schema import upgrade
from vo_service.model.job import Failure, Job, Lane, Phase, Result
from vo_service.services.results import Progress
from vo_service.services.work import WorkQueue, open_queue, remove_orphans
from vo_service.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def upgraded(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_at(database_url, tmp_path_factory.mktemp("home"), job_attempts=2)
    upgrade(settings)
    return settings


@pytest.fixture
async def store(upgraded: Settings) -> AsyncIterator[JobStore]:
    dsn = conninfo(upgraded, Role.JOBS)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("DELETE FROM uws.job")
        yield JobStore(connection)


@pytest.fixture
async def worker(upgraded: Settings) -> AsyncIterator[WorkQueue]:
    async with open_queue(upgraded) as queue:
        yield queue


async def queued(store: JobStore, name: str, client: str = "a", lane: Lane = Lane.LONG) -> Job:
    """A queued job; *name* is the beginning of its identifier."""
    job_id = name.ljust(32, "0")
    await store.insert(
        job_id, owner=None, client=client, parameters=(), execution_duration=10,
        destruction=datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    job = await store.queue(job_id, lane, None, None)
    assert job is not None
    return job


async def phase_of(store: JobStore, job: Job) -> Phase | None:
    now = await store.get(job.job_id)
    return None if now is None else now.phase


async def first_lost(worker: WorkQueue) -> Lost:
    """What is recovered first: PostgreSQL takes a moment to end a session that was left."""
    for _ in range(500):
        if found := await worker.recover():
            return found[0]
        await anyio.sleep(0.01)
    raise AssertionError("nothing was recovered")


async def test_clients_take_turns_however_many_jobs_one_has(
    store: JobStore, worker: WorkQueue
) -> None:
    for name in ("a1", "a2", "a3", "a4"):
        await queued(store, name, "greedy")
    for name in ("b1", "b2"):
        await queued(store, name, "modest")
    await queued(store, "c1", "late")
    order = []
    while (job := await worker.claim(Lane.LONG)) is not None:
        order.append(job.job_id[:2])
        await worker.complete(job, [Result("text/plain", 0, "txt")], Progress(), lambda: None)
    # One place: each client is served once before any is served again.
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_who_has_fewest_jobs_running_comes_first(store: JobStore, worker: WorkQueue) -> None:
    for name in ("a1", "a2", "a3"):
        await queued(store, name, "greedy")
    await queued(store, "b1", "modest")
    order = [job.job_id[:2] for _ in range(4) if (job := await worker.claim(Lane.LONG))]
    assert order == ["a1", "b1", "a2", "a3"]


async def test_lanes_are_apart(store: JobStore, worker: WorkQueue) -> None:
    await queued(store, "long", lane=Lane.LONG)
    short = await queued(store, "short", lane=Lane.SHORT)
    claimed = await worker.claim(Lane.SHORT)
    assert claimed is not None
    assert claimed.job_id == short.job_id
    assert await worker.claim(Lane.SHORT) is None


async def test_a_job_is_claimed_once(
    store: JobStore, worker: WorkQueue, upgraded: Settings
) -> None:
    await queued(store, "only")
    async with open_queue(upgraded) as other:
        claims = [await worker.claim(Lane.LONG), await other.claim(Lane.LONG)]
    assert [claim is not None for claim in claims] == [True, False]


async def test_a_job_whose_worker_lives_is_left_alone(
    store: JobStore, worker: WorkQueue, upgraded: Settings
) -> None:
    job = await queued(store, "mine")
    await worker.claim(Lane.LONG)
    async with open_queue(upgraded) as other:
        assert await other.recover() == []
    assert await worker.recover() == []
    assert await phase_of(store, job) is Phase.EXECUTING


async def test_a_job_whose_worker_died_is_run_again_then_given_up(
    store: JobStore, worker: WorkQueue, upgraded: Settings
) -> None:
    job = await queued(store, "lost")
    for attempt, again in ((1, True), (2, False)):
        async with open_queue(upgraded) as dying:
            claimed = await dying.claim(Lane.LONG)
            assert claimed is not None
            assert claimed.attempts == attempt
        lost = await first_lost(worker)
        assert (lost.job_id, lost.again) == (job.job_id, again)
    ended = await store.get(job.job_id)
    assert ended is not None
    assert ended.phase is Phase.ERROR
    assert ended.failure is not None
    assert ended.failure.transient
    assert "begun 2 times" in ended.failure.message
    assert await worker.recover() == []


async def test_a_job_given_back_keeps_its_attempts(store: JobStore, worker: WorkQueue) -> None:
    await queued(store, "back")
    for _ in range(5):
        job = await worker.claim(Lane.LONG)
        assert job is not None
        assert job.attempts == 1
        await worker.give_back(job)


async def test_a_passing_fault_is_tried_again_as_often_as_is_allowed(
    store: JobStore, worker: WorkQueue
) -> None:
    job = await queued(store, "fault")
    for expected in (Phase.QUEUED, Phase.ERROR):
        claimed = await worker.claim(Lane.LONG)
        assert claimed is not None
        await worker.retry(claimed, Failure("away", transient=True))
        assert await phase_of(store, job) is expected


async def test_an_aborted_job_is_not_completed_and_its_result_not_published(
    store: JobStore, worker: WorkQueue
) -> None:
    await queued(store, "abort")
    job = await worker.claim(Lane.LONG)
    assert job is not None
    assert await store.abort(job.job_id) is not None
    published: list[bool] = []
    done = await worker.complete(
        job, [Result("text/plain", 1, "txt")], Progress(1, 1), lambda: published.append(True)
    )
    assert (done, published) == (False, [])
    assert await phase_of(store, job) is Phase.ABORTED


async def test_a_result_that_cannot_be_put_in_place_is_not_told(
    store: JobStore, worker: WorkQueue
) -> None:
    await queued(store, "disk")
    job = await worker.claim(Lane.LONG)
    assert job is not None

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await worker.complete(job, [Result("text/plain", 1, "txt")], Progress(1, 1), refuse)
    assert await phase_of(store, job) is Phase.EXECUTING
    await worker.fail(job, Failure("full", transient=True))
    assert await phase_of(store, job) is Phase.ERROR


async def test_progress_is_told_and_durations_only_of_what_runs(
    store: JobStore, worker: WorkQueue
) -> None:
    await queued(store, "one")
    await queued(store, "two")
    first, second = await worker.claim(Lane.LONG), await worker.claim(Lane.LONG)
    assert first is not None
    assert second is not None
    await store.set_duration(second.job_id, 77)
    await store.abort(first.job_id)
    both = {first.number: Progress(), second.number: Progress(rows=5, size=60)}
    assert await worker.note_progress(both) == {second.number: 77}
    now = await store.get(second.job_id)
    assert now is not None
    assert (now.rows_written, now.bytes_written) == (5, 60)


async def test_jobs_are_archived_then_forgotten_and_their_files_removed(
    store: JobStore, worker: WorkQueue, upgraded: Settings
) -> None:
    job, kept = await queued(store, "a" * 32), await queued(store, "b" * 32)
    places = [upgraded.jobs / name for name in (job.job_id, kept.job_id, "c" * 32, "d" * 32)]
    for place in places:
        place.mkdir(parents=True)
        (place / "result").write_text("rows")
    long_ago = time.time() - 7200
    for place in places[1:3]:  # one that has a job, one that has none
        os.utime(place, (long_ago, long_ago))
    await store.set_destruction(job.job_id, datetime.now(UTC))
    expired = await worker.expire(3600)
    assert list(expired) == [job.job_id]
    await remove_orphans(upgraded, worker, expired)
    # Neither one that may be in the making (d) nor one in use (b) goes.
    assert [place.exists() for place in places] == [False, True, False, True]
    assert await phase_of(store, job) is Phase.ARCHIVED
    assert await worker.expire(0) == []
    assert await phase_of(store, job) is None
    assert await phase_of(store, kept) is Phase.QUEUED


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (Role.READER, "SELECT job_id FROM uws.job"),
        (Role.WRITER, "SELECT job_id FROM uws.job"),
        (Role.JOBS, "SELECT * FROM archive.product"),
        (Role.JOBS, "SELECT * FROM ivoa.obscore"),
        (Role.JOBS, "DELETE FROM tap_schema.tables"),
        (Role.JOBS, "CREATE TABLE uws.mine (i integer)"),
        (Role.JOBS, "ALTER TABLE uws.job DROP COLUMN owner"),
    ],
)
def test_each_role_reaches_its_own_only(upgraded: Settings, role: Role, statement: str) -> None:
    with (
        psycopg.connect(conninfo(upgraded, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())
