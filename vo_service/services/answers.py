"""Answers of the older protocols, whose columns are known by UCD or utype and not by name.

Most columns are expressions of a query; arrays are put together from columns of its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vo_service.adql import build
from vo_service.adql.nodes import Item, Node
from vo_service.model.table import Field, Rows

__all__ = ["TITLE", "Shown", "described", "items", "pairs", "put_together"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of an answer: what is said of it, and what it is worked out from."""

    field: Field
    value: Node


_TARGET, _OBSERVATION = build.column("target_name"), build.column("obs_id")

#: What a product is called: its target and its observation, or the latter alone.
TITLE = build.coalesce(
    build.compute(build.compute(_TARGET, "||", build.text(" ")), "||", _OBSERVATION), _OBSERVATION
)


def items(columns: Sequence[Shown]) -> list[Item]:
    """The select list of columns; names of fields are plain identifiers."""
    return [build.item(column.value, column.field.name) for column in columns]


def described(rows: Rows, columns: Sequence[Shown]) -> Rows:
    """Rows of `items`, with what the answer says of its columns; types stay those of the rows."""
    rows.fields = tuple(
        dataclasses.replace(column.field, datatype=found.datatype, arraysize=found.arraysize)
        for column, found in zip(columns, rows.fields, strict=True)
    )
    return rows


def put_together(
    rows: Rows,
    kept: int,
    fields: Sequence[Field],
    make: Callable[[Sequence[pa.Array]], list[pa.Array]],
) -> Rows:
    """Rows with their first *kept* columns, and then *fields*, which *make* makes of the others."""
    source = rows.source
    rows.fields = (*rows.fields[:kept], *fields)
    names = [field.name for field in rows.fields]

    async def batches() -> AsyncIterator[pa.RecordBatch]:
        async for batch in source:
            made = make(batch.columns[kept:])
            yield pa.RecordBatch.from_arrays([*batch.columns[:kept], *made], names=names)

    rows.source = batches()
    return rows


def pairs(first: pa.Array, second: pa.Array) -> pa.Array:
    """Two columns of numbers as one of arrays of two, null where either is."""
    known = pc.and_(pc.is_valid(first), pc.is_valid(second))
    sides = [np.asarray(pc.fill_null(side, 0)) for side in (first, second)]
    values = pa.array(np.column_stack(sides).ravel())
    lists = pa.FixedSizeListArray.from_arrays(values, 2, mask=pc.invert(known))
    return lists.cast(pa.list_(values.type))
