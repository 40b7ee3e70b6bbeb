"""Header corrections as clients get them: those of a file, of frames, of a collection.

What a client must not know of, `archive.known_product` keeps back: only corrections that are
meant for a product which the one who asks may know of are told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.corrections import changed_at, known_of_collection, known_of_product
from vo_service.errors import NotFoundError, TransientError
from vo_service.model.correction import Correction
from vo_service.model.table import Field, Rows
from vo_service.model.visitor import Visitor

__all__ = ["FIELDS", "CorrectionLists", "FileCorrections"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


def _text(name: str, description: str) -> Field:
    return Field(name=name, datatype="char", arraysize="*", description=description)


#: The columns of a list, which are those of a file that can be imported.
FIELDS = (
    _text("start_frame", "First frame; or one frame, path or identifier"),
    _text("end_frame", "Last frame, the same as start_frame where there is only one"),
    _text("hdu", "Number or EXTNAME, all, or empty: the first HDU that has the keyword"),
    _text("keyword", "Keyword to be corrected"),
    _text("current", "Value in the file; empty: none"),
    _text("updated", "Right value, as it stands in a card (strings without quotes); empty: none"),
    _text("datatype", "int, float, string or logical"),
    _text("comment", "New comment of the card; empty: the old one stays"),
    _text("reference", "Where the correction comes from"),
)


@dataclass(frozen=True, slots=True)
class FileCorrections:
    """The corrections of a file, and when those of its collection last changed (ns, UTC)."""

    corrections: list[Correction]
    changed_ns: int


@dataclass(frozen=True, slots=True)
class CorrectionLists:
    """Reads corrections; *pool* holds connections of the role ``vo_door``."""

    pool: Pool

    async def of_file(self, path: str, visitor: Visitor) -> FileCorrections:
        """The corrections of ``<collection>/<path>``, in the order in which they are applied."""
        collection, _, rest = path.partition("/")
        async with self._connection() as connection:
            found = await known_of_product(connection, collection, rest, visitor.name)
            changed = await changed_at(connection, collection)
        return FileCorrections(found, int(changed.timestamp()) * 10**9 if changed else 0)

    async def listed(
        self, collection: str, frames: Sequence[str], visitor: Visitor, limit: int
    ) -> Rows:
        """The corrections of frames, paths or identifiers of a collection; of all where none.

        Raises
        ------
        NotFoundError
            If a name cannot be one.
        """
        if any("\0" in name for name in (collection, *frames)):
            raise NotFoundError("there is no such frame: a name holds no NUL character")
        async with self._connection() as connection:
            found = await known_of_collection(
                connection, collection, frames, visitor.name, limit + 1
            )
        return Rows(fields=FIELDS, source=_batches(found[:limit]), truncated=len(found) > limit)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error


async def _batches(corrections: Sequence[Correction]) -> AsyncIterator[pa.RecordBatch]:
    rows = [
        (
            c.frames.start, c.frames.end, c.hdu, c.keyword, c.current, c.updated, c.datatype,
            c.comment, c.reference,
        )
        for c in corrections
    ]  # fmt: skip
    columns = zip(*rows, strict=True) if rows else [()] * len(FIELDS)
    arrays = [pa.array(column, pa.string()) for column in columns]
    yield pa.RecordBatch.from_arrays(arrays, [field.name for field in FIELDS])
