"""Queries that took long are kept for the operator, and for nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.operations.conftest import Operated
from tests.support import soon
from vo_service.db.connect import Role, conninfo
from vo_service.services.slow import forget_slow
from vo_service.settings import Settings

_QUERY = "SELECT obs_id, s_ra FROM ivoa.obscore WHERE s_ra > 140 ORDER BY s_ra"


def _status(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_DATABASE_URL": settings.database_url or "",
    }
    command = (str(Path(sys.executable).parent / "vo-service"), "status", *words)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_slow_query_is_shown_with_its_text_and_plan(operated: Operated) -> None:
    answer = httpx.get(
        f"{operated.url}/tap/sync",
        params={"LANG": "ADQL", "QUERY": _QUERY, "RESPONSEFORMAT": "csv", "MAXREC": "3"},
    )
    name = answer.headers["x-request-id"]
    with psycopg.connect(operated.settings.database_url or "", autocommit=True) as admin:
        question = "SELECT FROM archive.slow_query WHERE request_id = %s"
        assert soon(lambda: bool(admin.execute(question, [name]).fetchall()))
    shown = _status(operated.settings, "--slow", "--json", "--limit", "1000")
    assert shown.returncode == 0, shown.stderr
    [kept] = [query for query in json.loads(shown.stdout) if query["request_id"] == name]
    assert (kept["query"], kept["rows"], kept["outcome"]) == (_QUERY, 3, "complete")
    assert 0 < kept["seconds"] < 60
    plan = _status(operated.settings, "--plan", str(kept["slow_id"]))
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.startswith(_QUERY)
    assert "cost=" in plan.stdout
    gone = _status(operated.settings, "--plan", "999999999")
    assert (gone.returncode, gone.stderr) == (
        1, "vo-service: 999999999: no slow query of this number is kept\n",
    )  # fmt: skip


def test_who_searches_cannot_read_what_others_searched(operated: Operated) -> None:
    for role in (Role.READER, Role.MEMBER, Role.DOOR, Role.JOBS):
        with (
            psycopg.connect(conninfo(operated.settings, role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM archive.slow_query")
    answer = httpx.get(
        f"{operated.url}/tap/sync",
        params={"LANG": "ADQL", "QUERY": "SELECT * FROM archive.slow_query"},
    )
    assert answer.status_code == 400


def test_slow_queries_are_forgotten_in_time(operated: Operated) -> None:
    settings = operated.settings
    old = datetime.now(UTC) - timedelta(days=settings.slow_query_days, hours=1)
    with psycopg.connect(conninfo(settings, Role.DOOR)) as door:
        for began in (old, datetime.now(UTC)):
            door.execute(
                "INSERT INTO archive.slow_query (began, seconds, rows, outcome, query) "
                "VALUES (%s, 9, 0, 'left', 'forget me')",
                [began],
            )
    assert forget_slow(settings) == 1
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        left = writer.execute(
            "SELECT count(*) FROM archive.slow_query WHERE query = 'forget me'"
        ).fetchone()
    assert left == (1,)
