"""A worker that is told to stop: short jobs finish, others are given back, none is begun."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.jobs.archive import QUICK, SLOW, command
from tests.jobs.client import Remote, submit
from vo_service.settings import Settings

#: Some seconds: a twelfth of the observations, with each of all.
SOME_SECONDS = SLOW.replace("WHERE", "WHERE a.s_ra < 30 AND")


@pytest.fixture
def one(filled: Settings) -> Settings:
    """One place in each lane, and a planner that takes every job for a short one."""
    phases(filled, "DELETE FROM uws.job RETURNING ''")
    chosen = {"short_jobs": 1, "long_jobs": 1, "cost_per_s": 1e12, "drain_s": 30.0}
    return filled.model_copy(update=chosen)


@pytest.fixture
def http(one: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://localhost:{one.port}/tap", timeout=70) as client:
        yield client


def phases(settings: Settings, statement: str = "") -> list[str]:
    """Phase and attempts of each job, in the order in which they were made."""
    statement = statement or "SELECT phase || attempts FROM uws.job ORDER BY created"
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        return [phase for (phase,) in connection.execute(statement.encode())]


def leave(process: subprocess.Popen[str], *signals: int) -> float:
    """Seconds until it has ended."""
    begun = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)
    assert process.wait(60) == 0
    return time.monotonic() - begun


def started(http: httpx.Client, query: str) -> Remote:
    job = submit(http, query, PHASE="RUN")
    job.wait("EXECUTING")
    return job


def test_a_server_lets_a_short_job_finish_and_begins_no_other(
    one: Settings, http: httpx.Client
) -> None:
    with command(one, "serve") as server:
        job = started(http, SOME_SECONDS)
        submit(http, QUICK, PHASE="RUN")
        leave(server, signal.SIGTERM)
    assert phases(one) == ["COMPLETED1", "QUEUED0"]
    result = one.jobs / job.url.rsplit("/", 1)[1] / "result"
    assert result.read_bytes().endswith(b"</VOTABLE>\n")


def test_a_worker_by_itself_does_so_too(one: Settings, http: httpx.Client) -> None:
    apart = one.model_copy(update={"worker_in_serve": False})
    with command(apart, "serve"), command(apart, "worker") as worker:
        started(http, SOME_SECONDS)
        leave(worker, signal.SIGTERM)
        assert phases(one) == ["COMPLETED1"]


def test_what_takes_longer_than_was_chosen_is_given_back(one: Settings, http: httpx.Client) -> None:
    with command(one.model_copy(update={"drain_s": 1.0}), "serve") as server:
        started(http, SLOW)
        assert 0.9 < leave(server, signal.SIGTERM) < 8
    assert phases(one) == ["QUEUED0"]


def test_a_long_job_is_given_back_at_once(one: Settings, http: httpx.Client) -> None:
    with command(one.model_copy(update={"cost_per_s": 200_000.0}), "serve") as server:
        started(http, SLOW)
        assert leave(server, signal.SIGTERM) < 8
    assert phases(one) == ["QUEUED0"]


@pytest.mark.parametrize("role", ["serve", "worker"])
def test_a_second_ctrl_c_waits_for_nothing(one: Settings, http: httpx.Client, role: str) -> None:
    apart = one.model_copy(update={"worker_in_serve": role == "serve"})
    with command(apart, "serve") as server:
        if role == "serve":
            started(http, SLOW)
            assert leave(server, signal.SIGINT, signal.SIGINT) < 8
        else:
            with command(apart, "worker") as worker:
                started(http, SLOW)
                assert leave(worker, signal.SIGINT, signal.SIGINT) < 8
    assert phases(one) == ["QUEUED0"]
