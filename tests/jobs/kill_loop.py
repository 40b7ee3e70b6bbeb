"""Jobs under fire: workers, server and PostgreSQL's processes killed with -9 at random moments.

    python -m tests.jobs.kill_loop [--jobs 50] [--seed N]

An archive of its own, with its own cluster, is made, served, and worked on by the server and one
more worker. While jobs are handed in, something dies every second or so. Afterwards every job
must have ended, each result must be whole and right, and nothing may be left over.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from astropy.io.votable import parse_single_table
from lxml import etree

from tests.clusters import lay_cluster
from tests.jobs.archive import ROWS, populate, start
from tests.jobs.client import UWS
from tests.web.conftest import free_port
from vo_service.db.connect import Role, admin_conninfo, conninfo
from vo_service.db.schema import upgrade
from vo_service.services.setup import initialise
from vo_service.settings import Settings

#: Queries, and how many rows and which first value each must give.
QUERIES = (
    ("SELECT obs_id, s_ra, s_dec FROM ivoa.obscore ORDER BY obs_id", ROWS, "obs-000000"),
    # Pairs of observations in a tenth of the sky with all: some seconds.
    (
        "SELECT COUNT(*) AS n FROM ivoa.obscore AS a, ivoa.obscore AS b "
        "WHERE a.s_ra < 18 AND SQRT(b.s_dec + 90.001) >= 0",
        1,
        ROWS // 20 * ROWS,
    ),
    ("SELECT COUNT(*) AS n FROM ivoa.obscore WHERE s_ra < 90", 1, ROWS // 4),
)

ENDED = {"COMPLETED", "ERROR", "ABORTED"}
_MEMORY = 1024**3


@dataclass
class Outcome:
    """What became of the jobs."""

    phases: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Fire:
    """Kills and starts again: a server with a worker in it, and a worker."""

    def __init__(self, settings: Settings, dice: random.Random) -> None:
        self._settings = settings
        self._dice = dice
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self.kills: Counter[str] = Counter()

    def start(self) -> None:
        for name in ("serve", "worker"):
            process = self._processes.get(name)
            if process is None or process.poll() is not None:
                self._processes[name] = start(self._settings, name)

    def strike(self) -> None:
        target = self._dice.choice(["serve", "worker", "backend", "backend"])
        if target == "backend":
            self._kill_backend()
        else:
            self._processes[target].kill()
            self._processes[target].wait()
        self.kills[target] += 1
        time.sleep(self._dice.uniform(0, 0.5))
        self.start()

    def stop(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            process.wait(30)

    def _kill_backend(self) -> None:
        """Kill a session's process: PostgreSQL then ends all sessions and recovers."""
        with contextlib.suppress(psycopg.Error, ProcessLookupError):
            with psycopg.connect(admin_conninfo(self._settings, "vo")) as connection:
                rows = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                    "AND datname = 'vo' AND pid <> pg_backend_pid()"
                ).fetchall()
            if rows:
                os.kill(self._dice.choice(rows)[0], signal.SIGKILL)


def run(place: Path, jobs: int, seed: int) -> Outcome:
    """Hand in *jobs* jobs under fire, and look at each when it is over."""
    dice = random.Random(seed)
    with _archive(place) as settings:
        fire = Fire(settings, dice)
        fire.start()
        try:
            urls = _hand_in(settings, fire, dice, jobs)
            outcome = _look(urls)
            outcome.faults += _left_over(settings)
        finally:
            fire.stop()
        outcome.kills = fire.kills
    return outcome


@contextlib.contextmanager
def _archive(place: Path) -> Iterator[Settings]:
    home = place / "fire"
    initialise(home)
    settings = Settings(home=home, port=free_port(), job_attempts=4)
    cluster = lay_cluster(home)
    cluster.start(memory=_MEMORY)
    try:
        upgrade(settings)
        with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as connection:
            populate(connection)
        yield settings
    finally:
        cluster.stop()


