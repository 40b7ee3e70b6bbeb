"""SODA operations: which files a request means, and how DataLink describes their cutouts.

Source: SODA 1.0, "{sync}". Whether somebody may read a file is `services.files`' to say; what is
cut out of it is `services.cutting`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.datalink import CUTOUT
from vo_service.db.products import Standing
from vo_service.db.soda import Dataset, datasets, extents
from vo_service.errors import NotFoundError, TransientError
from vo_service.formats.encoder import ServiceDescriptor
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.services.cutouts import cutout_descriptor, cutouts_descriptor
from vo_service.services.datalink import OWN_CUTOUTS
from vo_service.services.files import FileService
from vo_service.settings import Settings

__all__ = ["Found", "SodaService"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset and the standing of its file."""

    dataset: Dataset
    standing: Standing


@dataclass(frozen=True, slots=True)
class SodaService:
    """Finds datasets; *pool* holds connections of the role ``vo_door``."""

    pool: Pool
    files: FileService

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

    async def check(self, located: Sequence[Dataset], visitor: Visitor) -> list[Found]:
        """The same datasets, if *visitor* may read all of their files.

        Raises
        ------
        NotFoundError
            If a file is not here, or was withdrawn.
        ForbiddenError
            If one is not released yet; as for ``/data/``.
        """
        found = []
        for dataset in located:
            standing = await self.files.find(dataset.place, visitor)
            if standing.size is None:
                raise NotFoundError(f"{dataset.did}: only the header is kept here")
            found.append(Found(dataset, standing))
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
        async with self._connection() as connection:
            known = await extents(connection, ids, visitor.name)
        places = {did: place for place, did in enumerate(ids, 1)}
        return [
            cutout_descriptor(settings, extent, f"{CUTOUT}-{places[extent.did]}")
            for extent in known
        ]

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction."""
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error

    async def available(self) -> None:
        """Ask for nothing, which needs the database to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        await self.locate([], ANYBODY)
