"""Workers: lanes, what is stopped and given back, what is tried again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.jobs.archive import QUICK, SLOW, command
from tests.jobs.client import UWS, Remote, submit
from tests.support import soon
from vo_service.settings import Settings

#: To nobody's eye a second's work, whatever the planner says of it.
OPTIMIST = 1e12


@pytest.fixture
def few(filled: Settings) -> Settings:
    """One place in each lane."""
    chosen = {"short_jobs": 1, "long_jobs": 1, "short_job_s": 1.0}
    ask(filled, "DELETE FROM uws.job")
    return filled.model_copy(update=chosen)


@pytest.fixture
def http(few: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://localhost:{few.port}/tap", timeout=70) as client:
        yield client


def info(job: Remote, name: str) -> str | None:
    return job.xml().findtext(f"{UWS}jobInfo/{name}")


def ask(settings: Settings, statement: str) -> Any:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


RUNNING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
    "AND datname = current_database() AND query LIKE '%SELECT%sqrt(%' "
    "AND pid <> pg_backend_pid()"
)


def test_short_jobs_do_not_wait_behind_long_ones(few: Settings, http: httpx.Client) -> None:
    with command(few, "serve"):
        slow = [submit(http, SLOW, PHASE="RUN") for _ in range(3)]
        slow[0].wait("EXECUTING")
        begun = time.monotonic()
        quick = submit(http, QUICK, PHASE="RUN")
        quick.wait("COMPLETED")
        assert time.monotonic() - begun < 20
        assert [info(job, "lane") for job in (*slow, quick)] == ["long"] * 3 + ["short"]
        assert [job.phase for job in slow] == ["EXECUTING", "QUEUED", "QUEUED"]
        slow[0].delete()
        slow[1].wait("EXECUTING")
        for job in slow[1:]:
            job.delete()


def test_what_is_long_after_all_leaves_the_short_lane(few: Settings, http: httpx.Client) -> None:
    with command(few.model_copy(update={"cost_per_s": OPTIMIST}), "serve"):
        slow = submit(http, SLOW, PHASE="RUN")
        assert info(slow, "lane") == "short"
        quick = submit(http, QUICK, PHASE="RUN")
        quick.wait("COMPLETED")
        assert info(slow, "lane") == "long"
        slow.wait("EXECUTING")
        assert info(slow, "attempts") == "1"
        slow.delete()


def test_a_stopped_server_gives_its_jobs_back(few: Settings, http: httpx.Client) -> None:
    with command(few, "serve"):
        job = submit(http, SLOW, PHASE="RUN")
        job.wait("EXECUTING")
        begun = time.monotonic()
    assert time.monotonic() - begun < 25  # of minutes
    assert ask(few, "SELECT phase || attempts FROM uws.job") == "QUEUED0"
    assert soon(lambda: ask(few, RUNNING) == 0)
    with command(few, "serve"):
        job.wait("EXECUTING")
        assert info(job, "attempts") == "1"
        job.delete()


def test_a_statement_that_the_database_ended_is_run_again(
    few: Settings, http: httpx.Client
) -> None:
    with command(few, "serve"):
        job = submit(http, SLOW, PHASE="RUN")
        job.wait("EXECUTING")
        assert soon(lambda: ask(few, RUNNING) == 1)
        ask(few, RUNNING.replace("count(*)", "pg_terminate_backend(pid)"))
        assert soon(lambda: info(job, "attempts") == "2")
        assert soon(lambda: ask(few, RUNNING) == 1)
        job.delete()


def test_a_worker_whose_own_session_ended_goes_on(few: Settings, http: httpx.Client) -> None:
    with command(few, "serve"):
        job = submit(http, SLOW, PHASE="RUN")
        job.wait("EXECUTING")
        ask(
            few,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        assert soon(lambda: info(job, "attempts") == "2")
        assert soon(lambda: ask(few, RUNNING) == 1)
        job.post("/phase", PHASE="ABORT")
        quick = submit(http, QUICK, PHASE="RUN")
        quick.wait("COMPLETED")
        assert soon(lambda: ask(few, RUNNING) == 0)


def test_jobs_wait_for_a_worker_of_their_own(few: Settings, http: httpx.Client) -> None:
    with command(few.model_copy(update={"worker_in_serve": False}), "serve"):
        job = submit(http, QUICK, PHASE="RUN")
        assert job.xml(WAIT=1).findtext(UWS + "phase") == "QUEUED"
        with command(few, "worker"):
            job.wait("COMPLETED")
        assert job.phase == "COMPLETED"


def test_the_duration_of_a_running_job_can_be_shortened(few: Settings, http: httpx.Client) -> None:
    with command(few, "serve"):
        job = submit(http, SLOW, PHASE="RUN")
        job.wait("EXECUTING")
        job.post("/executionduration", EXECUTIONDURATION="1")
        assert soon(lambda: job.phase == "ABORTED")
        place = few.jobs / job.url.rsplit("/", 1)[1]
        assert soon(lambda: not place.exists() or not list(place.iterdir()))


def test_a_result_that_is_too_large_is_an_error(few: Settings, http: httpx.Client) -> None:
    with command(few.model_copy(update={"result_limit": 100_000}), "serve"):
        job = submit(http, "SELECT * FROM ivoa.obscore", PHASE="RUN")
        job.wait("ERROR")
        assert "larger than 100000 bytes" in http.get(f"{job.url}/error").text
        place = few.jobs / job.url.rsplit("/", 1)[1]
        assert list(place.iterdir()) == []


def leave(settings: Settings, job: Remote, *names: str) -> Path:
    """The directory of a job, with what a worker that died leaves there."""
    place = settings.jobs / job.url.rsplit("/", 1)[1]
    place.mkdir(exist_ok=True)
    for name in names:
        (place / name).write_bytes(b"half a result")
    return place


def test_drafts_of_dead_workers_go_when_a_job_is_taken_up_and_when_it_is_aborted(
    few: Settings, http: httpx.Client
) -> None:
    with command(few, "serve"):
        done, stopped = submit(http, QUICK), submit(http, QUICK)
        places = [leave(few, job, "draft-0a", "draft-0b", "result") for job in (done, stopped)]
        done.post("/phase", PHASE="RUN")
        done.wait("COMPLETED")
        assert [file.name for file in places[0].iterdir()] == ["result"]
        assert http.get(f"{done.url}/results/result").content.startswith(b"<?xml")
        stopped.post("/phase", PHASE="ABORT")
        assert list(places[1].iterdir()) == []
        done.post("/phase", PHASE="ABORT")  # it has ended: nothing happens to its result
        assert [file.name for file in places[0].iterdir()] == ["result"]


def test_drafts_of_dead_workers_go_when_a_job_is_given_up(
    few: Settings, http: httpx.Client
) -> None:
    once = few.model_copy(update={"job_attempts": 1})
    with command(once.model_copy(update={"worker_in_serve": False}), "serve"):
        with command(once, "worker") as worker:
            job = submit(http, SLOW, PHASE="RUN")
            job.wait("EXECUTING")
            worker.kill()
            worker.wait()
        place = leave(few, job, "draft-0a", "result")
        with command(once, "worker"):
            job.wait("ERROR")
            assert soon(lambda: list(place.iterdir()) == [])
        assert soon(lambda: ask(few, RUNNING) == 0)


def test_several_jobs_run_at_once(few: Settings, http: httpx.Client) -> None:
    with command(few.model_copy(update={"long_jobs": 2}), "serve"):
        jobs = [submit(http, SLOW, PHASE="RUN") for _ in range(2)]
        for job in jobs:
            job.wait("EXECUTING")
        assert [job.phase for job in jobs] == ["EXECUTING", "EXECUTING"]
        for job in jobs:
            job.delete()
