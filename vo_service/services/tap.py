"""TAP operations: answer a query, tell what there is to query.

Source: TAP 1.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pyarrow as pa
from anyio import CancelScope, to_thread

from vo_service.adql import Statement
from vo_service.db.stream import Reader
from vo_service.errors import TransientError, UsageError
from vo_service.model.table import Catalog, Gap, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.tap import TapQuery
from vo_service.services.catalog import CatalogCache
from vo_service.services.outage import Outage, reduced
from vo_service.services.patience import Patience
from vo_service.services.prepared import Prepared, PreparedQueries, prepare
from vo_service.services.replicas import Replicas
from vo_service.services.uploads import Part, UploadService
from vo_service.telemetry.context import note_query
from vo_service.telemetry.tracing import span

__all__ = ["TapService"]


@dataclass(frozen=True, slots=True)
class TapService:
    """Reads what is published, as the reader role; with *patience*, refuses what takes too long.

    *members* does the same for people who are known, as the member role. *outage* decides what
    becomes of searches when shards do not answer; *replicas* are asked before *reader*, but for
    what needs an upload.
    """

    reader: Reader
    catalogs: CatalogCache
    uploads: UploadService | None = None
    patience: Patience | None = None
    members: TapService | None = None
    outage: Outage | None = None
    replicas: Replicas | None = None
    prepared: PreparedQueries = field(default_factory=PreparedQueries)

    async def catalog(self) -> Catalog:
        """What may be queried now."""
        return await self.catalogs.get()

    async def query(
        self,
        request: TapQuery,
        parts: Mapping[str, Part] | None = None,
        visitor: Visitor = ANYBODY,
    ) -> Rows:
        """Run a query; the rows must be closed by the caller.

        Parameters
        ----------
        request
            The query, with the tables that it uploads.
        parts
            Parts of the request, for uploads from ``param:``; needed until the rows are there.
        visitor
            Who asks, and sees what is theirs.

        Raises
        ------
        VOError
            For whatever is wrong with the query, before the first row.
        """
        return await self._for(visitor)._query(request, parts or {}, visitor.name)

    async def search(self, statement: Statement, maxrec: int, visitor: Visitor = ANYBODY) -> Rows:
        """Run what the parameters of another protocol mean; otherwise as `query`."""
        ours = self._for(visitor)
        catalog = await ours.catalogs.get()
        return await ours._rows(statement, catalog, maxrec, visitor.name)

    def _for(self, visitor: Visitor) -> TapService:
        return self if visitor.name is None or self.members is None else self.members

    async def _query(
        self, request: TapQuery, parts: Mapping[str, Part], person: str | None
    ) -> Rows:
        stack = AsyncExitStack()
        try:
            catalog = await self._with_uploads(request, parts, stack)
            rows = await self._rows(
                request.query, catalog, request.maxrec, person, uploads=bool(request.uploads)
            )
        except BaseException:
            with CancelScope(shield=True):
                await stack.aclose()
            raise
        stack.push_async_callback(rows.release)  # before the tables that it reads
        rows.release = stack.aclose
        return rows

    async def _with_uploads(
        self, request: TapQuery, parts: Mapping[str, Part], stack: AsyncExitStack
    ) -> Catalog:
        catalog = await self.catalogs.get()
        if not request.uploads:
            return catalog
        if self.uploads is None:
            raise UsageError("UPLOAD: this service takes no uploads")
        schema = await stack.enter_async_context(self.uploads.open(request.uploads, parts))
        return replace(catalog, schemas=(*catalog.schemas, schema)) if schema else catalog

    async def _rows(
        self,
        query: str | Statement,
        catalog: Catalog,
        maxrec: int,
        person: str | None,
        *,
        uploads: bool = False,
    ) -> Rows:
        note_query(query if isinstance(query, str) else None)

        async def translated(known: Catalog) -> Prepared:
            with span("translate"):
                if uploads or known is not catalog:  # the catalogue is of this query alone
                    return await to_thread.run_sync(prepare, query, known, maxrec + 1)
                return await self.prepared.get(query, known, maxrec + 1)

        async def less(gap: Gap) -> Rows:
            known = reduced(catalog, gap)
            return await self._run(await translated(known), maxrec, person, uploads)

        wanted = await translated(catalog)
        if maxrec == 0:
            # Metadata only: an overflow by definition (DALI 1.1, "MAXREC").
            return Rows(fields=wanted.fields, source=_nothing(), truncated=True)
        if self.outage is None:
            return await self._run(wanted, maxrec, person, uploads)
        return await self.outage.run(
            wanted.sql, person, lambda: self._run(wanted, maxrec, person, uploads), less
        )

    async def _run(self, wanted: Prepared, maxrec: int, person: str | None, uploads: bool) -> Rows:
        work = self._read(wanted, maxrec, person, uploads)
        if self.patience is None or uploads:
            # Of a join on the sky the planner knows nothing: the time limit decides.
            return await work
        return await self.patience.wait(wanted.sql, work, person)

    async def _read(self, wanted: Prepared, maxrec: int, person: str | None, uploads: bool) -> Rows:
        replica = self.replicas.fresh() if self.replicas and not uploads else None
        if replica is not None:
            try:
                return await replica.rows(wanted.sql, wanted.fields, maxrec, person)
            except TransientError:
                pass  # it is gone, or what it replays stands against the query
        return await self.reader.rows(wanted.sql, wanted.fields, maxrec, person)

    async def available(self) -> None:
        """Ask the database a question that needs it to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        rows = await self.query(
            TapQuery(query="SELECT TOP 1 table_name FROM tap_schema.tables", maxrec=1)
        )
        await rows.aclose()


async def _nothing() -> AsyncIterator[pa.RecordBatch]:
    return
    yield
