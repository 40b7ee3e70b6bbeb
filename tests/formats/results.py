"""Results made by hand, and their bytes in any format."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pyarrow as pa

from vo_service.formats.encoder import Info, ServiceDescriptor
from vo_service.formats.output import output_format
from vo_service.model.table import Field, Rows


def field(name: str, datatype: str, arraysize: str | None = None, **more: str) -> Field:
    return Field(name=name, datatype=datatype, arraysize=arraysize, **more)


def batch_of(fields: Sequence[Field], columns: Sequence[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns), names=[f.name for f in fields])


def written(
    name: str,
    fields: tuple[Field, ...],
    *batches: pa.RecordBatch,
    infos: Sequence[Info] = (),
    services: Sequence[ServiceDescriptor] = (),
    truncated: bool = False,
    failure: Exception | None = None,
) -> bytes:
    """The result in the format that RESPONSEFORMAT=*name* gives."""

    async def source() -> AsyncIterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
        if failure:
            raise failure

    async def collect() -> bytes:
        rows = Rows(fields, source(), truncated=truncated)
        return b"".join([x async for x in output_format(name)[0].write(rows, infos, services)])

    return asyncio.run(collect())
