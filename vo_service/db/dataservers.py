"""What a data server, or the list for one, asks of products; which collection has one.

`archive.file` holds every file that is not gone, closed ones too: the centre has said by its
signature that one may be read, and the row only that it has not been withdrawn since. The
functions serve the door, `ServerStore` commands, as the writer; the caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from vo_service.errors import NotFoundError

__all__ = ["ServerStore", "SignedFile", "public_paths", "signed_file"]


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file that somebody was given a signed link to; *source* and *roots* as the centre says."""

    product_id: int
    state: str
    media_type: str
    source: str | None
    roots: list[str]
    size: int | None


async def signed_file(
    connection: psycopg.AsyncConnection[Any], collection: str, path: str
) -> SignedFile | None:
    """The current product at a path, unless it was withdrawn or is gone."""
    async with connection.cursor(row_factory=class_row(SignedFile)) as cursor:
        await cursor.execute(
            "SELECT product_id, state, media_type, source, roots, size FROM archive.file "
            "WHERE collection = %s AND path = %s",
            (collection, path),
        )
        return await cursor.fetchone()


def public_paths(connection: psycopg.Connection[Any], collection: str) -> Iterator[str] | None:
    """Paths of the public files of a collection, in order; None if there is no such collection."""
    known = connection.execute(
        "SELECT FROM archive.collection WHERE name = %s", (collection,)
    ).fetchone()
    return None if known is None else _paths(connection, collection)


def _paths(connection: psycopg.Connection[Any], collection: str) -> Iterator[str]:
    with connection.cursor(name="public_paths") as cursor:
        cursor.execute(
            "SELECT path FROM archive.file WHERE collection = %s AND state = 'public' "
            "ORDER BY path",
            (collection,),
        )
        for (path,) in cursor:
            yield path


class ServerStore:
    """Which data server a collection has, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def server(self, collection: str) -> dict[str, Any] | None:
        """The data server of a collection as it is registered; None where it has none.

        Raises
        ------
        NotFoundError
            If there is no such collection.
        """
        row = self._connection.execute(
            "SELECT nullif(definition -> 'data_server', 'null') FROM archive.collection "
            "WHERE name = %s",
            (collection,),
        ).fetchone()
        if row is None:
            raise NotFoundError(f"nothing of a collection {collection!r} has been ingested")
        server: dict[str, Any] | None = row[0]
        return server

    def public_files(self, collection: str) -> Iterator[tuple[str, str]]:
        """Path and source of the public files of a collection that lie here."""
        with self._connection.cursor(name="public_files", withhold=True) as cursor:
            cursor.execute(
                "SELECT path, source FROM archive.product WHERE collection = %s AND current "
                "AND state = 'public' AND source IS NOT NULL ORDER BY product_id",
                (collection,),
            )
            yield from cursor

    def set_server(self, collection: str, server: Mapping[str, Any] | None) -> None:
        """Register the data server of a collection.

        Header-only products have a file there if there is a server, and none if not; all
        others keep their rows as they are.
        """
        given = {"collection": collection, "elsewhere": server is not None}
        self._connection.execute(
            "UPDATE archive.collection SET updated = now(), "
            "definition = definition || jsonb_build_object('data_server', %s::jsonb) "
            "WHERE name = %s",
            (Jsonb(server), collection),
        )
        changed = self._connection.execute(
            "UPDATE archive.product SET elsewhere = %(elsewhere)s WHERE collection = "
            "%(collection)s AND current AND source IS NULL AND elsewhere <> %(elsewhere)s "
            "RETURNING product_id, path, state IN ('arrived', 'public') AND elsewhere",
            given,
        ).fetchall()
        ids = [number for number, _, _ in changed]
        paths = [quote(f"{collection}/{path}") if there else None for _, path, there in changed]
        for table in ("observation", "observation_closed") if ids else ():
            self._connection.execute(
                f"UPDATE archive.{table} o SET access_path = n.path "  # noqa: S608 - two names
                "FROM unnest(%s::bigint[], %s::text[]) AS n (product_id, path) "
                "WHERE o.product_id = n.product_id".encode(),
                (ids, paths),
            )