def _hand_in(
    settings: Settings, fire: Fire, dice: random.Random, count: int
) -> dict[str, tuple[str, int, object]]:
    """Addresses of the jobs, and what each asks."""
    urls: dict[str, tuple[str, int, object]] = {}
    over = threading.Event()

    def submit() -> None:
        with httpx.Client(timeout=10) as http:
            while len(urls) < count:
                wanted = dice.choice(QUERIES)
                form = {"LANG": "ADQL", "QUERY": wanted[0], "PHASE": "RUN", "MAXREC": str(ROWS)}
                with contextlib.suppress(httpx.HTTPError):
                    response = http.post(f"{settings.root_url}/tap/async", data=form)
                    if response.status_code == 303:
                        urls[response.headers["location"]] = wanted
                time.sleep(0.8)
        over.set()

    client = threading.Thread(target=submit)
    client.start()
    while not over.wait(dice.uniform(0.1, 0.9)):
        fire.strike()
    client.join()
    return urls


def _look(urls: dict[str, tuple[str, int, object]]) -> Outcome:
    """Wait for each job to end, and compare its result with what it must be."""
    outcome = Outcome()
    with httpx.Client(timeout=70) as http:
        until = time.monotonic() + 60 + 3 * len(urls)
        for url, (_, rows, first) in urls.items():
            phase = "nothing"
            while phase not in ENDED and time.monotonic() < until:
                response = http.get(url, params={"WAIT": 10})
                if response.status_code == 503:
                    time.sleep(0.2)
                    continue
                if response.status_code != 200:
                    outcome.faults.append(f"{url} is lost: {response.status_code}")
                    break
                job = etree.fromstring(response.content)
                phase = job.findtext(UWS + "phase") or ""
            outcome.phases[phase] += 1
            if phase == "ERROR":
                outcome.reasons[job.findtext(f"{UWS}errorSummary/{UWS}message") or ""] += 1
            elif phase == "COMPLETED":
                outcome.faults += _compare(http, url, job, rows, first)
            elif phase != "ABORTED":
                outcome.faults.append(f"{url} did not end: it is {phase}")
    return outcome


def _compare(
    http: httpx.Client, url: str, job: etree._Element, rows: int, first: object
) -> list[str]:
    response = http.get(f"{url}/results/result")
    reference = job.find(f"{UWS}results/{UWS}result")
    if response.status_code != 200 or reference is None:
        return [f"{url} has no result: {response.status_code}"]
    if len(response.content) != int(reference.get("size") or -1):
        return [f"{url}: {len(response.content)} bytes, not {reference.get('size')}"]
    table = parse_single_table(io.BytesIO(response.content)).array
    value = table[0][0]
    if len(table) != rows or value != first:
        return [f"{url}: {len(table)} rows, the first {value!r}; expected {rows}, {first!r}"]
    return []


def _left_over(settings: Settings) -> list[str]:
    """Statements that still run, and drafts of jobs that have ended."""
    time.sleep(1)
    faults = [f"left over: {draft}" for draft in settings.jobs.glob("*/draft-*")]
    with psycopg.connect(admin_conninfo(settings, "vo")) as connection:
        rows = connection.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'active' "
            "AND query LIKE '%obscore_1%' AND pid <> pg_backend_pid()"
        ).fetchall()
    return faults + [f"still runs: {query[:60]}" for (query,) in rows]


def main() -> None:
    """Run the loop and tell what happened; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=os.getpid())
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-fire-"))
    place.chmod(0o755)
    try:
        outcome = run(place, given.jobs, given.seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"seed {given.seed}; killed: {dict(outcome.kills)}; ended: {dict(outcome.phases)}")
    for reason, count in outcome.reasons.items():
        print(f"  {count} x {reason}")
    for fault in outcome.faults:
        print(f"BROKEN: {fault}")
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
