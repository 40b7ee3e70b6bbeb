"""What becomes of a search when a shard does not answer: an error, or what the others have.

While all shards answer, nothing is done here. Otherwise PostgreSQL's plan tells which partitions
a query may read. One that needs none of a shard that is down runs as ever. Another is an error
that names the part of the sky, or the collections; or, where the operator chose
``shard_down = "partial"``, it runs over the rest, and its answer says so (an overflow, DALI 1.1,
with the reason).
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio
import psycopg
import pyarrow as pa

from vo_service.db.estimate import partitions_of
from vo_service.errors import TransientError
from vo_service.formats.output import OutputFormat
from vo_service.model.shard import Part, by_collection, joined, unavailable, unplaced
from vo_service.model.table import Catalog, Gap, Rows
from vo_service.services.race import unless
from vo_service.services.shard_watch import ShardWatch

__all__ = ["Outage", "gap_of", "reduced", "told_of"]

_LOOK_S = 0.2
_PLAN_S = 5.0

#: How long a query that lost its connection waits to hear which shard it was.
_NEWS_S = 4.0

#: Relations with rows that shards keep; what is uploaded or of other sites is always here.
_SPREAD = {
    *("archive.obscore", "archive.obscore_member"),
    *("archive.everything", "archive.everything_member"),
}

Run = Callable[[], Awaitable[Rows]]


@dataclass(frozen=True, slots=True)
class Outage:
    """Guards searches of one role.

    Parameters
    ----------
    watch
        Tells which shards are down.
    conninfo
        Of the role whose searches these are, for PostgreSQL's plans.
    mode
        What the operator wants to happen.
    """

    watch: ShardWatch
    conninfo: str
    mode: Literal["error", "partial"]

    async def run(
        self,
        select: str,
        person: str | None,
        work: Run,
        less: Callable[[Gap], Awaitable[Rows]],
    ) -> Rows:
        """The rows of a query, or of what can be read of it.

        Parameters
        ----------
        select, person
            The query in SQL, and who asks.
        work
            Runs it.
        less
            Runs it without some rows.

        Raises
        ------
        TransientError
            It needs a shard that is down, and the operator wants no partial answers.
        """
        if not self.watch.parts:
            return await work()
        missing = await self._missing(select, person, self.watch.down())
        if not missing:
            try:
                rows, missing = await self._until_one_falls(select, person, work)
            except TransientError:
                missing = await self._blamed(select, person)
                if not missing:
                    raise
                rows = None
            if rows is not None:
                rows.source = self._guarded(rows.source, select, person)
                return rows
        if self.mode == "error":
            raise TransientError(unavailable(missing))
        rows = await less(gap_of(missing))
        rows.missing = unavailable(missing)
        return rows

    async def _missing(self, select: str, person: str | None, down: Collection[str]) -> list[Part]:
        """The partitions that *select* may read and that are on shards which are down."""
        if not down:
            return []
        away = {part.partition: part for part in self.watch.parts if part.shard in down}
        read: set[str] = set()
        # Soon done, and not to be broken off in between, when the query comes to its end first.
        with anyio.move_on_after(_PLAN_S, shield=True):
            try:
                async with await psycopg.AsyncConnection.connect(self.conninfo) as connection:
                    read = await partitions_of(connection, select, person)
            except psycopg.Error:
                return []  # the centre itself is in trouble: the query will tell
        touched = {away[name].shard for name in read & set(away)}
        # All that these shards keep: another query may need another part of it.
        return [part for part in away.values() if part.shard in touched]

    async def _until_one_falls(
        self, select: str, person: str | None, work: Run
    ) -> tuple[Rows | None, list[Part]]:
        """The rows; or what became unreadable while they were waited for."""
        missing: list[Part] = []

        async def fallen() -> None:
            missing.extend(await self._next_fall(select, person))

        outcome = await unless(fallen(), work())
        return (outcome[0], []) if outcome else (None, missing)

    async def _next_fall(self, select: str, person: str | None) -> list[Part]:
        """Wait until a shard that *select* reads is down; what it keeps."""
        seen: frozenset[str] = frozenset()
        while True:
            down = self.watch.down()
            if down != seen and (missing := await self._missing(select, person, down)):
                return missing
            seen = down
            await anyio.sleep(_LOOK_S)

    async def _blamed(self, select: str, person: str | None) -> list[Part]:
        """What was the reason that a query lost its connection, if a shard was."""
        with anyio.move_on_after(_NEWS_S):
            return await self._next_fall(select, person)
        return []

    async def _guarded(
        self, source: AsyncIterator[pa.RecordBatch], select: str, person: str | None
    ) -> AsyncIterator[pa.RecordBatch]:
        """Batches; a shard that falls while they come is named, and not waited for."""
        while True:
            missing: list[Part] = []

            async def fallen(found: list[Part] = missing) -> None:
                found.extend(await self._next_fall(select, person))

            try:
                outcome = await unless(fallen(), anext(source, None))
            except TransientError:
                if found := await self._blamed(select, person):
                    raise TransientError(unavailable(found)) from None
                raise
            if not outcome:
                raise TransientError(unavailable(missing))
            if outcome[0] is None:
                return
            yield outcome[0]


def gap_of(missing: Sequence[Part]) -> Gap:
    """What cannot be read without some parts; all of a collection of which one is missing."""
    return Gap(tuple(joined(unplaced(missing))), tuple(by_collection(missing)))


def reduced(catalog: Catalog, gap: Gap) -> Catalog:
    """The catalogue without the rows of a gap, in tables that show observations of ours."""
    schemas = (
        dataclasses.replace(
            schema,
            tables=tuple(
                dataclasses.replace(table, without=gap) if table.relation in _SPREAD else table
                for table in schema.tables
            ),
        )
        for schema in catalog.schemas
    )
    return dataclasses.replace(catalog, schemas=tuple(schemas))


async def told_of(rows: Rows, written: OutputFormat) -> None:
    """See that the answer can say that rows are missing, if some are; else there is none.

    Raises
    ------
    TransientError
        The format has no place for it; the rows are closed.
    """
    if rows.missing is not None and not written.tells:
        await rows.aclose()
        raise TransientError(
            f"{rows.missing}, but in a format that can say what is missing: "
            "RESPONSEFORMAT=votable, not " + written.suffix
        )
