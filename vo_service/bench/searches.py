"""Searches of the sky: cones, polygons, MOCs and footprints at random places, and aggregates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import psycopg

from vo_service.bench.client import Session, sync_path
from vo_service.bench.figures import Figure, Target, percentiles
from vo_service.bench.place import Place, timed

__all__ = ["MAXREC", "aggregates", "cone", "cones", "images", "shapes"]

_COLUMNS = "obs_publisher_did, s_ra, s_dec, t_min, access_url"
MAXREC = 1000
_CONES = {'15"': 15 / 3600, "0.25 deg": 0.25, "1 deg": 1.0, "30 deg": 30.0}

#: The same rows by hand, with the bounds that the service writes: what "raw" means.
_RAW = (
    f"SELECT {_COLUMNS} FROM archive.obscore WHERE s_ra BETWEEN %s AND %s "
    "AND position <@ scircle(spoint(radians(%s), radians(%s)), radians(%s)) LIMIT "
    f"{MAXREC + 1}"
)


def cone(ra: float, dec: float, radius: float) -> str:
    """The ADQL of a cone search."""
    return (
        f"SELECT {_COLUMNS} FROM ivoa.obscore WHERE "
        f"CONTAINS(POINT(s_ra, s_dec), CIRCLE({ra}, {dec}, {radius})) = 1"
    )


def cones(place: Place) -> Iterator[Figure]:
    """One client on a kept connection, against a prepared statement by psycopg."""
    for name, radius in _CONES.items():
        places = place.positions(30 if radius > 5 else 200, seed=1)
        by_hand = [values for at in places if (values := _raw_values(*at, radius))]
        with psycopg.connect(place.dsn) as connection:
            for values in by_hand:  # into the cache of the machine
                timed(connection, _RAW, values)
            raw = [timed(connection, _RAW, values) for values in by_hand]
        asked = _times(place, [cone(*at, radius) for at in places])
        middle, late = percentiles(asked)
        reference = percentiles(raw)[0] * 1000 if raw else None
        target = Target("over", 4) if name == "0.25 deg" and reference else None
        yield Figure(
            "cone", f"{name}, p50", middle * 1000, "ms", reference, target,
            f"p95 {late * 1000:.1f} ms",
        )  # fmt: skip
        if radius < 5:
            read = [place.partitions(cone(*at, radius))[0] for at in places if abs(at[1]) < 80]
            yield Figure(
                "cone", f"{name}, most partitions read", max(read), "", None, Target("value", 2)
            )


def images(place: Place) -> Iterator[Figure]:
    """SIA 2.0 about a position, against TAP's cone with the same columns.

    SIA finds footprints and so more rows; what the same rows cost by TAP is told beside.
    """
    paths: list[str] = []
    for ra, dec in place.positions(200, seed=6):
        circle = f"CIRCLE({ra}, {dec}, 0.25)"
        for test in (f"CONTAINS(POINT(s_ra, s_dec), {circle})", f"INTERSECTS(s_region, {circle})"):
            paths.append(sync_path(f"SELECT * FROM ivoa.obscore WHERE {test} = 1", MAXREC))
        paths.append(f"/sia2/query?MAXREC={MAXREC}&POS={quote(f'CIRCLE {ra} {dec} 0.25')}")
    times = _paths(place, paths)
    by_tap, same, by_sia = (percentiles(times[kind::3]) for kind in range(3))
    yield Figure(
        "images", "SIA2 circle of 0.25 deg, p50", by_sia[0] * 1000, "ms", by_tap[0] * 1000,
        Target("over", 1),
        f"p95 {by_sia[1] * 1000:.1f} ms; the same footprints by TAP {same[0] * 1000:.1f} ms",
    )  # fmt: skip


def shapes(place: Place) -> Iterator[Figure]:
    """Other searches by position, against the same SQL without the service."""
    around = place.positions(60, seed=3)
    kinds: dict[str, Callable[[float, float], str]] = {
        "polygon of 1 deg": lambda ra, dec: (
            f"CONTAINS(POINT(s_ra, s_dec), {_polygon(ra, dec)}) = 1"
        ),
        "footprints that hold a point": lambda ra, dec: (
            f"CONTAINS(POINT({ra}, {dec}), s_region) = 1"
        ),
        "footprints that meet a circle": lambda ra, dec: (
            f"INTERSECTS(s_region, CIRCLE({ra}, {dec}, 0.25)) = 1"
        ),
        "MOC of 12 cells": lambda ra, dec: f"CONTAINS(POINT(s_ra, s_dec), {_moc(ra)}) = 1",
    }
    for name, condition in kinds.items():
        queries = [f"SELECT {_COLUMNS} FROM ivoa.obscore WHERE {condition(*at)}" for at in around]
        yield _against_sql(place, "search", name, queries)


def aggregates(place: Place) -> Iterator[Figure]:
    """Whole-table questions, which parallel workers answer."""
    for name, query in {
        "count of all": "SELECT COUNT(*) AS n FROM ivoa.obscore",
        "count by instrument": (
            "SELECT instrument_name, COUNT(*) AS n, SUM(t_exptime) AS t FROM ivoa.obscore "
            "GROUP BY instrument_name"
        ),
        "counts by day": (
            "SELECT FLOOR(t_min) AS night, COUNT(*) AS n FROM ivoa.obscore GROUP BY FLOOR(t_min)"
        ),
    }.items():
        yield _against_sql(place, "aggregate", name, [query] * 3)


def _against_sql(place: Place, group: str, name: str, queries: list[str]) -> Figure:
    with psycopg.connect(place.dsn) as connection:
        statements = [place.sql(query, MAXREC + 1) for query in queries]
        for statement in statements:  # into the cache of the machine
            timed(connection, statement)
        raw = [timed(connection, statement) for statement in statements]
    asked = _times(place, queries)
    middle, late = percentiles(asked)
    read, of = place.partitions(queries[0])
    return Figure(
        group, f"{name}, p50", middle * 1000, "ms", percentiles(raw)[0] * 1000, None,
        f"p95 {late * 1000:.1f} ms; {read} of {of} partitions",
    )  # fmt: skip


def _times(place: Place, queries: list[str]) -> list[float]:
    """Seconds for each query, after one that warms connections up."""
    return _paths(place, [sync_path(query, MAXREC) for query in queries])


def _paths(place: Place, paths: list[str]) -> list[float]:
    session = place.server.session()
    _ask(session, paths[0])
    times = []
    for path in paths:
        started = time.perf_counter()
        _ask(session, path)
        times.append(time.perf_counter() - started)
    session.close()
    return times


def _ask(session: Session, path: str) -> None:
    status, content = session.get(path)
    if status != 200:
        raise RuntimeError(content.decode("utf-8", "replace"))


def _raw_values(ra: float, dec: float, radius: float) -> tuple[float, ...] | None:
    """Values for `_RAW`; None where one pair of bounds is not enough (0h, a pole)."""
    if abs(dec) + radius >= 90:
        return None
    half = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(dec))))
    if ra - half < 0 or ra + half >= 360:
        return None
    return ra - half, ra + half, ra, dec, radius


def _polygon(ra: float, dec: float) -> str:
    half = 0.5 / math.cos(math.radians(dec))
    corners = [(ra + x * half, dec + y * 0.5) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return f"POLYGON({', '.join(f'{x % 360}, {y}' for x, y in corners)})"


def _moc(ra: float) -> str:
    first = int(ra * 2000) % (12 * 4**8 - 12)
    return f"MOC('8/{first}-{first + 11}')"
