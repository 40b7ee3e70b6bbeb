"""Header corrections in PostgreSQL: kept for good, counted only until they are removed.

`CorrectionStore` serves commands, as the writer; the functions serve the web, as the door. The
caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from vo_service.db.people import work_for
from vo_service.model.correction import Correction, FrameRange
from vo_service.model.observation import HDUHeader, Product

__all__ = [
    "CorrectionStore",
    "Imported",
    "StoredProduct",
    "changed_at",
    "known_of_collection",
    "known_of_product",
]

#: What makes two corrections the same (`Correction.said`), and what a client may know of one.
_SAID = (
    *("start_frame", "end_frame", "digits", "hdu", "keyword", "current", "updated"),
    *("datatype", "comment", "reference"),
)
_COLUMNS = ", ".join(f"c.{name}" for name in ("correction_id", *_SAID))

_PRODUCT = (
    "p.product_id, p.frame_id, p.release_date, p.state, p.path, p.source, p.size, p.modified, "
    "p.did, p.media_type, p.elsewhere, p.headers"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A correction with its history, for ``vo-service corrections list``."""

    correction: Correction
    collection: str
    source: str
    imported: datetime
    imported_by: str


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """A product as it is kept, headers uncorrected; *arrived* is whether it is not released."""

    product_id: int
    frame_id: str | None
    arrived: bool
    product: Product


class CorrectionStore:
    """Statements about corrections, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def definition(self, collection: str) -> dict[str, Any] | None:
        """A collection as it was last registered; None where there is none of this name."""
        row = self._connection.execute(
            "SELECT definition FROM archive.collection WHERE name = %s", (collection,)
        ).fetchone()
        return row[0] if row else None

    def collections_with(self, frames: FrameRange) -> list[str]:
        """Collections that have a product which is meant by *frames*."""
        rows = self._connection.execute(
            "SELECT c.name FROM archive.collection c WHERE EXISTS (SELECT FROM archive.product p "
            "WHERE p.current AND p.collection = c.name AND (p.frame_id BETWEEN %(start)s AND "
            "%(end)s OR p.path = %(start)s OR p.did = %(start)s)) ORDER BY c.name",
            {"start": frames.start, "end": frames.end},
        )
        return [name for (name,) in rows]

    def active(self, collection: str | None = None) -> list[Imported]:
        """Corrections that count, in the order in which they are applied; None: of all."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, c.checks, c.collection, c.source, c.imported, c.imported_by "  # noqa: S608 - names of this module
            "FROM archive.correction c WHERE c.removed IS NULL "
            "AND (%(of)s::text IS NULL OR c.collection = %(of)s) "
            "ORDER BY c.collection, c.correction_id".encode(),
            {"of": collection},
        ).fetchall()
        return [Imported(_correction(row[:-5], row[-5]), *row[-4:]) for row in rows]

    def add(
        self, collection: str, corrections: Iterable[Correction], *, source: str, actor: str
    ) -> int:
        """Write corrections down, but for those that count already; how many there were."""
        known = {imported.correction.said for imported in self.active(collection)}
        new = [c for c in corrections if c.said not in known]
        with self._connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO archive.correction (collection, {', '.join(_SAID)}, checks, "  # noqa: S608 - names of this module
                f"source, imported_by) VALUES ({', '.join(['%s'] * (len(_SAID) + 4))})".encode(),
                [(collection, *c.said, Jsonb(dict(c.checks)), source, actor) for c in new],
            )
        return len(new)

    def remove(self, numbers: Sequence[int], actor: str) -> None:
        """Let corrections not count any more."""
        self._connection.execute(
            "UPDATE archive.correction SET removed = now(), removed_by = %s "
            "WHERE correction_id = ANY(%s) AND removed IS NULL",
            (actor, list(numbers)),
        )

    def covered(self, collection: str, ranges: Sequence[FrameRange]) -> Iterator[StoredProduct]:
        """Current products of a collection that one of *ranges* is meant for, in their order."""
        with self._connection.cursor(name="covered") as cursor:
            cursor.itersize = 200  # headers of a file may be a megabyte
            cursor.execute(
                f"SELECT {_PRODUCT} FROM archive.product p WHERE p.product_id IN ("  # noqa: S608 - names of this module
                "SELECT q.product_id FROM unnest(%(starts)s::text[], %(ends)s::text[], "
                "%(digits)s::int[]) AS r (a, z, digits) JOIN archive.product q "
                "ON q.collection = %(of)s AND q.current AND q.frame_id >= r.a "
                "AND q.frame_id <= r.z AND length(q.frame_id) = length(r.a) "
                "AND right(q.frame_id, r.digits) ~ '^[0-9]*$' "
                "UNION SELECT q.product_id FROM archive.product q WHERE q.collection = %(of)s "
                "AND q.current AND q.path = ANY(%(starts)s) "
                "UNION SELECT q.product_id FROM archive.product q WHERE q.collection = %(of)s "
                "AND q.current AND q.did = ANY(%(starts)s)) ORDER BY p.product_id".encode(),
                {
                    "of": collection,
                    "starts": [r.start for r in ranges],
                    "ends": [r.end for r in ranges],
                    "digits": [r.digits for r in ranges],
                },
            )
            for row in cursor:
                yield _stored(collection, row)


