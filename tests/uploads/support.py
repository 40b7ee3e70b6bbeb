"""Queries with uploads, without HTTP; and files read without a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.stream import Reader
from vo_service.formats.tables_in import Incoming, Limits, read_table
from vo_service.model.table import Field
from vo_service.params.tap import TapQuery
from vo_service.params.upload import UploadSpec
from vo_service.services.catalog import CatalogCache
from vo_service.services.tap import TapService
from vo_service.services.uploads import Part, UploadService
from vo_service.settings import Settings

#: Memory is not limited here: the limit would be that of the whole test run.
LIMITS = Limits(rows=2000, bytes=1_000_000, memory=2**62)


def read(
    content: bytes, place: Path, content_type: str | None = None, limits: Limits = LIMITS
) -> tuple[Incoming, dict[str, list[Any]]]:
    """An uploaded file: its columns, and its values by their names."""
    source, target = place / "source", place / "target.arrow"
    source.write_bytes(content)
    found = read_table("t", source, content_type, target, limits)
    with pa.OSFile(str(target)) as file:
        table = pa.ipc.open_file(file).read_all()
    names = [field.name for field in found.fields]
    return found, dict(zip(names, (column.to_pylist() for column in table.columns), strict=True))


class Uploads:
    """A TAP service on a database."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self.settings = settings
        dsn = conninfo(settings, Role.READER, statement_timeout="20s")
        self._place = place
        self._reader = Reader(dsn, size=4, limit_s=20.0)
        self._engine = engine_at(dsn)
        self.service = UploadService(settings)
        self.tap = TapService(self._reader, CatalogCache(self._engine, 20.0), self.service)

    def part(self, content: bytes, content_type: str | None = None) -> Part:
        path = self._place / "part"
        path.write_bytes(content)
        return Part(path, content_type)

    async def query(
        self, text: str, content: bytes, content_type: str | None = None
    ) -> tuple[tuple[Field, ...], list[dict[str, Any]]]:
        """Fields and rows of a query on ``TAP_UPLOAD.t``."""
        specs = (UploadSpec("t", "param:p", "p"),)
        return await self.run(text, specs, {"p": self.part(content, content_type)})

    async def run(
        self, text: str, specs: Sequence[UploadSpec], parts: dict[str, Part]
    ) -> tuple[tuple[Field, ...], list[dict[str, Any]]]:
        rows = await self.tap.query(
            TapQuery(query=text, maxrec=1_000_000, uploads=tuple(specs)), parts
        )
        try:
            found = [row async for batch in rows.batches() for row in batch.to_pylist()]
        finally:
            await rows.aclose()
        names = [field.name for field in rows.fields]
        return rows.fields, [dict(zip(names, row.values(), strict=True)) for row in found]

    async def aclose(self) -> None:
        await self._reader.aclose()
        self._engine.dispose()
