"""TAP operations: answer a query, tell what there is to query.

Source: TAP 1.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pyarrow as pa
from anyio import CancelScope, to_thread

from vo_service.adql import Statement, translate
from vo_service.db.stream import Reader
from vo_service.errors import UsageError
from vo_service.model.table import Catalog, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.tap import TapQuery
from vo_service.services.catalog import CatalogCache
from vo_service.services.patience import Patience
from vo_service.services.uploads import Part, UploadService

__all__ = ["TapService"]


@dataclass(frozen=True, slots=True)
class TapService:
    """Reads what is published, as the reader role; with *patience*, refuses what takes too long.

    *members* does the same for people who are known, as the member role.
    """

    reader: Reader
    catalogs: CatalogCache
    uploads: UploadService | None = None
    patience: Patience | None = None
    members: TapService | None = None

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
        return await ours._rows(statement, await ours.catalogs.get(), maxrec, visitor.name)

    def _for(self, visitor: Visitor) -> TapService:
        return self if visitor.name is None or self.members is None else self.members

    async def _query(
        self, request: TapQuery, parts: Mapping[str, Part], person: str | None
    ) -> Rows:
        stack = AsyncExitStack()
        try:
            catalog = await self._with_uploads(request, parts, stack)
            rows = await self._rows(request.query, catalog, request.maxrec, person)
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
        self, query: str | Statement, catalog: Catalog, maxrec: int, person: str | None
    ) -> Rows:
        wanted = await to_thread.run_sync(translate, query, catalog, maxrec + 1)
        if maxrec == 0:
            # Metadata only: an overflow by definition (DALI 1.1, "MAXREC").
            return Rows(fields=wanted.fields, source=_nothing(), truncated=True)
        work = self.reader.rows(wanted.select, wanted.fields, maxrec, person)
        return await (self.patience.wait(wanted.select, work, person) if self.patience else work)

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
