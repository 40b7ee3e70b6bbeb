"""Columns of Arrow batches, made to agree with the fields that announce them.

Every table writer starts here: what PostgreSQL sends (``int8`` for a field declared ``int``,
timestamps, decimals as text) becomes the Arrow type of the field, in slices small enough to
keep memory flat. Source of the types: VOTable 1.4, "Primitive Datatypes".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vo_service.errors import VOError
from vo_service.model.table import Field

__all__ = [
    "ELEMENTS",
    "TEXT",
    "as_declared",
    "described",
    "element_count",
    "is_array",
    "list_parts",
    "slices",
    "text_bytes",
    "unique_names",
]

#: VOTable datatype to the Arrow type of one value; text is held as UTF-8 until it is written.
ELEMENTS: dict[str, Any] = {
    "boolean": pa.bool_(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "char": pa.string(),
    "unicodeChar": pa.string(),
}
TEXT = frozenset({"char", "unicodeChar"})

_SAID = ("name", "datatype", "arraysize", "xtype", "unit", "ucd", "utype", "description")
_SLICE_BYTES = 4_000_000


def is_array(field: Field) -> bool:
    """Whether a value of *field* is several numbers (a string is one value)."""
    return field.arraysize is not None and field.datatype not in TEXT


def element_count(field: Field) -> int | None:
    """Elements (characters, for text) in each value of *field*; None where it varies."""
    if field.arraysize is None:
        return 1
    if field.arraysize.endswith("*"):
        return None
    return math.prod(int(side) for side in field.arraysize.split("x"))


def described(field: Field) -> dict[str, str]:
    """What *field* says, by VOTable's names for it; without what it does not say."""
    return {key: value for key, value in asdict(field).items() if key in _SAID and value}


def unique_names(fields: tuple[Field, ...]) -> list[str]:
    """Names of columns where no two may be alike without case: the second gets ``_2``."""
    taken: set[str] = set()
    names = []
    for field in fields:
        name, number = field.name, 1
        while name.lower() in taken:
            number += 1
            name = f"{field.name}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def slices(batch: pa.RecordBatch, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """*batch* in order, in parts of at most *rows* and (one row apart) some megabytes."""
    for start in range(0, batch.num_rows, rows):
        yield from _halves(batch.slice(start, rows))


def _halves(part: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if part.nbytes <= _SLICE_BYTES or part.num_rows == 1:
        yield part
        return
    half = part.num_rows // 2
    yield from _halves(part.slice(0, half))
    yield from _halves(part.slice(half))


def as_declared(column: pa.Array, field: Field) -> pa.Array:
    """*column* in the Arrow type of *field*: a list of it for arrays, UTF-8 for text.

    Raises
    ------
    VOError
        If a value does not fit the declared type; names the field.
    """
    element = ELEMENTS[field.datatype]
    wanted = pa.list_(element) if is_array(field) else element
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if column.type == wanted:
        return column
    try:
        if field.datatype in TEXT and pa.types.is_timestamp(column.type):
            return pc.strftime(column, format="%Y-%m-%dT%H:%M:%S")  # DALI 1.1, "Timestamp"
        # A large integer may lose digits as a double, never a double its fraction as an integer.
        return pc.cast(
            column,
            options=pc.CastOptions(
                target_type=wanted, allow_float_truncate=pa.types.is_floating(element)
            ),
        )
    except pa.ArrowException as error:
        raise VOError(
            f"column {field.name}: a value of type {column.type} is no {field.datatype}: {error}"
        ) from error


def list_parts(column: pa.Array, field: Field) -> tuple[pa.Array, NDArray[np.int32]]:
    """Elements of a column of lists in one array, and where each list starts in it.

    Returns
    -------
    values, offsets
        Elements without null (NaN instead), and one offset more than there are lists; a list
        that is null has no elements.

    Raises
    ------
    VOError
        If an integer or boolean array holds a null, for which VOTable has no form.
    """
    values = column.flatten()
    if values.null_count:
        if not pa.types.is_floating(values.type):
            raise VOError(f"column {field.name}: an array of {field.datatype} cannot hold nulls")
        values = pc.fill_null(values, math.nan)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(column) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return values, offsets


def text_bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The bytes of a string or binary column one after the other, and the offsets of its values."""
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset :][: len(column) + 1]
    if data_buffer is None:
        return np.empty(0, np.uint8), offsets
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets - offsets[0]
