"""Statements about pictures of products: which are to be made, who makes them, which are there.

A row of ``archive.preview`` waits until somebody takes it up; it is then theirs for `LEASE_S`,
after which the maker is taken for dead. What has been taken up too often without an end is given
up. Runs as the writer; the caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.model.observation import HDUHeader

__all__ = ["LEASE_S", "PreviewStore", "Wanted", "want_again"]

#: Seconds for which a picture is its maker's: many times what one takes.
LEASE_S = 900

#: Times that one is taken up: makers that died may have died of it.
_ATTEMPTS = 3

_AGAIN = "gone = false, begun = NULL, attempts = 0, made = NULL, reason = NULL"
_WAITING = "w.made IS NULL AND w.reason IS NULL AND NOT w.gone"
#: Free to be taken up: nobody has it, or who had it is dead.
_FREE = f"{_WAITING} AND (w.begun IS NULL OR w.begun < now() - interval '{LEASE_S} s')"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A product whose pictures are to be made; *size* is bytes."""

    product_id: int
    collection: str
    path: str
    did: str
    frame_id: str | None
    source: str
    size: int
    headers: list[dict[str, Any]]
    roots: list[str]

    @property
    def place(self) -> str:
        """What follows ``/data/``."""
        return f"{self.collection}/{self.path}"

    @property
    def hdus(self) -> tuple[HDUHeader, ...]:
        """The headers as they were ingested."""
        return tuple(
            HDUHeader(**{**hdu, "cards": tuple(tuple(card) for card in hdu["cards"])})
            for hdu in self.headers
        )


def want_again(connection: psycopg.Connection[Any], product_ids: Sequence[int]) -> None:
    """Let pictures be made once more, after what they show has changed."""
    connection.execute(
        f"UPDATE archive.preview SET {_AGAIN} WHERE product_id = ANY(%s) AND NOT gone".encode(),  # noqa: S608 - ours
        (list(product_ids),),
    )


class PreviewStore:
    """Statements about pictures, on a connection of the writer in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def waiting(self, collection: str | None = None) -> int:
        """How many pictures wait to be made, those included that others are making."""
        return self._count(_WAITING, collection)

    def free(self) -> bool:
        """Whether there is one that nobody is making."""
        row = self._connection.execute(
            f"SELECT EXISTS (SELECT FROM archive.preview w WHERE {_FREE})".encode()  # noqa: S608 - ours
        ).fetchone()
        return row is not None and bool(row[0])

    def _count(self, condition: str, collection: str | None) -> int:
        row = self._connection.execute(
            f"SELECT count(*) FROM archive.preview w JOIN archive.product p USING (product_id) "  # noqa: S608 - ours
            f"WHERE {condition} AND (%(name)s::text IS NULL OR p.collection = %(name)s)".encode(),
            {"name": collection},
        ).fetchone()
        return int(row[0]) if row else 0

    def claim(self, collection: str | None = None) -> Wanted | None:
        """The newest product whose pictures nobody makes, now ours; None where there is none."""
        self._give_up()
        row = self._connection.execute(
            f"UPDATE archive.preview SET begun = now(), attempts = attempts + 1 "  # noqa: S608 - ours
            f"WHERE product_id = (SELECT w.product_id FROM archive.preview w "
            f"JOIN archive.product p USING (product_id) WHERE {_FREE} "
            f"AND (%(name)s::text IS NULL OR p.collection = %(name)s) "
            f"ORDER BY w.product_id DESC LIMIT 1 FOR UPDATE OF w SKIP LOCKED) "
            f"RETURNING product_id".encode(),
            {"name": collection},
        ).fetchone()
        if row is None:
            return None
        with self._connection.cursor(row_factory=class_row(Wanted)) as cursor:
            cursor.execute(
                "SELECT p.product_id, p.collection, p.path, p.did, p.frame_id, p.source, p.size, "
                "p.headers, c.roots FROM archive.product p "
                "JOIN archive.collection c ON c.name = p.collection "
                "WHERE p.product_id = %s AND p.source IS NOT NULL",
                row,
            )
            return cursor.fetchone()

    def _give_up(self) -> None:
        self._connection.execute(
            f"UPDATE archive.preview w SET reason = %s WHERE {_FREE} AND w.attempts >= %s".encode(),  # noqa: S608 - ours
            (f"begun {_ATTEMPTS} times, and each time whoever made it died", _ATTEMPTS),
        )

    def give_back(self, product_id: int) -> None:
        """Leave one that was claimed to others; it was not its fault."""
        self._connection.execute(
            "UPDATE archive.preview SET begun = NULL, attempts = attempts - 1 "
            "WHERE product_id = %s AND begun IS NOT NULL",
            (product_id,),
        )

    def made(self, product_id: int) -> None:
        """The pictures of a product are there."""
        self._connection.execute(
            "UPDATE archive.preview SET made = now(), reason = NULL "
            "WHERE product_id = %s AND NOT gone",
            (product_id,),
        )

    def impossible(self, product_id: int, reason: str) -> None:
        """There will be none of this file, and why."""
        self._connection.execute(
            "UPDATE archive.preview SET reason = %s, made = NULL WHERE product_id = %s",
            (reason.replace("\0", "?")[:1000], product_id),
        )

    def again(self, collection: str | None) -> int:
        """Let all pictures be made anew, also those that could not be; how many."""
        return self._connection.execute(
            f"UPDATE archive.preview w SET {_AGAIN} FROM archive.product p "  # noqa: S608 - ours
            f"WHERE p.product_id = w.product_id AND NOT w.gone "
            f"AND (%(name)s::text IS NULL OR p.collection = %(name)s)".encode(),
            {"name": collection},
        ).rowcount

    def gone(self, limit: int) -> list[int]:
        """Some of the products whose pictures are to be deleted."""
        rows = self._connection.execute(
            "SELECT product_id FROM archive.preview WHERE gone ORDER BY product_id LIMIT %s",
            (limit,),
        )
        return [number for (number,) in rows]

    def forget(self, product_ids: Sequence[int]) -> None:
        """The pictures of these products are deleted."""
        self._connection.execute(
            "DELETE FROM archive.preview WHERE gone AND product_id = ANY(%s)", (list(product_ids),)
        )

    def failures(self, collection: str | None, limit: int) -> list[tuple[str, str]]:
        """Products that have no pictures, and why; the newest first."""
        rows = self._connection.execute(
            "SELECT p.collection || '/' || p.path, w.reason FROM archive.preview w "
            "JOIN archive.product p USING (product_id) WHERE w.reason IS NOT NULL AND NOT w.gone "
            "AND (%(name)s::text IS NULL OR p.collection = %(name)s) "
            "ORDER BY w.product_id DESC LIMIT %(limit)s",
            {"name": collection, "limit": limit},
        )
        return rows.fetchall()
