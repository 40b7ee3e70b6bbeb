"""SODA operations: which files a request means, and how DataLink describes their cutouts.

Source: SODA 1.0, "{sync}". Whether somebody may read a file is `services.files`' to say; what is
cut out of it is `services.cutting`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.datalink import CUTOUT
from vo_service.db.products import Standing
from vo_service.db.soda import Dataset, Extent, datasets, extents
from vo_service.errors import NotFoundError, TransientError
from vo_service.formats.encoder import ServiceDescriptor
from vo_service.model.shard import unavailable
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.services.correction_lists import CorrectionLists, FileCorrections
from vo_service.services.cutouts import cutout_descriptor, cutouts_descriptor
from vo_service.services.datalink import OWN_CUTOUTS
from vo_service.services.files import FileService
from vo_service.services.shard_watch import ShardWatch
from vo_service.settings import Settings

__all__ = ["Found", "SodaService"]

#: Seconds for a question about datasets, which goes to all shards.
_ANSWER_S = 10.0

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset, the standing of its file, and the corrections of its headers, if wanted."""

    dataset: Dataset
    standing: Standing
    corrections: FileCorrections | None = None


@dataclass(frozen=True, slots=True)
class SodaService:
    """Finds datasets; *pool* holds connections of the role ``vo_door``.

    Observations of datasets are looked for in all *shards*, so that none may be away.
    """

    pool: Pool
    files: FileService
    shards: ShardWatch | None = None

    async def locate(self, ids: Sequence[str], visitor: Visitor) -> list[Dataset]:
        """The datasets of a request, as far as *visitor* may know of them, in its order.

        Raises
        ------
        NotFoundError
            If there is none with one of the identifiers.
        """
        async with self._connection() as connection:
            known = await datasets(connection, ids, visitor.name)
        for did in ids:
            if did not in known:
                raise NotFoundError(f"ID: nothing here has the identifier {did[:200]!r}")
        return [known[did] for did in ids]

    async def check(
        self, located: Sequence[Dataset], visitor: Visitor, *, corrected: bool = False
    ) -> list[Found]:
        """The same datasets, if *visitor* may read all of their files.

        With the corrections of their headers, if these are to be *corrected*.

        Raises
        ------
        NotFoundError
            If a file is not here, or was withdrawn.
        ForbiddenError
            If one is not released yet; as for ``/data/``.
        """
        found = []
        lists = CorrectionLists(self.pool)
        for dataset in located:
            standing = await self.files.find(dataset.place, visitor)
            if standing.size is None:
                raise NotFoundError(f"{dataset.did}: only the header is kept here")
            corrections = await lists.of_file(dataset.place, visitor) if corrected else None
            found.append(Found(dataset, standing, corrections))
        return found

    async def descriptors(
        self, settings: Settings, ids: Sequence[str], visitor: Visitor
    ) -> list[ServiceDescriptor]:
        """What DataLink's rows of cutouts name: one of each dataset, or one for all.

        Raises
        ------
        TransientError
            If the database is not available.
        """
        if len(ids) > OWN_CUTOUTS:
            return [cutouts_descriptor(settings, "ID", CUTOUT)]
        try:
            async with self._connection() as connection:
                known = await extents(connection, ids, visitor.name)
        except TransientError:
            if self.shards is None or not self.shards.parts:
                raise
            # What they cover is not known while a shard is away; that there are cutouts is.
            known = [Extent.unknown(did) for did in ids]
        places = {did: place for place, did in enumerate(ids, 1)}
        return [
            cutout_descriptor(settings, extent, f"{CUTOUT}-{places[extent.did]}")
            for extent in known
        ]

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction that soon ends, for what a hanging shard might hold up."""
        if self.shards is not None and (missing := self.shards.missing()):
            raise TransientError(unavailable(missing))
        try:
            with anyio.fail_after(_ANSWER_S):
                async with self.pool.connection() as connection:
                    yield connection
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise TransientError("the database is not available now; try again soon") from error

    async def available(self) -> None:
        """Ask for nothing, which needs the database to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        await self.locate([], ANYBODY)