async def known_of_product(
    connection: psycopg.AsyncConnection[Any], collection: str, path: str, person: str | None
) -> list[Correction]:
    """Corrections of a product, in their order, if *person* may know of it."""
    await work_for(connection, person)
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM archive.known_correction c "  # noqa: S608 - names of this module
        "WHERE c.collection = %s AND c.path = %s ORDER BY c.correction_id".encode(),
        (collection, path),
    )
    return [_correction(row) for row in await cursor.fetchall()]


async def known_of_collection(
    connection: psycopg.AsyncConnection[Any],
    collection: str,
    frames: Sequence[str],
    person: str | None,
    limit: int,
) -> list[Correction]:
    """Corrections of the products of a collection that *person* may know of, in their order.

    *frames* are frames, paths or identifiers; all products are meant where it is empty.
    """
    await work_for(connection, person)
    chosen = (
        "AND (c.frame_id = ANY(%(frames)s) OR c.path = ANY(%(frames)s) OR c.did = ANY(%(frames)s))"
    )
    cursor = await connection.execute(
        f"SELECT DISTINCT {_COLUMNS} FROM archive.known_correction c "  # noqa: S608 - words of this module
        f"WHERE c.collection = %(of)s {chosen if frames else ''} "
        "ORDER BY c.correction_id LIMIT %(limit)s".encode(),
        {"of": collection, "frames": list(frames), "limit": limit},
    )
    return [_correction(row) for row in await cursor.fetchall()]


async def changed_at(connection: psycopg.AsyncConnection[Any], collection: str) -> datetime | None:
    """When corrections of a collection last came or went; None where there never were any."""
    cursor = await connection.execute(
        "SELECT changed FROM archive.correction_time WHERE collection = %s", (collection,)
    )
    row = await cursor.fetchone()
    return row[0] if row else None


def _correction(row: Sequence[Any], checks: dict[str, str] | None = None) -> Correction:
    number, start, end, digits, hdu, keyword, current, updated, datatype, comment, reference = row
    return Correction(
        frames=FrameRange(start, end, digits),
        hdu=hdu,
        keyword=keyword,
        current=current,
        updated=updated,
        datatype=datatype,
        comment=comment,
        reference=reference,
        checks=checks or {},
        number=number,
    )


def _stored(collection: str, row: Sequence[Any]) -> StoredProduct:
    number, frame, release, state, path, source, size, modified, did, media, elsewhere, hdus = row
    product = Product(
        collection=collection,
        path=path,
        source=source,
        size=size,
        modified=modified,
        did=did,
        media_type=media,
        release_date=release,
        elsewhere=elsewhere,
        headers=tuple(_header(hdu) for hdu in hdus),
    )
    return StoredProduct(number, frame, state == "arrived", product)


def _header(kept: dict[str, Any]) -> HDUHeader:
    cards = tuple((keyword, value, comment) for keyword, value, comment in kept["cards"])
    return HDUHeader(**(kept | {"cards": cards}))
