"""Questions about products: what is due, what is public, what stands at a path.

`ProductStore` serves commands, as the writer; `standing` serves ``/data/``, as the door.
The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.db.people import work_for

__all__ = ["Due", "ProductStore", "Public", "Standing", "standing"]


@dataclass(frozen=True, slots=True)
class Due:
    """A product whose file may be read by everybody from now on."""

    product_id: int
    collection: str
    path: str
    source: str


@dataclass(frozen=True, slots=True)
class Public:
    """A product that is public, with its checksums: computed here, and given with it.

    *tree* is where its link stands; None: in ours.
    """

    collection: str
    path: str
    source: str
    size: int
    modified: datetime
    md5: str | None
    md5_given: str | None
    tree: str | None


#: Those whose links are made from here: not of data servers that make their own.
_PUBLIC = """
SELECT p.collection, p.path, p.source, p.size, p.modified, p.md5, p.md5_given,
       c.definition -> 'data_server' ->> 'public' AS tree
FROM archive.product p JOIN archive.collection c ON c.name = p.collection
WHERE p.current AND p.state = 'public' AND p.source IS NOT NULL
  AND (c.definition ->> 'data_server' IS NULL
       OR c.definition -> 'data_server' ->> 'public' IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the archive says of the file at a public path to the one who asks.

    *readable* is whether that person may have the file now; *source* is where it lies, None
    where only its header is here. *elsewhere* tells that it is then at the data server whose
    base is *data_url*, which delivers, where there is one, all files of the collection. *size*
    is that of the file that was archived, in bytes.
    """

    product_id: int
    state: str
    release_date: date | None
    media_type: str
    md5: str | None
    source: str | None
    readable: bool
    roots: list[str]
    elsewhere: bool = False
    data_url: str | None = None
    size: int | None = None

    @property
    def unlinked(self) -> str | None:
        """Where the file lies, before its release; then the link in the public tree counts."""
        return self.source if self.state == "arrived" else None


async def standing(
    connection: psycopg.AsyncConnection[Any],
    collection: str,
    path: str,
    person: str | None = None,
) -> Standing | None:
    """The current product at a path of the public tree; None too if *person* must not know it."""
    await work_for(connection, person)
    async with connection.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(
            "SELECT product_id, state, release_date, media_type, md5, source, readable, roots, "
            "elsewhere, data_url, size FROM archive.standing WHERE collection = %s AND path = %s",
            (collection, path),
        )
        return await cursor.fetchone()


class ProductStore:
    """Statements about products, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def public(self) -> Iterator[Public]:
        """All products that are public and have a file here."""
        with self._connection.cursor(name="public", row_factory=class_row(Public)) as cursor:
            cursor.execute(f"{_PUBLIC} ORDER BY product_id".encode())
            yield from cursor

    def public_at(self, collection: str, path: str) -> Public | None:
        """The public product at a path, if its file is here."""
        with self._connection.cursor(row_factory=class_row(Public)) as cursor:
            cursor.execute(
                f"{_PUBLIC} AND p.collection = %s AND p.path = %s".encode(), (collection, path)
            )
            return cursor.fetchone()

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
                "WHERE current AND md5 IS NULL AND source IS NOT NULL AND state <> 'expired' "
                "AND product_id > %s "
                "ORDER BY product_id LIMIT %s",
                (after, limit),
            )
            return cursor.fetchall()

    def set_md5(self, product_id: int, md5: str) -> None:
        """Store a computed checksum."""
        self._connection.execute(
            "UPDATE archive.product SET md5 = %s WHERE product_id = %s", (md5, product_id)
        )
