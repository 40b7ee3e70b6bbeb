"""Many clients at once, slow readers among them: ``python -m tests.edge.load --clients 500``.

Against a running archive (``--url``), or a small demonstration archive that it makes and serves.
Every client has an address of its own (127.x.y.z) but for those of one greedy address, and asks
again and again: queries, searches, links, files, pages. What must hold: no answer of 500 and more,
``Retry-After`` in every 429, and an attentive client is served all the while. Exit status 1 else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.edge.wire import Answer, ask

__all__ = ["Outcome", "run"]

_BIG = "SELECT a.* FROM ivoa.obscore AS a, ivoa.obscore AS b, ivoa.obscore AS c"
_SMALL = "SELECT TOP 50 obs_id, s_ra, s_dec, access_url FROM ivoa.obscore"
_PATHS = (
    f"/tap/sync?LANG=ADQL&QUERY={quote(_SMALL)}",
    "/sia2/query?POS=CIRCLE+149.4+69.6+0.5",
    "/tap/capabilities",
    "/tap/sync?LANG=ADQL&RESPONSEFORMAT=csv&QUERY=" + quote("SELECT COUNT(*) FROM ivoa.obscore"),
    "/tap/tables",
    "/",
)
_SLOW = f"/tap/sync?LANG=ADQL&MAXREC=100000&QUERY={quote(_BIG)}"


@dataclass(slots=True)
class Outcome:
    """What all clients together saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    good_s: list[float] = field(default_factory=list)
    attentive_s: list[float] = field(default_factory=list)
    attentive: Counter[int] = field(default_factory=Counter)
    without_retry: int = 0
    slow_cut: int = 0
    slow_whole: int = 0

    def note(self, answer: Answer) -> None:
        self.statuses[answer.status] += 1
        if answer.trouble:
            self.troubles[answer.trouble] += 1
        if answer.status == 200:
            self.good_s.append(answer.seconds)
        if answer.status == 429 and "retry-after" not in answer.headers:
            self.without_retry += 1

    @property
    def faults(self) -> list[str]:
        found = [f"{count} answers {status}" for status, count in self.statuses.items()
                 if status >= 500]  # fmt: skip
        if self.without_retry:
            found.append(f"{self.without_retry} answers 429 without Retry-After")
        if not self.attentive[200] or self.attentive.total() - self.attentive[200]:
            found.append(f"the attentive client got {dict(self.attentive)}")
        return found


async def run(url: str, clients: int, seconds: float, slow_share: float) -> Outcome:
    """Let *clients* ask for *seconds*; a part of them reads 200 bytes per second."""
    outcome, until = Outcome(), time.monotonic() + seconds
    slow = round(clients * slow_share)
    async with asyncio.TaskGroup() as group:
        for number in range(slow):
            group.create_task(_slow(url, _address(number), outcome, until))
        for number in range(slow, clients):
            # A fifth of the others comes from one address, as behind the door of an institute.
            source = "127.9.9.9" if number % 5 == 0 else _address(number)
            group.create_task(_busy(url, source, outcome, until))
        group.create_task(_attentive(url, outcome, until))
    return outcome


def _address(number: int) -> str:
    return f"127.1.{number // 200}.{number % 200 + 1}"


async def _busy(url: str, source: str, outcome: Outcome, until: float) -> None:
    dice = random.Random(source)
    await asyncio.sleep(dice.random())
    while time.monotonic() < until:
        answer = await ask(url + dice.choice(_PATHS), source=source)
        outcome.note(answer)
        await asyncio.sleep(dice.uniform(0.2, 1.0))


async def _slow(url: str, source: str, outcome: Outcome, until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        answer = await ask(url + _SLOW, source=source, bytes_per_s=200, give_up_s=left)
        outcome.note(answer)
        if answer.status == 200:
            outcome.slow_cut += answer.trouble != "given up" and not answer.whole
            outcome.slow_whole += answer.whole
        await asyncio.sleep(1.0)


async def _attentive(url: str, outcome: Outcome, until: float) -> None:
    """Asks for what is light and waits as told: it must be served all the while."""
    while time.monotonic() < until:
        answer = await ask(f"{url}/tap/capabilities", source="127.2.2.2")
        outcome.attentive[answer.status] += 1
        outcome.attentive_s.append(answer.seconds)
        await asyncio.sleep(0.5)


@contextmanager
def _served() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vo-load-") as home:
        Path(home).chmod(0o755)
        environment = os.environ | {"VO_HOME": home, "VO_PORT": "0"}
        command = (sys.executable, "-c", "from vo_service.cli import main; main()")
        subprocess.run((*command, "demo", "--small", "--make-only"), env=environment, check=True)
        with subprocess.Popen(
            (*command, "serve"), env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            try:
                yield line.removeprefix("ready: ").strip().rstrip("/")
            finally:
                process.terminate()


def _percentiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    parts = (ordered[min(len(ordered) - 1, int(len(ordered) * p))] for p in (0.5, 0.95, 0.99))
    return " / ".join(f"{part:.3f}" for part in parts)


def _tell(outcome: Outcome) -> None:
    print(f"answers          {dict(sorted(outcome.statuses.items()))}")
    print(f"without an end   {dict(outcome.troubles)}")
    print(f"slow readers     {outcome.slow_cut} cut, {outcome.slow_whole} read to the end")
    print(f"200, p50/95/99   {_percentiles(outcome.good_s)} s")
    print(f"attentive client {dict(outcome.attentive)}, {_percentiles(outcome.attentive_s)} s")
    print("faults           " + ("; ".join(outcome.faults) or "none"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slow", type=float, default=0.2, help="share that reads slowly")
    parser.add_argument("--url", help="a running archive, http://127.0.0.1:8080")
    given = parser.parse_args()

    def load(url: str) -> Outcome:
        return asyncio.run(run(url.replace("localhost", "127.0.0.1"), given.clients,
                               given.seconds, given.slow))  # fmt: skip

    if given.url:
        outcome = load(given.url)
    else:
        with _served() as url:
            outcome = load(url)
    _tell(outcome)
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
