"""Dumps: all columns of many rows, in every format, and what they cost in memory."""

from __future__ import annotations

from collections.abc import Iterator

from vo_service.bench.client import sync_path
from vo_service.bench.figures import Figure, Target
from vo_service.bench.place import Place

__all__ = ["dumps", "memory"]

_ROWS = 1_000_000

#: RESPONSEFORMAT, and how many times the cost of COPY it may be.
_FORMATS = {
    "votable": 1.3,
    "parquet": 1.3,
    "arrow": 1.3,
    "votable/td": 1.5,
    "csv": 1.5,
    "tsv": 1.5,
    "fits": 2.0,
    "json": 2.0,
    "votable/b": None,
    "text": None,
    "html": None,
    "sqlite": None,
}


def dumps(place: Place) -> Iterator[Figure]:
    """A million rows of 30 columns in each format against ``COPY .. (FORMAT binary)``.

    Before each format the database's own time is taken again; the better of two counts on
    both sides.
    """
    rows = min(_ROWS, place.archive.rows)
    query = f"SELECT TOP {rows} * FROM ivoa.obscore"
    place.copy(query, rows + 1)  # into the cache of the machine
    for name, bound in _FORMATS.items():
        raw = min(place.copy(query, rows + 1) for _ in range(2))
        path = sync_path(query, rows, name)
        answers = [place.server.fetch(path) for _ in range(2)]
        best = min(answers, key=lambda answer: answer.whole_s)
        target = Target("ratio", bound) if bound else None
        yield Figure(
            "dump", f"{rows} rows as {name}", best.whole_s, "s", raw, target,
            f"{best.size / 1e6:.0f} MB",
        )  # fmt: skip
        if name in {"votable", "votable/td"}:
            first = min(answer.first_s for answer in answers)
            yield Figure(
                "dump", f"first byte of {name}", first * 1000, "ms", None, Target("value", 100)
            )


def memory(place: Place) -> Iterator[Figure]:
    """The server's memory at its highest, after an answer of all rows against one of 10^4."""
    small, rows = 10_000, place.archive.rows
    for name in ("votable", "parquet", "fits"):
        place.server.fetch(sync_path(f"SELECT TOP {small} * FROM ivoa.obscore", small, name))
    before = place.memory("VmHWM")
    for name in ("votable", "parquet", "fits"):
        place.server.fetch(sync_path("SELECT * FROM ivoa.obscore", rows, name))
        yield Figure(
            "memory", f"server after {rows} rows as {name}", place.memory("VmHWM"), "MB", before,
            Target("over", 64),
        )  # fmt: skip
