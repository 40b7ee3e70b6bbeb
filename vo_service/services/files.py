"""Files of the public tree: who may have which, and where it is.

The archive's rows decide (`archive.standing`, made for the one who asks); what is then opened
is the link, or, before the release, the file itself (`Standing.source`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.products import Standing, standing
from vo_service.errors import (
    ForbiddenError,
    GoneError,
    NotFoundError,
    TransientError,
    UnauthorizedError,
)
from vo_service.model.visitor import ANYBODY, Visitor

__all__ = ["FileService"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class FileService:
    """Answers who may read a file; *pool* holds connections of the role ``vo_door``."""

    pool: Pool

    async def find(self, path: str, visitor: Visitor = ANYBODY) -> Standing:
        """The standing of ``<collection>/<path>``, if *visitor* may read its file.

        Raises
        ------
        NotFoundError
            If there is no such file, it was withdrawn, or *visitor* must not know of it.
        GoneError
            If its collection is volatile and its lifetime is over.
        UnauthorizedError, ForbiddenError
            If it is not released yet (the text says when it will be), and nobody known asks,
            or somebody whose proposal it is not.
        """
        collection, _, rest = path.partition("/")
        if "\0" in path:
            raise NotFoundError("there is no such file")
        try:
            async with self.pool.connection() as connection:
                found = await standing(connection, collection, rest, visitor.name)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error
        if found is None:
            raise NotFoundError(f"there is no file {path!r} in this archive")
        if found.readable:
            return found
        if found.state == "withdrawn":
            raise NotFoundError(f"{path!r} was withdrawn")
        if found.state == "expired":
            raise GoneError(
                f"{path!r} is not kept any more: the lifetime of files of its collection is over"
            )
        when = found.release_date
        said = f"{path!r} is proprietary; " + (
            f"it will be released on {when:%Y-%m-%d}" if when else "no release date is set"
        )
        if visitor.name is None:
            raise UnauthorizedError(f"{said}; people of its proposal can have it if they log in")
        raise ForbiddenError(said)
