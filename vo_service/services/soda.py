"""SODA operations: which files a request means, and how DataLink describes their cutouts.

Source: SODA 1.0, "{sync}". Whether somebody may read a file is `services.files`' to say; what is
cut out of it is `services.cutting`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.datalink import CUTOUT
from vo_service.db.products import Standing
from vo_service.db.soda import Dataset, Extent, datasets, extents
from vo_service.errors import NotFoundError, TransientError
from vo_service.formats.encoder import ServiceDescriptor
from vo_service.model.shard import Part, unavailable
from vo_service.model.table import Gap
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.services.correction_lists import CorrectionLists, FileCorrections
from vo_service.services.cutouts import cutout_descriptor, cutouts_descriptor
from vo_service.services.datalink import OWN_CUTOUTS
from vo_service.services.files import FileService
from vo_service.services.outage import gap_of
from vo_service.services.shard_watch import ShardWatch
from vo_service.settings import Settings

__all__ = ["Found", "SodaService"]

#: Seconds for a question about datasets, which goes to all shards; and until it is known which of
#: them was the reason that there was no answer.
_ANSWER_S, _NEWS_S = 10.0, 4.0
_LOOK_S = 0.2

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]

_T = TypeVar("_T")
#: Identifiers, who asks, and what cannot be read.
_Question = Callable[
    [psycopg.AsyncConnection[Any], Sequence[str], str | None, Gap | None], Awaitable[_T]
]


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset, the standing of its file, and the corrections of its headers, if wanted."""

    dataset: Dataset
    standing: Standing
    corrections: FileCorrections | None = None


@dataclass(frozen=True, slots=True)
class SodaService:
    """Finds datasets; *pool* holds connections of the role ``vo_door``.

    Where its observation is, a dataset does not tell: all *shards* are asked, and of those that are
    away nothing. A dataset that is not found then may be theirs.
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
        TransientError
            If one may be on a shard that is away, or the database is not available.
        """
        known, missing = await self._asked(datasets, ids, visitor)
        for did in ids:
            if did not in known:
                raise NotFoundError(f"ID: nothing here has the identifier {did[:200]!r}")
            if known[did].readable and known[did].headers is None:
                raise TransientError(unavailable(missing))
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
        known, missing = await self._asked(extents, ids, visitor)
        if missing:
            # What others cover is not known while a shard is away; that there are cutouts is.
            seen = {extent.did for extent in known}
            known += [Extent.unknown(did) for did in ids if did not in seen]
        places = {did: place for place, did in enumerate(ids, 1)}
        return [
            cutout_descriptor(settings, extent, f"{CUTOUT}-{places[extent.did]}")
            for extent in known
        ]

    async def _asked(
        self, question: _Question[_T], ids: Sequence[str], visitor: Visitor
    ) -> tuple[_T, list[Part]]:
        """The answer to a question about datasets, and what it could not look at."""
        missing = self._missing()
        try:
            return await self._answer(question, ids, visitor, missing), missing
        except TransientError:
            if not (missing := await self._news(missing)):
                raise
        return await self._answer(question, ids, visitor, missing), missing

    async def _answer(
        self, question: _Question[_T], ids: Sequence[str], visitor: Visitor, missing: list[Part]
    ) -> _T:
        """In a transaction that soon ends: a shard may hang."""
        gap = gap_of(missing) if missing else None
        try:
            with anyio.fail_after(_ANSWER_S):
                async with self.pool.connection() as connection:
                    return await question(connection, ids, visitor.name, gap)
        except (psycopg.OperationalError, PoolTimeout, TimeoutError) as error:
            raise TransientError("the database is not available now; try again soon") from error

    def _missing(self) -> list[Part]:
        return [] if self.shards is None else self.shards.missing()

    async def _news(self, known: Sequence[Part]) -> list[Part]:
        """What is missing, as soon as that is more than was *known*; nothing if it stays so."""
        if self.shards is not None and self.shards.parts:
            with anyio.move_on_after(_NEWS_S):
                while True:
                    if set(missing := self._missing()) - set(known):
                        return missing
                    await anyio.sleep(_LOOK_S)
        return []

    async def available(self) -> None:
        """Ask for nothing, which needs the database to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        await self.locate([], ANYBODY)
