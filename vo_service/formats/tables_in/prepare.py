"""The last step of reading: rows of any format checked, cleaned and written as Arrow.

Here values get the form that PostgreSQL holds. Angles of geometries are degrees (DALI 1.1,
"Geometry values"); a circle may have at most 90 degrees, the largest that pgSphere knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vo_service.errors import TooLargeError, UsageError
from vo_service.formats.columns import ELEMENTS, TEXT, element_count, is_array
from vo_service.model.table import Field

__all__ = ["Incoming", "write_prepared"]

#: xtypes that PostgreSQL holds as geometries, and how many numbers they have.
_SHAPES: dict[str | None, int | None] = {"point": 2, "circle": 3, "polygon": None}

_NAME_BYTES = 63  # PostgreSQL cuts longer names, and so may make two the same
_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Incoming:
    """An uploaded table that was read.

    Parameters
    ----------
    fields
        The columns, under the names that the file gives them.
    shapes
        The xtype (point, circle, polygon) of columns that hold a geometry, None for others.
    rows
        How many there are.
    """

    fields: tuple[Field, ...]
    shapes: tuple[str | None, ...]
    rows: int


def write_prepared(
    fields: Sequence[Field],
    batches: Iterator[pa.RecordBatch],
    target: Path,
    rows_limit: int,
    bytes_limit: int,
) -> Incoming:
    """Write *batches* to an Arrow IPC file whose columns are called ``c1``, ``c2``, ...

    Parameters
    ----------
    fields, batches
        As a reader gives them: arrays in the types of `ELEMENTS`, lists of these, or timestamps.
    target
        The file.
    rows_limit, bytes_limit
        What the table may have; bytes are counted in Arrow's form.

    Raises
    ------
    UsageError
        Two columns have the same name, or a value cannot be held; names row and column.
    TooLargeError
        The table is larger than a limit.
    """
    _check_names(fields)
    preparers = [_Preparer(field) for field in fields]
    schema = pa.schema([(f"c{n}", p.type) for n, p in enumerate(preparers, start=1)])
    rows = size = 0
    with pa.OSFile(str(target), "wb") as out, pa.ipc.new_file(out, schema) as writer:
        for batch in batches:
            first = rows + 1
            rows += batch.num_rows
            if rows > rows_limit:
                raise TooLargeError(f"more than {rows_limit} rows")
            prepared = [
                preparer.prepare(values, first)
                for preparer, values in zip(preparers, batch.columns, strict=True)
            ]
            made = pa.RecordBatch.from_arrays(prepared, schema=schema)
            size += made.nbytes
            if size > bytes_limit:
                raise TooLargeError(f"more than {bytes_limit} bytes of values")
            writer.write_batch(made)
    wide = tuple(
        replace(field, datatype="unicodeChar") if preparer.beyond_ascii else field
        for field, preparer in zip(fields, preparers, strict=True)
    )
    shapes = tuple(field.xtype if _is_shape(field) else None for field in fields)
    return Incoming(wide, shapes, rows)


def _check_names(fields: Sequence[Field]) -> None:
    if len(fields) > _COLUMNS:
        raise TooLargeError(f"{len(fields)} columns: expected at most {_COLUMNS}")
    for name, count in Counter(field.name for field in fields).items():
        if count > 1:
            raise UsageError(f"{count} columns are called {name}: expected different names")
        if not name.strip() or "\0" in name:
            raise UsageError(f"{name!r} is no name for a column")
        if len(name.encode("utf-8", "replace")) > _NAME_BYTES:
            raise UsageError(f"the column name {name[:40]}... is longer than {_NAME_BYTES} bytes")


class _Preparer:
    """Makes the values of one column what PostgreSQL holds."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self.beyond_ascii = False
        element = ELEMENTS[field.datatype]
        self._shape = _is_shape(field)
        if field.datatype in TEXT:
            self.type = pa.timestamp("us") if field.xtype == "timestamp" else pa.string()
        elif self._shape:
            self.type = pa.list_(pa.float64())
        else:
            self.type = pa.list_(element) if is_array(field) else element

    def prepare(self, values: pa.Array, first_row: int) -> pa.Array:
        """Checked values; *first_row* is the number of the first, from 1."""
        if self._field.datatype in TEXT:
            if pa.types.is_timestamp(values.type):
                return values
            if self._field.xtype == "timestamp":
                return self._timestamps(values, first_row)
            return self._text(values)
        if is_array(self._field):
            self._check_lengths(values, first_row)
            if self._shape:
                values = values.cast(pa.list_(pa.float64()))
                self._check_shapes(values, first_row)
            elif values.flatten().null_count and self._field.datatype == "boolean":
                raise UsageError(
                    f"column {self._field.name}: an array of boolean cannot hold unknown values"
                )
            return values
        if pa.types.is_floating(values.type):
            return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return values

    def _text(self, values: pa.Array) -> pa.Array:
        if pc.any(pc.match_substring(values, "\0")).as_py():
            values = pc.replace_substring_regex(values, "\0(.|\n)*", "")
        if not self.beyond_ascii:
            self.beyond_ascii = pc.any(pc.invert(pc.string_is_ascii(values))).as_py() is True
        return values

    def _timestamps(self, values: pa.Array, first_row: int) -> pa.Array:
        text = pc.replace_substring_regex(pc.utf8_trim_whitespace(values), "Z$", "")
        text = pc.replace_substring_regex(text, r"(\.\d{6})\d+$", r"\1")
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        try:
            return text.cast(self.type)
        except pa.ArrowInvalid:
            for row, value in enumerate(text, start=first_row):
                try:
                    value.cast(self.type)
                except pa.ArrowInvalid:
                    raise self._wrong(
                        row, f"{str(value)[:40]!r} is no time, expected YYYY-MM-DDThh:mm:ss.s"
                    ) from None
            raise

    def _check_lengths(self, values: pa.Array, first_row: int) -> None:
        count = element_count(self._field)
        if count is None:
            return
        lengths = pc.fill_null(pc.list_value_length(values), count)
        wrong = pc.index(pc.equal(lengths, count), False).as_py()
        if wrong >= 0:
            raise self._wrong(
                first_row + wrong, f"{lengths[wrong]} elements: expected {self._field.arraysize}"
            )

    def _check_shapes(self, values: pa.Array, first_row: int) -> None:
        """Numbers that make the geometry that they are said to be."""
        xtype = self._field.xtype
        lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
        there = values.is_valid().to_numpy(zero_copy_only=False)
        lengths = np.where(there, lengths, 0).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        numbers = values.flatten().to_numpy(zero_copy_only=False)
        row_of = np.repeat(np.arange(len(values)), lengths)
        place = np.arange(len(numbers)) - np.repeat(starts, lengths)
        checks = [(~np.isfinite(numbers), "a coordinate is not finite")]
        latitude = place % 2 == 1
        checks.append((latitude & (np.abs(numbers) > 90), "a latitude is outside of -90..90"))
        if xtype == "circle":
            radius = (place == 2) & ~((numbers >= 0) & (numbers <= 90))
            checks.append((radius, "a radius is outside of 0..90 degrees"))
        bad_length = there & (
            ((lengths < 6) | (lengths % 2 == 1))
            if xtype == "polygon"
            else lengths != _SHAPES[xtype]
        )
        if bad_length.any():
            row = int(np.argmax(bad_length))
            raise self._wrong(first_row + row, f"{lengths[row]} numbers do not make a {xtype}")
        for wrong, said in checks:
            if wrong.any():
                raise self._wrong(first_row + int(row_of[np.argmax(wrong)]), said)

    def _wrong(self, row: int, said: str) -> UsageError:
        return UsageError(f"row {row}, column {self._field.name}: {said}")


def _is_shape(field: Field) -> bool:
    """Whether PostgreSQL is to hold the values of *field* as a geometry."""
    return field.xtype in _SHAPES and field.datatype in ("float", "double") and is_array(field)
