"""Questions about products: what is due, what is public, what stands at a path.

`ProductStore` serves commands, as the writer; `standing` serves ``/data/``, as the reader.
The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = ["Due", "ProductStore", "Public", "Standing", "Summary", "standing"]


@dataclass(frozen=True, slots=True)
class Due:
    """A product whose file may be read by everybody from now on."""

    product_id: int
    collection: str
    path: str
    source: str


@dataclass(frozen=True, slots=True)
class Public:
    """A product that is public, with its checksums: computed here, and given with it."""

    collection: str
    path: str
    source: str
    checksums: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the archive says of the file at a public path."""

    state: str
    release_date: date | None
    media_type: str
    md5: str | None
    roots: list[str]


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of `vo-service status`."""

    collection: str
    files: int
    size: int
    public: int
    waiting: int
    refused: int
    last_ingest: datetime | None


async def standing(
    connection: psycopg.AsyncConnection[Any], collection: str, path: str
) -> Standing | None:
    """The current product at a path of the public tree."""
    async with connection.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(
            "SELECT state, release_date, media_type, md5, roots FROM archive.standing "
            "WHERE collection = %s AND path = %s",
            (collection, path),
        )
        return await cursor.fetchone()


class ProductStore:
    """Statements about products, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def due(self, today: date, *, after: int, limit: int) -> list[Due]:
        """Products that have arrived and whose release date has come, by their number."""
        with self._connection.cursor(row_factory=class_row(Due)) as cursor:
            cursor.execute(
                "SELECT product_id, collection, path, source FROM archive.product "
                "WHERE current AND state = 'arrived' AND release_date <= %s "
                "AND source IS NOT NULL AND product_id > %s ORDER BY product_id LIMIT %s "
                "FOR UPDATE",
                (today, after, limit),
            )
            return cursor.fetchall()

    def mark_public(self, product_ids: list[int]) -> None:
        """Write down that links of these products exist."""
        self._connection.execute(
            "UPDATE archive.product SET state = 'public', released = now() "
            "WHERE product_id = ANY(%s)",
            (product_ids,),
        )

    def public(self) -> Iterator[Public]:
        """All products that are public and have a file here."""
        with self._connection.cursor(name="public") as cursor:
            cursor.execute(
                "SELECT collection, path, source, md5, md5_given FROM archive.product "
                "WHERE current AND state = 'public' AND source IS NOT NULL ORDER BY product_id"
            )
            for collection, path, source, md5, given in cursor:
                yield Public(collection, path, source, (md5, given))

    def public_paths(self, collection: str, paths: list[str]) -> set[str]:
        """Those of *paths* whose products are public."""
        rows = self._connection.execute(
            "SELECT path FROM archive.product WHERE collection = %s AND path = ANY(%s) "
            "AND current AND state = 'public'",
            (collection, paths),
        )
        return {path for (path,) in rows}

    def collections(self) -> list[str]:
        """Names of all collections."""
        rows = self._connection.execute("SELECT name FROM archive.collection ORDER BY name")
        return [name for (name,) in rows]

    def without_md5(self, after: int, limit: int) -> list[Due]:
        """Products whose checksum has not been computed, in order of their number."""
        with self._connection.cursor(row_factory=class_row(Due)) as cursor:
            cursor.execute(
                "SELECT product_id, collection, path, source FROM archive.product "
                "WHERE current AND md5 IS NULL AND source IS NOT NULL AND product_id > %s "
                "ORDER BY product_id LIMIT %s",
                (after, limit),
            )
            return cursor.fetchall()

    def set_md5(self, product_id: int, md5: str) -> None:
        """Store a computed checksum."""
        self._connection.execute(
            "UPDATE archive.product SET md5 = %s WHERE product_id = %s", (md5, product_id)
        )

    def summaries(self) -> list[Summary]:
        """Collections, what they hold and how the last ingest was."""
        with self._connection.cursor(row_factory=class_row(Summary)) as cursor:
            cursor.execute(
                "SELECT c.name AS collection, count(p.*) AS files, "
                "coalesce(sum(p.size), 0)::bigint AS size, "
                "count(*) FILTER (WHERE p.state = 'public') AS public, "
                "count(*) FILTER (WHERE p.state = 'arrived') AS waiting, "
                "(SELECT count(*) FROM archive.refusal r WHERE r.collection = c.name) AS refused, "
                "(SELECT max(ended) FROM archive.ingest_run i WHERE i.collection = c.name) "
                "AS last_ingest "
                "FROM archive.collection c LEFT JOIN archive.product p "
                "ON p.collection = c.name AND p.current GROUP BY c.name ORDER BY c.name"
            )
            return cursor.fetchall()
