"""A database with jobs is brought to the schema that knows other services."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.support import settings_at, upgrade_to
from vo_service.db.connect import Role, conninfo
from vo_service.db.jobs import JobStore
from vo_service.db.schema import upgrade
from vo_service.model.job import Phase, Result

pytestmark = pytest.mark.anyio

_JOB = (
    "INSERT INTO uws.job (job_id, client, phase, parameters, destruction, execution_duration, "
    "rows_written, bytes_written, result_type, result_suffix) "
    "VALUES (%s, 'a', %s, '[]', now() + interval '1 day', 10, 3, 99, %s, %s)"
)


async def test_jobs_and_their_results_survive(empty_database_url: str, tmp_path: Path) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0008")
    with psycopg.connect(conninfo(settings, Role.JOBS)) as jobs:
        jobs.execute(_JOB, ("d" * 32, "COMPLETED", "text/csv", "csv"))
        jobs.execute(_JOB, ("p" * 32, "PENDING", None, None))
    upgrade(settings)
    async with await psycopg.AsyncConnection.connect(conninfo(settings, Role.JOBS)) as jobs:
        done = await JobStore(jobs).get("d" * 32)
        pending = await JobStore(jobs).get("p" * 32)
    assert done is not None
    assert (done.service, done.phase) == ("tap", Phase.COMPLETED)
    assert done.results == (Result("text/csv", 99, "csv", "result"),)
    assert pending is not None
    assert (pending.phase, pending.results) == (Phase.PENDING, ())
