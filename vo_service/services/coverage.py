"""Where on the sky, and when, each collection has observations: MOCs, kept fresh by increments.

The MOC of a day takes in what came by union and is computed from its start when something went;
that of a collection, and that of all, likewise from those of the days. Only open observations
count. Sizes are bounded: a MOC that would be larger is made coarser, and then covers a little more
than the observations, never less.
Source: MOC 2.0 (space: HEALPix nested, ICRS; time: TCB).
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import numpy as np
import psycopg
from astropy import units as u
from astropy.time import Time
from mocpy import MOC, STMOC
from psycopg import IsolationLevel
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.connect import Role, conninfo
from vo_service.db.coverage import (
    Change,
    CoverageStore,
    Covered,
    Kept,
    coverage_of,
    covered_collections,
)
from vo_service.errors import NotFoundError, TransientError
from vo_service.services.background import in_other_process, look_again_and_again
from vo_service.settings import Settings

__all__ = [
    "ALL",
    "CoverageService",
    "coverage",
    "moc_of_footprints",
    "refresh_coverage",
    "run_coverage",
    "written_moc",
]

_log = logging.getLogger(__name__)

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]

#: Under this name all collections together are found; no collection's file is called so.
ALL = "all"

#: The finest cells: of space 52 arcsec, with time 3.4 arcmin and 18 minutes.
_ORDER, _ORDER_WITH_TIME, _TIME_ORDER = 12, 10, 31
#: Characters of a MOC at most.
_LONGEST = 1_000_000
#: Days: what an instant is taken to last, as an interval of no length has no cell.
_INSTANT = 0.001 / 86400.0
_COARSER = (8, 7, 6, 5, 4, 3)

_LOOK_S = 10.0


def refresh_coverage(settings: Settings, *, stopped: Callable[[], bool] = lambda: False) -> int:
    """Bring all MOCs up to date with the observations; days that had changed.

    One process does so at a time; 0 where another is at it.
    """
    number = 0
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        # What is counted and what is settled must be seen at one moment.
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        store = CoverageStore(connection)
        if not store.lock():
            return 0
        connection.commit()
        while changes := store.changes(1):
            if stopped():
                break
            change = changes[0]
            fresh = _refresh_day(store, change)
            # The collection's follows in the same transaction: a day is never ahead of it.
            _refresh_collection(store, change.collection, None if change.removed else [fresh])
            store.settle(change)
            connection.commit()
            number += 1
        if number:
            _refresh_all(store)
        connection.commit()
    return number


def _refresh_day(store: CoverageStore, change: Change) -> tuple[str, str | None]:
    kept = None if change.removed else store.day(change)
    space = MOC.from_string(kept[0]) if kept else MOC.new_empty(_ORDER)
    both = STMOC.from_string(kept[1]) if kept and kept[1] else None
    for rows in store.covered(change):
        mocs = moc_of_footprints([(row.s_region, row.s_ra, row.s_dec) for row in rows])
        space = _union(space, mocs)
        both = _with_times(both, rows, mocs)
    if space.empty():
        store.keep_day(change, None, None)
        return space.to_string("ascii"), None
    texts = _short(space), _short_with_time(both, lambda: _coarse([(space, both)]))
    store.keep_day(change, *texts)
    return texts


def _refresh_collection(
    store: CoverageStore, collection: str, fresh: Sequence[tuple[str, str | None]] | None
) -> None:
    """Add fresh days to what is kept of a collection; None: compute it from all days."""
    kept = store.get(collection)
    days: Iterable[tuple[str, str | None]]
    if fresh is None or kept is None:
        days = list(store.days(collection))
    else:
        days = [(kept.space, kept.space_time), *fresh]
    store.keep(collection, *_joined(days, lambda: store.days(collection)))


def _refresh_all(store: CoverageStore) -> None:
    parts = list(store.collections())
    store.keep("", *_joined(parts, lambda: parts))


def _joined(
    parts: Iterable[tuple[str, str | None]],
    days: Callable[[], Iterable[tuple[str, str | None]]],
) -> tuple[str, str | None]:
    """The union of MOCs in space and in both; *days* gives what a coarser one is made from."""
    space = MOC.new_empty(_ORDER)
    both: STMOC | None = None
    for text, with_time in parts:
        space = space.union(MOC.from_string(text))
        if with_time:
            other = STMOC.from_string(with_time)
            both = other if both is None else both.union(other)

    def coarse() -> STMOC:
        return _coarse(
            [(MOC.from_string(a), STMOC.from_string(b) if b else None) for a, b in days()]
        )

    return _short(space), _short_with_time(both, coarse)


def moc_of_footprints(
    footprints: Sequence[tuple[str | None, float | None, float | None]], order: int = _ORDER
) -> list[MOC | None]:
    """The MOC of each footprint (STC-S as the archive writes it, else a position in degrees).

    Parameters
    ----------
    footprints
        Region, RA and Dec; a footprint without any of them has none.
    order
        Of the finest cells; all that a footprint touches belong to it.
    """
    found: list[MOC | None] = [None] * len(footprints)
    polygons: list[Any] = []
    places: list[int] = []
    for place, (region, ra, dec) in enumerate(footprints):
        words = region.split() if region else []
        if words[:2] == ["POLYGON", "ICRS"]:
            numbers = np.array(words[2:], dtype=float)
            polygons += [np.ascontiguousarray(numbers[0::2]), np.ascontiguousarray(numbers[1::2])]
            places.append(place)
        elif words[:2] == ["CIRCLE", "ICRS"]:
            found[place] = _cone([float(word) for word in words[2:5]], order)
        elif ra is not None and dec is not None:
            found[place] = MOC.from_lonlat(lon=[ra] * u.deg, lat=[dec] * u.deg, max_norder=order)
    if polygons:
        mocs = MOC.from_polygons(polygons, max_depth=order, n_threads=1)
        for place, moc in zip(places, mocs, strict=True):
            found[place] = moc
    return found


def _cone(circle: Sequence[float], order: int) -> MOC:
    ra, dec, radius = (value * u.deg for value in circle)
    return MOC.from_cone(lon=ra, lat=dec, radius=radius, max_depth=order)


def _union(space: MOC, mocs: Sequence[MOC | None]) -> MOC:
    there = [moc for moc in mocs if moc is not None]
    return space.union(*there) if there else space


def _with_times(both: STMOC | None, rows: Sequence[Covered], mocs: Sequence[MOC | None]) -> Any:
    """Add observations whose time is known."""
    starts, ends, spaces = [], [], []
    for row, moc in zip(rows, mocs, strict=True):
        if moc is None or row.t_min is None or not 0.0 <= row.t_min <= 1e6:
            continue
        end = row.t_max if row.t_max is not None and row.t_min <= row.t_max <= 1e6 else row.t_min
        starts.append(row.t_min)
        ends.append(end + _INSTANT)
        spaces.append(moc.degrade_to_order(min(moc.max_order, _ORDER_WITH_TIME)))
    if not spaces:
        return both
    fresh = STMOC.from_spatial_coverages(_time(starts), _time(ends), spaces, _TIME_ORDER)
    return fresh if both is None else both.union(fresh)


def _time(mjd: Sequence[float]) -> Time:
    return Time(np.array(mjd), format="mjd", scale="utc")


def _short(space: MOC) -> str:
    """ASCII, made coarser until it is short enough."""
    text = space.to_string("ascii")
    while len(text) > _LONGEST and space.max_order > 0:
        space = space.degrade_to_order(space.max_order - 1)
        text = space.to_string("ascii")
    return str(text)


def _short_with_time(both: STMOC | None, coarse: Callable[[], STMOC]) -> str | None:
    if both is None:
        return None
    text = both.to_string("ascii")
    return str(text if len(text) <= _LONGEST else coarse().to_string("ascii"))


def _coarse(days: Sequence[tuple[MOC, STMOC | None]]) -> STMOC:
    """From each day all of its space, coarser, for all of its time."""
    timed = [(space, both) for space, both in days if both is not None and not both.is_empty()]
    starts = Time([both.min_time for _, both in timed])
    ends = Time([both.max_time for _, both in timed])
    for order in _COARSER:
        spaces = [space.degrade_to_order(min(space.max_order, order)) for space, _ in timed]
        found = STMOC.from_spatial_coverages(starts, ends, spaces, _TIME_ORDER)
        if len(found.to_string("ascii")) <= _LONGEST:
            break
    return found


def written_moc(text: str, form: str, *, with_time: bool) -> bytes:
    """A MOC that is kept, as ``fits``, ``json`` or ``txt`` (ASCII).

    FITS of space alone is written as NUNIQ cells, which readers of MOC 1 know as well.
    """
    if form == "txt":
        return f"{text.strip()}\n".encode()
    moc = (STMOC if with_time else MOC).from_string(text)
    if form == "json":
        return str(moc.to_string("json")).encode()
    content = io.BytesIO()
    moc.serialize("fits", v1_compatible=not with_time).writeto(content)
    return content.getvalue()


def coverage(settings: Settings, collection: str) -> Kept | None:
    """What is known of the coverage of a collection, `ALL` for all; None where nothing is.

    For records of the registry: ``MOC.from_string(kept.space).degrade_to_order(6)``.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return CoverageStore(connection).get("" if collection == ALL else collection)


class CoverageService:
    """Answers questions about coverage; *pool* holds connections of the door."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, collection: str) -> Kept:
        """What is kept of a collection, or of `ALL`.

        Raises
        ------
        NotFoundError
            If there is no such collection, or none of its observations is open.
        TransientError
            If the database is not available.
        """
        async with self._connection() as connection:
            kept = await coverage_of(connection, "" if collection == ALL else collection)
        if kept is None:
            raise NotFoundError(f"there is no coverage of a collection {collection[:100]!r}")
        return kept

    async def collections(self) -> Sequence[str]:
        """Collections that have a coverage. Raises as `get`."""
        async with self._connection() as connection:
            return await covered_collections(connection)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error


async def run_coverage(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Keep coverage fresh, until cancelled."""
    await look_again_and_again(lambda stopped: _look(settings, stopped), look_s, "coverage")


def _look(settings: Settings, stopped: threading.Event) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        waiting = CoverageStore(connection).changes(1)
    if waiting and (days := in_other_process(refresh_coverage, settings, stopped=stopped)):
        _log.info("coverage: %d days have changed", days)
