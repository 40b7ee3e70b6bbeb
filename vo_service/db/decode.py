"""Rows of PostgreSQL's binary protocol as Arrow record batches.

Numbers, times, text and arrays of numbers are decoded in compiled loops (`vo_service.db.kernels`)
into one block of memory a batch; the few other types (``numeric``, ``uuid`` ..) by psycopg, value
by value, and given as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from psycopg.adapt import Transformer
from psycopg.postgres import types
from psycopg.pq import Format

from vo_service.db.kernels import BITS, LIST, NUMBERS, PLAN, TEXT, TIMES, fill, index, measure, walk
from vo_service.errors import VOError

__all__ = ["Decoder", "Heading", "warm"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A column as PostgreSQL announces it: its name, and the OID of its type."""

    name: str
    oid: int


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a type is decoded: which loop, bytes of a value (of an element), the Arrow type."""

    loop: int
    size: int
    arrow: pa.DataType


#: PostgreSQL's names of types. Dates and times count from 2000 there, from 1970 in Arrow.
_NUMBERS = {
    "int2": pa.int16(),
    "int4": pa.int32(),
    "oid": pa.uint32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
}
_KINDS = {
    types["bool"].oid: _Kind(BITS, 1, pa.bool_()),
    types["bytea"].oid: _Kind(TEXT, 0, pa.binary()),
    types["timestamp"].oid: _Kind(TIMES, 8, pa.timestamp("us")),
    types["timestamptz"].oid: _Kind(TIMES, 8, pa.timestamp("us", "UTC")),
    **{
        types[name].oid: _Kind(TEXT, 0, pa.string())
        for name in ("text", "varchar", "bpchar", "name", "json", "xml")
    },
    **{
        types[name].oid: _Kind(NUMBERS, kind.bit_width // 8, kind)
        for name, kind in _NUMBERS.items()
    },
    **{
        types[name].array_oid: _Kind(LIST, kind.bit_width // 8, pa.list_(kind))
        for name, kind in _NUMBERS.items()
    },
}
_OTHER = _Kind(TEXT, 0, pa.binary())


class Decoder:
    """Makes record batches of rows with the columns of *headings*."""

    def __init__(self, headings: Sequence[Heading]) -> None:
        self.headings = tuple(headings)
        self._kinds = [_KINDS.get(heading.oid, _OTHER) for heading in headings]
        self._shapes = np.array([[kind.loop, kind.size] for kind in self._kinds], np.int64)
        self._others = [n for n, heading in enumerate(headings) if heading.oid not in _KINDS]
        self._schema = (
            None if self._others
            else pa.schema([(h.name, k.arrow) for h, k in zip(headings, self._kinds, strict=True)])
        )  # fmt: skip

    def batch(self, buffer: NDArray[np.uint8], rows: int) -> pa.RecordBatch:
        """*rows* rows, which are the messages that *buffer* begins with.

        Raises
        ------
        VOError
            If they are no such rows.
        """
        found = np.empty((len(self.headings), 2, rows), np.int32)
        if not index(buffer, found):
            raise VOError("PostgreSQL's answer cannot be read: a row is not as announced")
        plan = np.empty((len(self.headings), PLAN), np.int64)
        needed = measure(buffer, self._shapes, found, plan)
        if needed < 0:
            name = self.headings[-needed - 1].name
            raise VOError(f"PostgreSQL's answer cannot be read: column {name}: size of a value")
        made = np.zeros(max(needed, 1), np.uint8)
        fill(buffer, self._shapes, found, plan, made)
        block = pa.py_buffer(made)
        columns = [
            _column(block, kind, rows, told)
            for kind, told in zip(self._kinds, plan.tolist(), strict=True)
        ]
        for number in self._others:
            columns[number] = _by_psycopg(columns[number], self.headings[number].oid)
        if self._schema is not None:
            return pa.RecordBatch.from_arrays(columns, schema=self._schema)
        return pa.RecordBatch.from_arrays(columns, [heading.name for heading in self.headings])


def _column(block: pa.Buffer, kind: _Kind, rows: int, plan: list[int]) -> pa.Array:
    """The array whose parts begin at these places of *block*."""
    valid, offsets, values, inner, count, nulls = plan
    bits = (rows + 7) // 8
    validity = block.slice(valid, bits) if nulls else None
    if kind.loop in (BITS, NUMBERS, TIMES):
        size = bits if kind.loop == BITS else rows * kind.size
        parts = [validity, block.slice(values, size)]
        return pa.Array.from_buffers(kind.arrow, rows, parts, nulls)
    starts = block.slice(offsets, 4 * (rows + 1))
    if kind.loop == TEXT:
        parts = [validity, starts, block.slice(values, count)]
        return pa.Array.from_buffers(kind.arrow, rows, parts, nulls)
    held = int(np.frombuffer(starts, np.int32)[rows])
    parts = [block.slice(inner, (held + 7) // 8) if count else None,
             block.slice(values, held * kind.size)]  # fmt: skip
    elements = pa.Array.from_buffers(kind.arrow.value_type, held, parts, count)
    return pa.Array.from_buffers(kind.arrow, rows, [validity, starts], nulls, children=[elements])


def _by_psycopg(values: pa.Array, oid: int) -> pa.Array:
    """Values of a type that has no loop here, as text; lists as lists of text."""
    loader = Transformer().get_loader(oid, Format.BINARY)
    return pa.array(
        [None if value is None else _said(loader.load(value)) for value in values.to_pylist()]
    )


def _said(value: Any) -> Any:
    if isinstance(value, list):
        return [None if element is None else str(element) for element in value]
    return value if isinstance(value, bytes) else str(value)


def warm() -> None:
    """Have the loops ready, so that no query waits: half a second, more if never compiled."""
    row = b"D" + (18).to_bytes(4, "big") + b"\0\1" + (8).to_bytes(4, "big") + bytes(8)
    buffer = np.array(bytearray(row), np.uint8)
    walk(buffer, 0, len(buffer))
    Decoder([Heading("warm", types["float8"].oid)]).batch(buffer, 1)
