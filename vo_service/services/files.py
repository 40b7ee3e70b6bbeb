"""Files of the public tree: who may have which, and where it is.

The archive's rows decide (`archive.standing`); the link is what is then opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.products import Standing, standing
from vo_service.errors import ForbiddenError, NotFoundError, TransientError
from vo_service.model.visitor import ANYBODY, Visitor

__all__ = ["FileService"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class FileService:
    """Answers whether a file may be read by everybody."""

    pool: Pool

    async def find(self, path: str, visitor: Visitor = ANYBODY) -> Standing:
        """The standing of ``<collection>/<path>``, if *visitor* may read its file.

        Raises
        ------
        NotFoundError
            If there is no such file, or it was withdrawn.
        ForbiddenError
            If it is not released yet; the text says when it will be.
        """
        collection, _, rest = path.partition("/")
        if "\0" in path:
            raise NotFoundError("there is no such file")
        try:
            async with self.pool.connection() as connection:
                found = await standing(connection, collection, rest)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error
        if found is None:
            raise NotFoundError(f"there is no file {path!r} in this archive")
        if found.state == "withdrawn":
            raise NotFoundError(f"{path!r} was withdrawn")
        if found.state != "public":
            when = found.release_date
            raise ForbiddenError(
                f"{path!r} is proprietary; "
                + (f"it will be released on {when:%Y-%m-%d}" if when else "no release date is set")
            )
        return found
