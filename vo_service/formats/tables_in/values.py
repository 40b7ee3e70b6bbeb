"""Values of an uploaded VOTable as Arrow arrays, whether written as text or as bytes.

One element type of ours is one Arrow type (`vo_service.formats.columns.ELEMENTS`); arrays are
lists of it. Source: VOTable 1.4, "Table Cell Values", "Primitive Datatypes".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vo_service.errors import UsageError
from vo_service.formats.columns import ELEMENTS
from vo_service.formats.tables_in.fields import Spec

__all__ = ["from_bytes", "from_text", "lists", "masked", "text_of"]

Bytes = NDArray[np.uint8]

_FORMS = {
    "unsignedByte": "u1",
    "short": ">i2",
    "int": ">i4",
    "long": ">i8",
    "float": ">f4",
    "double": ">f8",
    "floatComplex": ">f4",
    "doubleComplex": ">f8",
}
_FALSE, _TRUE, _UNKNOWN, _WRONG = range(4)
_TRUTH = np.full(256, _WRONG, np.uint8)
_TRUTH[list(b"Tt1")] = _TRUE
_TRUTH[list(b"Ff0")] = _FALSE
_TRUTH[list(b"? \0")] = _UNKNOWN

_WORDS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_UNKNOWN_WORDS = frozenset({"", "?"})


def lists(values: pa.Array, lengths: Sequence[int] | NDArray[Any], absent: Any) -> pa.Array:
    """Elements one after the other as lists; *absent* tells which lists are null (or None)."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(np.asarray(lengths, np.int32), out=offsets[1:])
    made = pa.ListArray.from_arrays(offsets, values)
    return made if absent is None else masked(made, np.asarray(absent, bool))


def masked(values: pa.Array, absent: NDArray[np.bool_]) -> pa.Array:
    """*values* with nulls where *absent*."""
    return pc.if_else(pa.array(~absent), values, pa.scalar(None, values.type))


def text_of(values: pa.Array) -> pa.Array:
    """Bytes as text: UTF-8, or Latin-1 where one value is no UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [None if v is None else v.decode("latin-1") for v in values.to_pylist()], pa.string()
        )


def from_bytes(raw: Bytes, spec: Spec, first_row: int) -> pa.Array:
    """Elements (numbers or truth values) of the binary serialisations.

    Parameters
    ----------
    raw
        The bytes of all elements, in order; for ``bit``, one byte for each bit.
    spec
        Of the column.
    first_row
        Number of the first row, for messages.

    Raises
    ------
    UsageError
        A byte is no truth value.
    """
    if spec.datatype == "bit":
        return pa.array(raw.astype(bool))
    if spec.datatype == "boolean":
        truth = _TRUTH[raw]
        if (truth == _WRONG).any():
            byte = int(raw[np.argmax(truth == _WRONG)])
            raise UsageError(
                f"column {spec.name}, at row {first_row} or later: byte 0x{byte:02x} is no truth "
                "value, expected T, F or ?"
            )
        return masked(pa.array(truth == _TRUE), truth == _UNKNOWN)
    numbers = raw.view(_FORMS[spec.datatype])
    native = numbers.astype(numbers.dtype.newbyteorder("="))
    return pa.array(native).cast(ELEMENTS[spec.field.datatype])


def from_text(cells: Sequence[str], spec: Spec, first_row: int) -> pa.Array:
    """The cells of one TABLEDATA column; an empty cell is null.

    Raises
    ------
    UsageError
        A cell cannot be read; names row, column and cell.
    """
    if spec.is_text:
        return pa.array([cell or None for cell in cells], pa.string())
    if spec.null is not None and not spec.is_list:
        null = spec.null.strip()
        cells = ["" if cell.strip() == null else cell for cell in cells]
    if spec.datatype == "bit":
        parts = [list("".join(cell.split())) for cell in cells]
    elif spec.is_list:
        parts = [cell.split() for cell in cells]
    else:
        return _elements(cells, spec, lambda index: first_row + index)
    lengths = [len(part) for part in parts]
    ends = np.cumsum(lengths)
    flat = [element for part in parts for element in part]
    values = _elements(
        flat, spec, lambda index: first_row + int(np.searchsorted(ends, index, side="right"))
    )
    if not spec.is_list:  # a single bit
        for row, length in enumerate(lengths):
            if length > 1:
                raise UsageError(_wrong(first_row + row, spec, cells[row]))
        return _single(values, lengths)
    return lists(values, lengths, [not length for length in lengths])


def _single(values: pa.Array, lengths: Sequence[int]) -> pa.Array:
    """Lists of at most one element as that element."""
    iterator = iter(values.to_pylist())
    return pa.array([next(iterator) if length else None for length in lengths], values.type)


def _elements(cells: Sequence[str], spec: Spec, row_of: Callable[[int], int]) -> pa.Array:
    element = ELEMENTS[spec.field.datatype]
    if spec.field.datatype == "boolean":
        return pa.array([_truth(cell, spec, row_of, i) for i, cell in enumerate(cells)], element)
    try:
        text = pc.utf8_trim_whitespace(pa.array(cells, pa.string()))
        empty = pc.equal(text, "")
        if pc.any(empty).as_py():
            text = pc.if_else(empty, pa.scalar(None, pa.string()), text)
        return text.cast(element)
    except pa.ArrowInvalid:  # something unusual: find it, or read what Arrow does not know
        return _one_by_one(cells, spec, row_of)


def _one_by_one(cells: Sequence[str], spec: Spec, row_of: Callable[[int], int]) -> pa.Array:
    element = ELEMENTS[spec.field.datatype]
    read: Callable[[str], Any] = float if pa.types.is_floating(element) else _integer
    values = np.empty(len(cells), object)
    limits = None if pa.types.is_floating(element) else np.iinfo(element.to_pandas_dtype())
    for index, cell in enumerate(cells):
        text = cell.strip()
        try:
            value = read(text) if text else None
            if "_" in text or (
                value is not None and limits and not limits.min <= value <= limits.max
            ):
                raise ValueError
        except ValueError:
            raise UsageError(_wrong(row_of(index), spec, cell)) from None
        values[index] = value
    return pa.array(values.tolist(), pa.float64() if limits is None else element).cast(element)


def _integer(text: str) -> int:
    """A whole number, in hexadecimal too (VOTable 1.4, "TABLEDATA Serialization")."""
    return int(text, 16) if text.lower().startswith(("0x", "-0x", "+0x")) else int(text)


def _truth(cell: str, spec: Spec, row_of: Callable[[int], int], index: int) -> bool | None:
    word = cell.strip().lower()
    if word in _UNKNOWN_WORDS:
        return None
    if word not in _WORDS:
        raise UsageError(_wrong(row_of(index), spec, cell))
    return _WORDS[word]


def _wrong(row: int, spec: Spec, cell: str) -> str:
    shown = cell if len(cell) <= 40 else cell[:37] + "..."
    return f"row {row}, column {spec.name}: {shown!r} is no {spec.datatype}"
