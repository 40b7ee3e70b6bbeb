"""A second vo-service, crawled: all of it, then what changed, whatever happened between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
import pyvo
import requests

from tests.elsewhere.sky import Shot, add_shots, changed, counts_about, remove_shots
from tests.web.conftest import serving
from vo_service.db.connect import Role, conninfo
from vo_service.errors import NotFoundError, UsageError
from vo_service.services import origins
from vo_service.services.crawl import crawl
from vo_service.services.origins import (
    CrawlRequest,
    forget_origin,
    list_origins,
    register_origin,
)
from vo_service.settings import Settings

_POSITIONS = [(150.0, 70.0, 0.2), (150.9, 69.6, 1.0), (0.0, 0.0, 5.0), (210.0, -89.0, 3.0)]


def stored(settings: Settings, columns: str = "obs_publisher_did") -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(settings, Role.READER)) as connection:
        return connection.execute(
            f"SELECT {columns} FROM archive.elsewhere ORDER BY obs_publisher_did, origin".encode()
        ).fetchall()


def dids(settings: Settings) -> list[object]:
    return [did for (did,) in stored(settings)]


def knowing(site: Settings, ours: Settings, kind: str = "tap", **more: object) -> str:
    """Let ours know the site; the name of the origin."""
    request = CrawlRequest(target=f"{site.root_url}/{kind}", name="site", **more)  # type: ignore[arg-type]  # fields of the request
    return register_origin(ours, request).name


def command(settings: Settings, *arguments: str, **more: str) -> list[str]:
    return [str(Path(sys.executable).parent / "vo-service"), "crawl", *arguments]


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return os.environ | {
        "VO_HOME": str(settings.home),
        "VO_DATABASE_URL": settings.database_url or "",
        "VO_CRAWL_ROWS": str(settings.crawl_rows),
        **more,
    }


@pytest.mark.parametrize("kind", ["tap", "sia2"])
def test_all_rows_of_a_service_arrive_and_the_second_time_none_is_written(
    site: Settings, ours: Settings, shots: list[Shot], kind: str
) -> None:
    name = knowing(site, ours, kind)
    # SIA 2.0 finds by time what does not fit into one answer, so not what has none.
    wanted = sorted(shot.did for shot in shots if kind == "tap" or shot.t_min is not None)
    done = crawl(ours, name)
    assert (done.problems, done.refused) == ([], [])
    assert dids(ours) == wanted
    assert (done.products, done.read) == (len(wanted), len(wanted))
    again = crawl(ours, name)
    assert (again.problems, again.read, again.products) == ([], 0, len(wanted))
    assert again.unchanged == len(wanted) or kind == "sia2"


def test_counts_at_a_position_are_those_of_brute_force_on_the_page_and_by_pyvo(
    site: Settings, ours: Settings, shots: list[Shot]
) -> None:
    crawl(ours, knowing(site, ours))
    add_shots(ours, shots[:50])
    with serving(ours):
        service = pyvo.dal.TAPService(f"{ours.root_url}/tap")
        for ra, dec, radius in _POSITIONS:
            expected = {("site", *k): n for k, n in counts_about(shots, ra, dec, radius).items()}
            expected |= {
                ("here", *k): n for k, n in counts_about(shots[:50], ra, dec, radius).items()
            }
            asked = {"pos": f"{ra},{dec}", "radius": str(radius), "RESPONSEFORMAT": "json"}
            answer = requests.get(f"{ours.root_url}/elsewhere", params=asked, timeout=60)
            found = {tuple(row[:3]): row[3] for row in answer.json()["data"]}
            assert found == expected
            rows = service.search(
                "SELECT origin, facility_name, instrument_name, COUNT(*) AS n "
                "FROM elsewhere.everything WHERE 1 = INTERSECTS("
                f"CIRCLE('ICRS', {ra}, {dec}, {radius}), s_region) "
                "GROUP BY origin, facility_name, instrument_name"
            )
            assert {tuple(map(str, list(r.values())[:3])): r["n"] for r in rows} == expected
        assert len(service.search("SELECT obs_id FROM ivoa.obscore")) == 50
        page = requests.get(f"{ours.root_url}/elsewhere/", timeout=60)
        assert (page.status_code, "What exists" in page.text) == (200, True)
        wrong = requests.get(f"{ours.root_url}/elsewhere/?pos=x", timeout=60)
        assert (wrong.status_code, "UsageFault: POS" in wrong.text) == (400, True)


@pytest.mark.parametrize("kind", ["tap", "sia2"])
def test_rows_that_came_moved_or_went_at_the_origin_do_so_here(
    site: Settings, ours: Settings, shots: list[Shot], kind: str
) -> None:
    name = knowing(site, ours, kind)
    before = crawl(ours, name)
    dated = [shot for shot in shots if shot.t_min is not None]
    moved = changed(dated[10], t_min=57_299.5, ra=(dated[10].ra + 180.0) % 360.0)
    new = changed(dated[11], number=5000, t_min=56_777.0)
    touched = [dated[10], *dated[20:25]]
    remove_shots(site, touched)
    add_shots(site, [moved, new])
    try:
        done = crawl(ours, name)
        known: dict[str, float] = dict(stored(ours, "obs_publisher_did, s_ra"))
        assert known.keys().isdisjoint(shot.did for shot in dated[20:25])
        assert known[moved.did] == moved.ra
        assert new.did in known
        assert (done.problems, done.products) == ([], before.products - 4)
        if kind == "tap":
            assert 0 < done.read < before.read
    finally:
        remove_shots(site, [moved, new])
        add_shots(site, touched)


def test_a_text_that_changed_is_seen_by_a_full_crawl(
    site: Settings, ours: Settings, shots: list[Shot]
) -> None:
    name = knowing(site, ours)
    crawl(ours, name)
    renamed = changed(shots[0], target="renamed")
    remove_shots(site, [shots[0]])
    add_shots(site, [renamed])
    try:
        assert crawl(ours, name).read == 0
        assert 0 < crawl(ours, name, full=True).read < len(shots)
        assert (renamed.did, "renamed") in stored(ours, "obs_publisher_did, target_name")
    finally:
        remove_shots(site, [renamed])
        add_shots(site, [shots[0]])


@pytest.mark.parametrize("kind", ["tap", "sia2"])
def test_a_crawl_that_was_killed_goes_on_where_it_was(
    site: Settings, ours: Settings, shots: list[Shot], kind: str
) -> None:
    name = knowing(site, ours, kind)
    slow = environment(ours, VO_CRAWL_PAUSE_S="0.3")
    with subprocess.Popen(command(ours, name), env=slow, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while len(stored(ours)) < 70 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    there = len(stored(ours))
    wanted = sorted(shot.did for shot in shots if kind == "tap" or shot.t_min is not None)
    assert 70 <= there < len(wanted)
    done = crawl(ours, name)
    assert (done.problems, dids(ours)) == ([], wanted)
    assert done.read == len(wanted) - there


def test_only_what_is_wanted_of_a_service_is_read(
    site: Settings, ours: Settings, shots: list[Shot]
) -> None:
    run = subprocess.run(
        command(ours, f"{site.root_url}/tap", "--name", "near", "--region", "150 70 1.5"),
        env=environment(ours), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    near = counts_about([changed(s, radius=0.0) for s in shots], 150.0, 70.0, 1.5).total()
    assert run.stdout.startswith(f"near: {near} rows; {near} read now, 0 unchanged, 0 refused.")
    listed = subprocess.run(
        command(ours, "--list"),
        env=environment(ours), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert listed.stdout.startswith(f"near: tap {site.root_url}/tap, {near} rows, 0 refused, read ")
    assert forget_origin(ours, "near") == near
    assert (list_origins(ours), stored(ours)) == ([], [])


def test_a_worker_repeats_what_is_due(site: Settings, ours: Settings, shots: list[Shot]) -> None:
    knowing(site, ours, every_days=1)
    origins._look(ours, Event())  # a look of the worker's task
    (known,) = list_origins(ours)
    assert (known.products, known.problem) == (len(shots), None)
    origins._look(ours, Event())
    assert list_origins(ours) == [known]


def test_what_cannot_be_crawled_is_told(site: Settings, ours: Settings) -> None:
    for target, said in (
        (f"{ours.root_url}/tap", "is this archive"),
        (f"{site.root_url}/nothing", "say --protocol tap or sia2"),
        (f"{site.root_url}/soda", "has no TAP or SIA 2.0, only: ivo://ivoa.net/std/soda"),
        ("ftp://site.example/tap", "expected http:"),
    ):
        with pytest.raises(UsageError, match=said.replace("(", r"\(")):
            register_origin(ours, CrawlRequest(target=target))
    for name in ("here", "Ab", "a b", "-a"):
        with pytest.raises(UsageError, match="--name"):
            register_origin(ours, CrawlRequest(target=f"{site.root_url}/tap", name=name))
    with pytest.raises(NotFoundError, match="crawl --list"):
        crawl(ours, "nobody")
