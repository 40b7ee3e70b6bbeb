"""Statements about rows of other sites, and about where their crawls are.

On a connection of the writer; the caller owns the transactions. Rows of a slice are exchanged as
a whole: what the origin says no more is gone with the same commit that brings what it says now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from vo_service.db.frames import spoint, spoly
from vo_service.errors import NotFoundError, TransientError
from vo_service.model.crawl import ForeignRow, Origin, Refused, Slice
from vo_service.model.obscore import OBSCORE
from vo_service.model.region import Circle

__all__ = ["ElsewhereStore", "Known"]

_COPY = (
    "COPY archive.elsewhere "
    f"(origin, path, position, region, {', '.join(c.name for c in OBSCORE)}) FROM STDIN"
)
#: Paths of a slice and of all that it was cut into; after ``/`` comes ``0`` in ASCII.
_BELOW = "(path = %(path)s OR path > %(path)s || '/' AND path < %(path)s || '0')"

#: Footprint searches look a little farther than the widest footprint, for rounding.
_SPARE = 1.003


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a slice: what the service *said* of it, and of the rows that came."""

    said: str | None
    digest: bytes | None
    is_split: bool
    fetched: datetime


class ElsewhereStore:
    """Origins, their slices and their rows."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def origins(self) -> list[Origin]:
        """All origins, by name."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute("SELECT * FROM archive.origin ORDER BY name").fetchall()
        return [_origin(row) for row in rows]

    def origin(self, name: str) -> Origin:
        """The origin of a name.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        for known in self.origins():
            if known.name == name:
                return known
        raise NotFoundError(
            f"{name[:100]!r}: no service is crawled under this name; see 'vo-service crawl --list'"
        )

    def put_origin(self, origin: Origin) -> None:
        """Write down what is to be crawled; rows stay, and are read anew if that is something else.

        The caller's transaction keeps both together.
        """
        chosen: dict[str, Any] = {"collections": origin.collections}
        if (circle := origin.circle) is not None:
            chosen["circle"] = [circle.ra, circle.dec, circle.radius]
        self._connection.execute(
            "UPDATE archive.crawl_slice s SET said = NULL, digest = NULL, fetched = 'epoch' "
            "FROM archive.origin o WHERE o.name = %s AND s.origin = o.name "
            "AND (o.url, o.chosen) IS DISTINCT FROM (%s, %s)",
            (origin.name, origin.url, Jsonb(chosen)),
        )
        self._connection.execute(
            "INSERT INTO archive.origin (name, url, protocol, chosen, every_days) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET url = EXCLUDED.url, "
            "protocol = EXCLUDED.protocol, chosen = EXCLUDED.chosen, "
            "every_days = EXCLUDED.every_days",
            (origin.name, origin.url, origin.protocol, Jsonb(chosen), origin.every_days),
        )

    def lock(self, name: str) -> None:
        """Keep other crawls of the origin out until the session ends.

        Raises
        ------
        TransientError
            If one is running.
        """
        row = self._connection.execute(
            "SELECT pg_try_advisory_lock(hashtext('crawl'), hashtext(%s))", (name,)
        ).fetchone()
        if row is None or not row[0]:
            raise TransientError(f"another crawl of {name} is running; let it finish first")

    def start(self, name: str) -> None:
        """A crawl begins."""
        self._connection.execute(
            "UPDATE archive.origin SET started = now(), problem = NULL WHERE name = %s", (name,)
        )

    def end(self, name: str, problem: str | None) -> Origin:
        """A crawl has come to its end, or as far as a *problem* let it."""
        self._connection.execute(
            "UPDATE archive.origin SET problem = %(problem)s, "
            "ended = CASE WHEN %(problem)s::text IS NULL THEN now() ELSE ended END, "
            "products = (SELECT count(*) FROM archive.elsewhere WHERE origin = %(name)s), "
            "refused = (SELECT coalesce(sum(refused), 0) FROM archive.crawl_refusal "
            "WHERE origin = %(name)s) WHERE name = %(name)s",
            {"problem": problem, "name": name},
        )
        return self.origin(name)

    def forget(self, name: str) -> int:
        """Drop an origin and all that came from it; how many rows."""
        gone = self._connection.execute("DELETE FROM archive.elsewhere WHERE origin = %s", (name,))
        self._connection.execute("DELETE FROM archive.origin WHERE name = %s", (name,))
        return gone.rowcount

    def slices(self, name: str) -> dict[str, Known]:
        """What is known of an origin's slices, by path."""
        rows = self._connection.execute(
            "SELECT path, said, digest, is_split, fetched FROM archive.crawl_slice "
            "WHERE origin = %s",
            (name,),
        )
        return {path: Known(*rest) for path, *rest in rows}

    def refusals(self, name: str) -> list[Refused]:
        """Why rows were not taken, the most frequent reason first."""
        rows = self._connection.execute(
            "SELECT reason, sum(refused)::bigint, min(example) FROM archive.crawl_refusal "
            "WHERE origin = %s GROUP BY reason ORDER BY 2 DESC, 1",
            (name,),
        )
        return [Refused(*row) for row in rows]

    def clear(self, name: str, path: str) -> None:
        """Take away a slice with its rows and all that it was cut into."""
        for table in ("elsewhere", "crawl_slice", "crawl_refusal"):
            self._connection.execute(
                f"DELETE FROM archive.{table} WHERE origin = %(name)s AND {_BELOW}".encode(),  # noqa: S608 - three names
                {"name": name, "path": path},
            )

    def clear_whole(self, name: str, path: str) -> None:
        """Take away the rows that a slice brought before it was cut."""
        for table in ("elsewhere", "crawl_refusal"):
            self._connection.execute(
                f"DELETE FROM archive.{table} WHERE origin = %s AND path = %s".encode(),  # noqa: S608 - two names
                (name, path),
            )

    def note(
        self,
        name: str,
        path: str,
        said: str | None,
        digest: bytes | None = None,
        *,
        is_split: bool = False,
    ) -> None:
        """Write down that a slice has been read."""
        self._connection.execute(
            "INSERT INTO archive.crawl_slice (origin, path, said, digest, is_split) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (origin, path) DO UPDATE SET "
            "said = EXCLUDED.said, digest = EXCLUDED.digest, is_split = EXCLUDED.is_split, "
            "fetched = now()",
            (name, path, said, digest, is_split),
        )

    def refuse(self, name: str, path: str, refused: Iterable[Refused]) -> None:
        """Write down which rows of a slice were not taken."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO archive.crawl_refusal (origin, path, reason, refused, example) "
                "VALUES (%s, %s, %s, %s, %s)",
                [(name, path, one.reason, one.count, one.example) for one in refused],
            )

    def put(
        self, name: str, slice_: Slice, rows: Sequence[ForeignRow]
    ) -> list[tuple[ForeignRow, str]]:
        """Store rows, whose identifiers differ; the newest of an identifier stands.

        Returns
        -------
        list of (ForeignRow, str)
            Rows that PostgreSQL did not take, with the reason.
        """
        if not rows:
            return []
        try:
            with self._connection.transaction():
                self._copy(name, slice_.path, rows)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(rows) == 1:
                return [(rows[0], error.diag.message_primary or "not storable")]
            half = len(rows) // 2
            parts = (rows[:half], rows[half:])
            return [refused for part in parts for refused in self.put(name, slice_, part)]
        return []

    def _copy(self, name: str, path: str, rows: Sequence[ForeignRow]) -> None:
        self._connection.execute(
            "DELETE FROM archive.elsewhere WHERE obs_publisher_did = ANY(%s) AND origin = %s",
            ([row.did for row in rows], name),
        )
        with self._connection.cursor() as cursor, cursor.copy(_COPY.encode()) as copy:
            for row in rows:
                position = spoint(row.position) if row.position else None
                region = spoly(row.region) if row.region else None
                copy.write_row((name, path, position, region, *row.values))
        self._connection.execute(
            "UPDATE archive.published SET reach = %(reach)s WHERE reach < %(reach)s "
            "AND table_name IN ('elsewhere.obscore', 'elsewhere.everything')",
            {"reach": max(row.reach for row in rows) * _SPARE},
        )


def _origin(row: dict[str, Any]) -> Origin:
    chosen = row.pop("chosen")
    del row["added"]
    circle = chosen.get("circle")
    return Origin(
        **row,
        circle=Circle(*circle) if circle else None,
        collections=tuple(chosen.get("collections", ())),
    )
