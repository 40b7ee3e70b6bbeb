"""Jobs as PyVO and STILTS use them."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import pyvo
from astropy.table import Table

from tests.jobs.archive import QUICK, SLOW
from tests.jobs.conftest import Served


@pytest.fixture(scope="module")
def tap(served: Served) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(served.url)


def test_pyvo_submits_runs_waits_and_fetches(tap: pyvo.dal.TAPService) -> None:
    with tap.submit_job(QUICK, maxrec=4) as job:
        assert job.phase == "PENDING"
        assert job.query == QUICK
        job.run().wait()
        job.raise_if_error()
        assert job.phase == "COMPLETED"
        table = job.fetch_result()
        assert list(table["obs_id"]) == [f"obs-{i:06d}" for i in range(4)]
        assert table.status[0] == "OVERFLOW"
        assert job.uws_version == "1.1"


def test_pyvo_runs_async_in_one_call(tap: pyvo.dal.TAPService) -> None:
    assert len(tap.run_async("SELECT obs_id, s_ra FROM ivoa.obscore", maxrec=20_000)) == 20_000


def test_pyvo_aborts_and_deletes(tap: pyvo.dal.TAPService) -> None:
    job = tap.submit_job(SLOW)
    job.run()
    job.abort()
    assert job.phase == "ABORTED"
    url = job.url
    job.delete()
    with pytest.raises(pyvo.dal.DALServiceError, match="404"):
        pyvo.dal.AsyncTAPJob(url)


def test_pyvo_changes_query_duration_and_destruction(tap: pyvo.dal.TAPService) -> None:
    with tap.submit_job(SLOW) as job:
        job.query = QUICK
        assert job.query == QUICK
        job.execution_duration = 60
        assert job.execution_duration.sec == 60
        wanted = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(days=3)
        job.destruction = wanted
        assert job.destruction.to_datetime() == wanted
        job.run().wait()
        assert len(job.fetch_result()) == 5


def test_pyvo_is_told_what_was_wrong(tap: pyvo.dal.TAPService) -> None:
    with tap.submit_job("SELECT s_raa FROM ivoa.obscore") as job:
        job.run().wait()
        assert job.phase == "ERROR"
        with pytest.raises(pyvo.dal.DALQueryError, match="did you mean s_ra"):
            job.raise_if_error()


def test_pyvo_uploads_a_table_to_a_job(tap: pyvo.dal.TAPService) -> None:
    mine = Table({"name": ["obs-000003", "obs-000001"], "rank": [3, 1]})
    query = (
        "SELECT o.obs_id, m.rank FROM ivoa.obscore AS o "
        "JOIN tap_upload.mine AS m ON o.obs_id = m.name ORDER BY m.rank"
    )
    rows = tap.run_async(query, uploads={"mine": mine})
    assert [(row["obs_id"], row["rank"]) for row in rows] == [("obs-000001", 1), ("obs-000003", 3)]
    with tap.submit_job(query) as job:
        job.upload(mine=mine)
        job.run().wait()
        assert len(job.fetch_result()) == 2


def test_pyvo_finds_its_job_in_the_list(tap: pyvo.dal.TAPService) -> None:
    with tap.submit_job(QUICK) as job:
        assert job.job_id in {known.jobid for known in tap.get_job_list(phases=["PENDING"])}


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_taplint_finds_nothing_wrong_with_jobs(served: Served) -> None:
    done = subprocess.run(
        ("stilts", "taplint", f"tapurl={served.url}", "stages=TMS CAP QAS UWS", "report=EWF"),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(line.startswith("Totals: Errors: 0;") for line in lines), done.stdout
    assert [line for line in lines if re.match(r"[EF]-", line)] == []
    assert [line for line in lines if re.match(r"W-(QAS|UWS)", line)] == []
