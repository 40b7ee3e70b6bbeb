"""Publication under fire: publish, withdraw, put back, renew; killed with -9 at random moments.

    python -m tests.archive.kill_loop [--rounds 200] [--frames 60] [--seed N]

A process changes states and links as fast as it can, now and then two at once, until it is
killed or its database session is. Then: whatever disagrees must stand in the journal; and after
the next run: no link without a public row, no public row without its link, no change of state
lost or doubled, every row on its side.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.archive import victim
from tests.archive.toy import ask, faults, ingest_toys, write_collection, write_toys
from vo_service.db.cluster import Cluster
from vo_service.db.connect import admin_conninfo
from vo_service.db.schema import upgrade
from vo_service.services.publication import recover
from vo_service.settings import Settings

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.archive.victim"])
_MEMORY = 1024**3


@dataclass
class Outcome:
    """What happened: how processes ended, how many changes were made, what was broken."""

    ends: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    changes: int = 0
    faults: list[str] = field(default_factory=list)


def run(settings: Settings, rounds: int, frames: int, seed: int) -> Outcome:
    """Kill *rounds* times on an empty archive."""
    dice = random.Random(seed)
    root = write_collection(settings, more='withdrawn: hide\nmetadata: "open"\n')
    write_toys(root, range(frames))
    ingest_toys(settings, root)
    outcome = Outcome()
    for number in range(rounds):
        victims = [_start(settings, dice, frames) for _ in range(dice.choice([1, 1, 2]))]
        time.sleep(dice.uniform(0, 0.5))
        outcome.ends[_strike(settings, dice, victims)] += 1
        broken = faults(settings, settled=False)
        outcome.recovered += recover(settings).count
        broken += faults(settings)
        outcome.faults += [f"round {number}: {fault}" for fault in broken]
    [(outcome.changes,)] = ask(settings, "SELECT count(*) FROM archive.state_change")
    return outcome


def _start(
    settings: Settings, dice: random.Random, frames: int
) -> multiprocessing.process.BaseProcess:
    ready = _PROCESSES.Event()
    values = settings.model_dump(mode="json", include={"home", "database_url"})
    process = _PROCESSES.Process(target=victim.work, args=(values, dice.random(), frames, ready))
    process.start()
    assert ready.wait(60)
    return process


def _strike(
    settings: Settings,
    dice: random.Random,
    victims: list[multiprocessing.process.BaseProcess],
) -> str:
    """Kill the processes, or their sessions; they end then, too."""
    how = dice.choice(["killed", "killed", "killed", "session lost"])
    for process in victims:
        while how == "session lost" and process.is_alive():
            _end_sessions(settings)
            process.join(0.02)
        process.kill()
        process.join()
    _end_sessions(settings)  # those of the dead, which PostgreSQL would notice in a moment
    return how


def _end_sessions(settings: Settings) -> None:
    with psycopg.connect(admin_conninfo(settings, "vo"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        )


@contextlib.contextmanager
def _archive(place: Path) -> Iterator[Settings]:
    settings = Settings(home=place / "home")
    cluster = Cluster(settings.home)
    cluster.start(memory=_MEMORY)
    try:
        upgrade(settings)
        yield settings
    finally:
        cluster.stop()


def main() -> None:
    """Run the loop and tell what happened; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=os.getpid())
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-fire-"))
    place.chmod(0o755)
    try:
        with _archive(place) as settings:
            outcome = run(settings, given.rounds, given.frames, given.seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(
        f"seed {given.seed}: {dict(outcome.ends)}; {outcome.changes} changes of state, "
        f"{outcome.recovered} of them completed by the next run"
    )
    for fault in outcome.faults:
        print(f"BROKEN: {fault}")
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
