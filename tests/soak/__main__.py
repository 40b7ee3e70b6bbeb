"""Soak: a served archive under mixed load for as long as told, with kill -9 every minute.

    python -m tests.soak --minutes 30 [--kill-s 60] [--seed N] [--home DIR] [--report FILE]

Makes the demonstration archive with its own cluster, serves it with one web process and two
workers, learns the right answers, then queries, downloads, harvests, ingests and withdraws all
together, some two or three requests a second, while something dies every minute. Tells errors by
kind, latencies, memory, descriptors and sessions; exit status 1 if a promise was broken: a lost
job, a wrong byte, an answer 500, something withdrawn that was served, something left over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.soak.load import Load
from tests.soak.place import Killer, Place
from tests.soak.tally import Tally
from tests.soak.watch import Watch, left_over

_QUIET_S = 25.0
_READY_LIMIT_S = 120.0


def run(home: Path, minutes: float, kill_s: float, seed: int) -> tuple[list[str], list[str]]:
    """The report, in lines of Markdown, and what was broken."""
    dice = random.Random(seed)
    place = Place(home)
    killer = Killer(place, dice)
    tally = Tally(lambda: killer.last)
    load, watch = Load(place, tally, seed), Watch(place)
    place.make()
    place.start()
    try:
        _wait_ready(place)
        load.learn()
        print(f"soaking for {minutes:g} minutes, seed {seed}", flush=True)
        _soak(load, tally, watch, killer, minutes, kill_s, dice)
        _settle(load, tally)
        sessions = watch.sessions_now()
        tally.broken += left_over(place)
        status, said = place.run("check", "--files")
        if status:
            tally.broken.append(f"check: {said.strip()}")
        logs = _log_lines(place)
    finally:
        place.stop()
    lines = [
        f"{minutes:g} minutes; killed with -9: {_counts(killer.kills)}; started again: "
        f"{_counts(place.restarts)}.",
        "",
        *tally.table(),
        "",
        "Errors that clients saw:",
        "",
        *(tally.reasons() or ["- none"]),
        "",
        f"Jobs: {load.handed_in} handed in, {load.ended} ended with the right result.",
        "",
        *watch.growth(),
        "",
        f"Sessions of the database, most: {_counts(watch.sessions)}; at the end, quiet: "
        f"{_counts(Counter(sessions))}.",
        "",
        "Log lines of level error:",
        "",
        *([f"- {count} times: {text}" for text, count in logs.most_common(20)] or ["- none"]),
    ]
    return lines, tally.broken


def _soak(
    load: Load, tally: Tally, watch: Watch, killer: Killer, minutes: float, kill_s: float,
    dice: random.Random,
) -> None:  # fmt: skip
    over = threading.Event()
    threads = [
        threading.Thread(target=_again, args=(over, tally, name, every, act, dice.random()))
        for name, (every, act) in load.activities().items()
    ]
    for thread in threads:
        thread.start()
    until, kill = time.monotonic() + minutes * 60, time.monotonic() + kill_s
    while time.monotonic() < until:
        watch.look()
        if time.monotonic() >= kill and until - time.monotonic() > kill_s / 2:
            killer.strike()
            kill += kill_s * dice.uniform(0.8, 1.2)
            print(f"{time.strftime('%H:%M:%S')} killed {_counts(killer.kills)}", flush=True)
        for text in tally.broken[len(_told) :]:
            _told.append(text)
            print(f"BROKEN {text}", flush=True)
        time.sleep(5)
    over.set()
    for thread in threads:
        thread.join()


_told: list[str] = []


def _again(
    over: threading.Event,
    tally: Tally,
    name: str,
    every: float,
    act: Callable[[httpx.Client, random.Random], Any],
    seed: float,
) -> None:
    dice = random.Random(seed)
    with httpx.Client(timeout=60) as http:
        while not over.wait(dice.uniform(0, 2 * every)):
            try:
                act(http, dice)
            except httpx.HTTPError as error:
                tally.failed(name, error)
            except Exception as error:  # a mistake in the load itself must be seen, too
                tally.breach(f"{name}: {error!r}")


def _settle(load: Load, tally: Tally) -> None:
    """Let all jobs end, then wait until nothing happens any more."""
    until = time.monotonic() + 300
    with httpx.Client(timeout=60) as http:
        while load.jobs and time.monotonic() < until:
            try:
                if not load.look(http, wait_s=10):
                    time.sleep(0.5)
            except httpx.HTTPError as error:
                tally.failed("job", error)
    tally.broken += [f"a job did not end: {url}" for url, _ in load.jobs]
    time.sleep(_QUIET_S)


def _wait_ready(place: Place) -> None:
    until = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < until:
        try:
            url = f"http://127.0.0.1:{place.settings.operator_port}/health/ready"
            if httpx.get(url).status_code == 200:
                httpx.get(f"{place.settings.root_url}/")
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit("the archive is not ready; see logs/ in its home")


def _log_lines(place: Place) -> Counter[str]:
    """Lines of level error by their first words, those of defects with their exception."""
    found: Counter[str] = Counter()
    for file in place.logs.glob("*.log"):
        for line in file.read_text("utf-8", "replace").splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                if "Error" in line or "Traceback" in line:
                    found[f"{file.stem}: {line[:150]}"] += 1
                continue
            if isinstance(said, dict) and said.get("level") in {"error", "critical"}:
                last = said.get("exception", "").strip().splitlines()[-1:]
                text = " ".join([said["logger"], said["message"][:100], *last])
                found[f"{file.stem}: {text[:220]}"] += 1
    return found


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items())) or "nothing"


def main() -> None:
    """Soak, tell, end with 1 if something was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-s", type=float, default=60.0, help="seconds between kills")
    parser.add_argument("--seed", type=int, default=os.getpid())
    parser.add_argument("--home", type=Path, help="an empty directory; kept afterwards")
    parser.add_argument("--report", type=Path, help="write the report to this file, too")
    given = parser.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="vo-soak-"))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    try:
        lines, broken = run(home.absolute(), given.minutes, given.kill_s, given.seed)
    finally:
        if given.home is None:
            shutil.rmtree(home, ignore_errors=True)
    lines += ["", "Promises broken:", "", *([f"- {text}" for text in broken] or ["- none"])]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.report:
        given.report.write_text(text, "utf-8")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
