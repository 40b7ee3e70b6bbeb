"""Which file a data server may send: asked of the centre's database, or told by its signature.

With a database, everything is as at the centre, and a signed link opens what has not been
withdrawn since. Without one, a file is public if it has a link in this server's tree, and a
closed one is opened by a signed link only. Source: MISSION B8.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.dataservers import signed_file
from vo_service.errors import ConfigError, NotFoundError, TransientError
from vo_service.model.visitor import Visitor
from vo_service.services.files import FileService
from vo_service.services.signing import SignedLinks

__all__ = ["DataFiles", "Readable"]

_log = logging.getLogger(__name__)

#: Media types by the end of a name, for a server that knows no headers (RFC 4047).
_TYPES = {
    ".fits": "application/fits",
    ".fit": "application/fits",
    ".fts": "application/fits",
    ".fz": "application/fits",
    ".gz": "application/gzip",
}

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class Readable:
    """A file that may be sent to the one who asks.

    *linked* tells that its link in the tree is to be opened, and nothing else; *places* are
    where it may lie if not, *roots* the directories in one of which it must lie in any case.
    *state* and *product_id* are known where there is a database, and *size*, that of the file
    that was archived in bytes, where it was read there.
    """

    media_type: str
    linked: bool
    places: Sequence[Path]
    roots: Sequence[Path]
    state: str | None = None
    product_id: int | None = None
    size: int | None = None


class DataFiles:
    """Says which files may be sent.

    Parameters
    ----------
    links
        Opens signed links.
    roots
        Directories on this machine, by collection; they come before those that the centre says.
    pool
        Connections of the door to the centre's database; None where there is none.
    """

    def __init__(
        self, links: SignedLinks, roots: Mapping[str, Sequence[Path]], pool: Pool | None
    ) -> None:
        self._links = links
        self._roots = roots
        self._pool = pool
        self._files = FileService(pool) if pool is not None else None

    async def signed(self, path: str, pairs: Sequence[tuple[str, str]]) -> Readable:
        """``<collection>/<path>``, if the parameters of the request are signed for it.

        Raises
        ------
        ForbiddenError
            If they are not, or no more.
        NotFoundError
            If the file was withdrawn since.
        TransientError
            If there is no database, or no key.
        """
        try:
            self._links.check(path, pairs)
        except ConfigError as error:
            _log.error("signed links cannot be opened: %s", error)
            raise TransientError("signed links cannot be opened now; try again later") from error
        collection, rest = _parts(path)
        roots = self._roots.get(collection, ())
        if self._pool is None:
            return self._unknown(collection, rest, linked=False)
        try:
            async with self._pool.connection() as connection:
                found = await signed_file(connection, collection, rest)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error
        if found is None:
            raise NotFoundError(f"there is no file {path!r} in this archive, or not any more")
        if roots or found.source is None:
            places = [root / rest for root in roots]
        else:
            places, roots = [Path(found.source)], list(map(Path, found.roots))
        return Readable(
            found.media_type, False, places, roots, found.state, found.product_id, found.size
        )

    async def find(self, path: str, visitor: Visitor) -> Readable:
        """``<collection>/<path>``, if *visitor* may read it; without a database, if it is linked.

        Raises
        ------
        NotFoundError, UnauthorizedError, ForbiddenError, TransientError
            As `FileService.find`.
        """
        collection, rest = _parts(path)
        if self._files is None:
            return self._unknown(collection, rest, linked=True)
        found = await self._files.find(path, visitor)
        roots = self._roots.get(collection) or list(map(Path, found.roots))
        places = [root / rest for root in roots]
        if collection not in self._roots and found.source is not None:
            places = [Path(found.source)]
        return Readable(
            found.media_type, found.state == "public", places, roots, found.state,
            found.product_id, found.size,
        )  # fmt: skip

    def _unknown(self, collection: str, rest: str, *, linked: bool) -> Readable:
        roots = self._roots.get(collection, ())
        kind = _TYPES.get(Path(rest).suffix.lower(), "application/octet-stream")
        return Readable(kind, linked, [root / rest for root in roots], roots)


def _parts(path: str) -> tuple[str, str]:
    """Collection and path below it; both plain."""
    parts = path.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise NotFoundError(f"there is no file {path!r} here")
    return parts[0], "/".join(parts[1:])
