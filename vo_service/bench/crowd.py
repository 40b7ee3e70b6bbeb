"""Many clients at once: cones, against answers that need nothing and the database alone."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path

from vo_service.bench.client import sync_path
from vo_service.bench.figures import Figure, Target
from vo_service.bench.load import Load, load
from vo_service.bench.place import Place, served
from vo_service.bench.searches import MAXREC, cone

__all__ = ["crowd"]

_CLIENTS, _CROWD_S = 16, 6.0
_WARM_S = 1.0
_SCRIPTS = 100  # pgbench takes 128


def crowd(place: Place) -> Iterator[Figure]:
    """16 clients, each cone a new one: to one server process, and to one for each core."""
    places = place.positions(_SCRIPTS, seed=2)
    prepared, new = (_pgbench(place, places, mode) for mode in ("prepared", "simple"))
    yield Figure("16 clients", "pgbench, the same statements again", prepared, "1/s")
    yield Figure("16 clients", "pgbench, each statement new", new, "1/s")
    empty = _asked(place, repeat("/tap/nothing-is-here"), 404)
    yield Figure("16 clients", "empty answers", empty.rate, "1/s", note=empty.split)
    cones = _asked(place, _cones(places), 200)
    limit = min(0.6 * empty.rate, new)
    yield Figure(
        "16 clients", "cones of 0.25 deg", cones.rate, "1/s", empty.rate,
        Target("value", round(limit, 1), at_least=True), cones.split,
    )  # fmt: skip
    cores = os.cpu_count() or 1
    if cores > 1:
        with served(place.settings, place.archive, jobs=False, processes=cores) as several:
            cones = _asked(several, _cones(places), 200)
        yield Figure(
            "16 clients", f"cones, {cores} processes", cones.rate, "1/s", empty.rate,
            note=cones.split,
        )  # fmt: skip


def _asked(place: Place, paths: Iterator[str], status: int) -> Load:
    for seconds in (_WARM_S, _CROWD_S):
        found = load(
            place.server, place.process, paths, status=status, clients=_CLIENTS, seconds=seconds
        )
    return found


def _cones(places: list[tuple[float, float]]) -> Iterator[str]:
    """Cones at these places, but never the same again: no query is known from before."""
    for number in count():
        ra, dec = places[number % len(places)]
        yield sync_path(cone(ra + 1e-9 * number, dec, 0.25), MAXREC)


def _pgbench(place: Place, places: list[tuple[float, float]], mode: str) -> float:
    """Transactions a second of PostgreSQL's own measuring client for such cones.

    A script for each place; what it reads is in the cache of the machine, for it runs twice. In
    *mode* ``prepared`` each is planned once, in ``simple`` each time, as it is for a service that
    is asked for another place each time.
    """
    with tempfile.TemporaryDirectory(prefix="vo-bench-") as directory:
        files = []
        for number, at in enumerate(places):
            file = Path(directory) / f"{number}.sql"
            file.write_text(f"{place.sql(cone(*at, 0.25), MAXREC + 1)};\n", "ascii")
            files += ["-f", str(file)]
        for seconds in (_WARM_S, _CROWD_S):
            said = place.run(
                "pgbench", "-n", "-M", mode, "-c", str(_CLIENTS), "-j", "2",
                "-T", str(int(seconds)), *files,
            )  # fmt: skip
    match = re.search(r"tps = ([0-9.]+)", said)
    return float(match[1]) if match else float("nan")
