"""Statements about bundles: what may be delivered to whom, and what a request came to.

The functions ask as the door, `BundleStore` keeps members as ``vo_jobs``. The
caller owns the transaction. Sizes and positions are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from vo_service.db.people import work_for
from vo_service.model.bundle import Bundle, Member

__all__ = ["BundleStore", "FoundProduct", "found_products", "readable", "with_corrections"]

Connection = psycopg.AsyncConnection[Any]

_COLUMNS = "d.*, s.data_url IS NOT NULL AS served_elsewhere, coalesce(s.elsewhere, false) AS away"
_STANDING = "LEFT JOIN archive.standing s ON s.product_id = d.product_id"
_FOUND = {
    by: f"SELECT asked, {_COLUMNS} FROM unnest(%s::text[]) AS asked "  # noqa: S608 - words of this module only
    f"LEFT JOIN archive.deliverable d ON {condition} {_STANDING}"
    for by, condition in (
        ("did", "d.did = asked"),
        (
            "path",
            "d.collection = split_part(asked, '/', 1) "
            "AND d.path = substr(asked, strpos(asked, '/') + 1)",
        ),
    )
}
_READABLE = (
    f"SELECT d.did AS asked, {_COLUMNS} FROM archive.deliverable d {_STANDING} "  # noqa: S608 - as above
    "WHERE d.product_id = ANY(%s) AND d.readable AND d.source IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class FoundProduct:
    """What was asked for, and the product that it names, as far as its existence may be known.

    All but *asked* is None where there is nothing; *source* also where no file is here: it may
    be *away*, at a data server. *served_elsewhere* tells that another server delivers it.
    """

    asked: str
    product_id: int | None
    collection: str
    path: str
    did: str
    state: str
    release_date: date | None
    readable: bool
    size: int
    source: str | None
    md5: str | None
    modified: datetime
    roots: list[str]
    served_elsewhere: bool
    away: bool


async def found_products(
    connection: Connection, person: str | None, by: Literal["did", "path"], asked: Sequence[str]
) -> list[FoundProduct]:
    """One row for each identifier, or place below ``/data/``, in no order."""
    await work_for(connection, person)
    async with connection.cursor(row_factory=class_row(FoundProduct)) as cursor:
        await cursor.execute(_FOUND[by].encode(), (list(asked),))
        return await cursor.fetchall()


async def readable(
    connection: Connection, person: str | None, product_ids: Sequence[int]
) -> dict[int, FoundProduct]:
    """Those of the products whose files the person may read now; old versions are not."""
    await work_for(connection, person)
    async with connection.cursor(row_factory=class_row(FoundProduct)) as cursor:
        await cursor.execute(_READABLE.encode(), (list(product_ids),))
        return {row.product_id: row async for row in cursor if row.product_id is not None}


async def with_corrections(
    connection: Connection, person: str | None, product_ids: Sequence[int]
) -> set[int]:
    """Those of the products for which there are header corrections."""
    await work_for(connection, person)
    cursor = await connection.execute(
        "SELECT DISTINCT product_id FROM archive.known_correction WHERE product_id = ANY(%s)",
        (list(product_ids),),
    )
    return {number for (number,) in await cursor.fetchall()}


class BundleStore:
    """Members of bundles, on a connection of role ``vo_jobs``; a bundle has its job's number."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, number: int, bundle: Bundle, members: Iterable[Member]) -> None:
        """Keep what a request came to, in place of what may be there."""
        await self._connection.execute("DELETE FROM uws.bundle WHERE number = %s", (number,))
        await self._connection.execute(
            "INSERT INTO uws.bundle (number, files, volume, left_out, corrected, tar_size, tag) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                number, bundle.files, bundle.volume, bundle.left_out, bundle.corrected,
                bundle.tar_size, bundle.tag,
            ),
        )  # fmt: skip
        async with self._connection.cursor() as cursor:
            copy = "COPY uws.bundle_member (number, position, name, size, mtime, header_tag, "
            async with cursor.copy(f"{copy} product_id, result) FROM STDIN".encode()) as rows:
                for m in members:
                    written = (None, m.source) if isinstance(m.source, str) else (m.source, None)
                    await rows.write_row(
                        (number, m.position, m.name, m.size, m.mtime, m.header_tag, *written)
                    )

    async def get(self, number: int) -> Bundle | None:
        """The numbers of a bundle."""
        async with self._connection.cursor(row_factory=class_row(Bundle)) as cursor:
            await cursor.execute(
                "SELECT files, volume, left_out, corrected, tar_size, tag FROM uws.bundle "
                "WHERE number = %s",
                (number,),
            )
            return await cursor.fetchone()

    async def members(self, number: int, position: int, limit: int) -> list[Member]:
        """The member in which a position lies, and at most *limit* in all that follow."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "SELECT name, size, mtime, coalesce(to_json(product_id), to_json(result)) "
                "AS source, header_tag, position FROM uws.bundle_member "
                "WHERE number = %(number)s AND position >= (SELECT max(position) "
                "FROM uws.bundle_member WHERE number = %(number)s AND position <= %(position)s) "
                "ORDER BY position LIMIT %(limit)s",
                {"number": number, "position": position, "limit": limit},
            )
            return [Member(**row) async for row in cursor]
