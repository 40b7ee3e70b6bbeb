"""Coverage of collections: what changed, footprints and times of a day, the MOCs that are kept.

Only open observations are looked at: what everybody may know. `CoverageStore` runs as the
writer, `coverage_of` as the door or the reader. The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = ["Change", "CoverageStore", "Covered", "Kept", "coverage_of", "covered_collections"]

_BATCH = 2000

_COVERED = """
SELECT o.s_region, o.s_ra, o.s_dec, o.t_min, o.t_max
FROM archive.observation o JOIN archive.product p USING (product_id)
WHERE p.collection = %(collection)s AND o.s_ra IS NOT NULL
  AND archive.day_of(o.t_min) IS NOT DISTINCT FROM %(day)s
"""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a day (MJD) of a collection since it was last looked at.

    Observations of products *first_id* to *last_id*, among others, came; where some went
    (*removed*) nothing that is kept of the day holds.
    """

    collection: str
    day: int | None
    removed: bool
    first_id: int
    last_id: int
    upto: int


@dataclass(frozen=True, slots=True)
class Covered:
    """Footprint and time of an observation: STC-S in ICRS degrees, MJD (UTC)."""

    s_region: str | None
    s_ra: float | None
    s_dec: float | None
    t_min: float | None
    t_max: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """MOCs in ASCII, of space and of time and space; the latter None where no time is known."""

    collection: str
    updated: datetime
    space: str
    space_time: str | None


class CoverageStore:
    """Statements about coverage, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def lock(self) -> bool:
        """Keep other workers out until the session ends; False if one is at it."""
        row = self._connection.execute(
            "SELECT pg_try_advisory_lock(hashtext('coverage'), 0)"
        ).fetchone()
        return row is not None and bool(row[0])

    def changes(self, limit: int) -> list[Change]:
        """Days that have changed, the oldest news first."""
        with self._connection.cursor(row_factory=class_row(Change)) as cursor:
            cursor.execute(
                "SELECT collection, day, bool_or(removed) AS removed, "
                "min(first_id) AS first_id, max(last_id) AS last_id, max(change_id) AS upto "
                "FROM archive.coverage_change GROUP BY collection, day "
                "ORDER BY min(change_id) LIMIT %s",
                (limit,),
            )
            return cursor.fetchall()

    def settle(self, change: Change) -> None:
        """The day is up to date with this change; what came later stays."""
        self._connection.execute(
            "DELETE FROM archive.coverage_change WHERE collection = %s "
            "AND day IS NOT DISTINCT FROM %s AND change_id <= %s",
            (change.collection, change.day, change.upto),
        )

    def covered(self, change: Change) -> Iterator[list[Covered]]:
        """The observations to be added, or, where some went, all of the day."""
        condition = "o.product_id BETWEEN %(first)s AND %(last)s"
        if change.removed:
            condition = "true"
        if change.day is not None:
            # Also as bounds of t_min, which has an index.
            condition += " AND o.t_min >= %(day)s AND o.t_min < %(day)s + 1"
        with self._connection.cursor(name="covered", row_factory=class_row(Covered)) as cursor:
            cursor.execute(
                f"{_COVERED} AND {condition}".encode(),
                {
                    "collection": change.collection, "day": change.day,
                    "first": change.first_id, "last": change.last_id,
                },
            )  # fmt: skip
            while rows := cursor.fetchmany(_BATCH):
                yield rows

    def day(self, change: Change) -> tuple[str, str | None] | None:
        """What is kept of a day."""
        row = self._connection.execute(
            "SELECT space, space_time FROM archive.coverage_day "
            "WHERE collection = %s AND day IS NOT DISTINCT FROM %s",
            (change.collection, change.day),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def keep_day(self, change: Change, space: str | None, space_time: str | None) -> None:
        """Keep the MOCs of a day; None: nothing is left of it."""
        if space is None:
            self._connection.execute(
                "DELETE FROM archive.coverage_day "
                "WHERE collection = %s AND day IS NOT DISTINCT FROM %s",
                (change.collection, change.day),
            )
            return
        self._connection.execute(
            "INSERT INTO archive.coverage_day (collection, day, space, space_time) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT (collection, day) DO UPDATE SET "
            "space = EXCLUDED.space, space_time = EXCLUDED.space_time",
            (change.collection, change.day, space, space_time),
        )

    def days(self, collection: str) -> Iterator[tuple[str, str | None]]:
        """The MOCs of all days of a collection."""
        with self._connection.cursor(name="days") as cursor:
            cursor.execute(
                "SELECT space, space_time FROM archive.coverage_day WHERE collection = %s "
                "ORDER BY day",
                (collection,),
            )
            yield from cursor

    def keep(self, collection: str, space: str, space_time: str | None) -> None:
        """Keep the MOCs of a collection, or, with an empty name, of all."""
        self._connection.execute(
            "INSERT INTO archive.coverage (collection, space, space_time) VALUES (%s, %s, %s) "
            "ON CONFLICT (collection) DO UPDATE SET updated = now(), "
            "space = EXCLUDED.space, space_time = EXCLUDED.space_time",
            (collection, space, space_time),
        )

    def collections(self) -> Iterator[tuple[str, str | None]]:
        """The MOCs of all collections."""
        yield from self._connection.execute(
            "SELECT space, space_time FROM archive.coverage WHERE collection <> '' "
            "ORDER BY collection"
        ).fetchall()

    def get(self, collection: str) -> Kept | None:
        """What is kept of a collection (empty: of all)."""
        with self._connection.cursor(row_factory=class_row(Kept)) as cursor:
            cursor.execute("SELECT * FROM archive.coverage WHERE collection = %s", (collection,))
            return cursor.fetchone()


async def coverage_of(connection: psycopg.AsyncConnection[Any], collection: str) -> Kept | None:
    """What is kept of a collection (empty: of all); None if there is no such."""
    async with connection.cursor(row_factory=class_row(Kept)) as cursor:
        await cursor.execute("SELECT * FROM archive.coverage WHERE collection = %s", (collection,))
        return await cursor.fetchone()


async def covered_collections(connection: psycopg.AsyncConnection[Any]) -> Sequence[str]:
    """Names of the collections that have a coverage."""
    cursor = await connection.execute(
        "SELECT collection FROM archive.coverage WHERE collection <> '' ORDER BY collection"
    )
    return [name for (name,) in await cursor.fetchall()]
