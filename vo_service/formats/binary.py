"""BINARY and BINARY2 streams of VOTable, written in columns.

Everything of fixed width between two strings (null flags, numbers, the length of the string
that follows) is one numpy record per row, big-endian; the records and the strings are then
joined element by element, and the data buffer of the joined array is the stream.

Source: VOTable 1.4, "Data Stream formats: BINARY, BINARY2"; RFC 4648 for base64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pybase64
from numpy.typing import NDArray

from vo_service.errors import VOError
from vo_service.formats.columns import (
    TEXT,
    as_declared,
    element_count,
    is_array,
    list_parts,
    text_bytes,
)
from vo_service.model.table import Field

__all__ = [
    "FORMS",
    "NULL_INTEGERS",
    "BinaryEncoder",
    "as_numpy",
    "big_endian",
    "fixed_array",
    "truth",
]

#: What stands for null in BINARY, which has no flags; declared as ``VALUES/@null``.
NULL_INTEGERS = {"short": -(2**15), "int": -(2**31), "long": -(2**63)}

#: VOTable datatype to the form of one element in a binary stream, of VOTable and of FITS.
FORMS = {
    "boolean": "u1",
    "short": ">i2",
    "int": ">i4",
    "long": ">i8",
    "float": ">f4",
    "double": ">f8",
    "char": "u1",
    "unicodeChar": ">u2",
}
_TRUE, _FALSE, _UNKNOWN = b"TF?"


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring columns of fixed width, and the column of varying width that ends them.

    *fixed* are (number of the column, elements in each of its values).
    """

    record: np.dtype[Any]
    fixed: tuple[tuple[int, int], ...]
    varying: int | None


class BinaryEncoder:
    """Record batches to the content of ``STREAM encoding="base64"``.

    Parameters
    ----------
    fields
        Of the batches, in order.
    flags
        True for BINARY2 (null flags before each row), False for BINARY.
    """

    def __init__(self, fields: tuple[Field, ...], *, flags: bool) -> None:
        self._fields = fields
        self._flags = flags
        self._runs = _runs(fields, (len(fields) + 7) // 8 if flags else 0)
        name = "BINARY2" if flags else "BINARY"
        self._carry = b""
        self._altered: dict[str, None] = {}
        self.opening = f'<{name}><STREAM encoding="base64">\n'.encode()
        self._closing = f"</STREAM></{name}>".encode()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The base64 that *batch* completes; a byte or two wait for the next batch."""
        stream = self._carry + self._rows(batch).data
        whole = len(stream) // 3 * 3
        self._carry = stream[whole:]
        return pybase64.b64encode(memoryview(stream)[:whole])

    def end(self) -> bytes:
        """The last bytes and the closing tags."""
        return pybase64.b64encode(self._carry) + b"\n" + self._closing

    @property
    def altered(self) -> tuple[str, ...]:
        """Names of the ``char`` columns in which characters were replaced so far."""
        return tuple(self._altered)

    def _rows(self, batch: pa.RecordBatch) -> NDArray[np.uint8]:
        columns = [
            self._as_written(column, field)
            for column, field in zip(batch.columns, self._fields, strict=True)
        ]
        pieces: list[pa.Array] = []
        for number, run in enumerate(self._runs):
            records: NDArray[Any] = np.zeros(batch.num_rows, run.record)
            if number == 0 and self._flags:
                records["flags"] = _null_flags(columns)
            for index, count in run.fixed:
                records[f"c{index}"] = self._fixed(columns[index], self._fields[index], count)
            if run.varying is not None:
                text, lengths = _varying(columns[run.varying], self._fields[run.varying])
                records["length"] = lengths
                pieces += [_as_binary(records), text]
            else:
                pieces.append(_as_binary(records))
        joined = pc.binary_join_element_wise(
            *pieces, b"", null_handling="replace", null_replacement=b""
        )
        return text_bytes(joined)[0]

    def _as_written(self, column: pa.Array, field: Field) -> pa.Array:
        column = as_declared(column, field)
        if field.datatype == "char" and _any_from(column, 0x80):
            self._altered[field.name] = None
            return _ascii_only(column)
        return column

    def _fixed(self, column: pa.Array, field: Field, count: int) -> NDArray[Any]:
        if field.datatype in TEXT:
            return _fixed_text(column, field, count)
        if is_array(field):
            absent = np.nan if field.datatype in {"float", "double"} else 0
            return fixed_array(column, field, count, absent)
        if field.datatype == "boolean":
            return truth(column)
        if column.null_count:
            column = pc.fill_null(column, self._null(field))
        return as_numpy(column)

    def _null(self, field: Field) -> float | int:
        if field.datatype in NULL_INTEGERS:
            return 0 if self._flags else NULL_INTEGERS[field.datatype]
        return float("nan")


@lru_cache(256)
def _runs(fields: tuple[Field, ...], flag_bytes: int) -> tuple[_Run, ...]:
    runs: list[_Run] = []
    record: list[Any] = [("flags", "u1", (flag_bytes,))] if flag_bytes else []
    fixed: list[tuple[int, int]] = []
    for index, field in enumerate(fields):
        count = element_count(field)
        if count is None:
            runs.append(_Run(np.dtype([*record, ("length", ">i4")]), tuple(fixed), index))
            record, fixed = [], []
        else:
            shape = () if field.arraysize is None and field.datatype not in TEXT else (count,)
            record.append((f"c{index}", FORMS[field.datatype], shape))
            fixed.append((index, count))
    if record:
        runs.append(_Run(np.dtype(record), tuple(fixed), None))
    return tuple(runs)


def _null_flags(columns: list[pa.Array]) -> NDArray[np.uint8]:
    """One bit per column, the first column in the highest bit of the first byte."""
    nulls = np.zeros((len(columns[0]), len(columns)), bool)
    for index, column in enumerate(columns):
        if column.null_count:
            nulls[:, index] = as_numpy(column.is_null())
    return np.packbits(nulls, axis=1)


def as_numpy(column: pa.Array) -> NDArray[Any]:
    """The values of a column without nulls."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def truth(column: pa.Array) -> NDArray[np.uint8]:
    """Truth values as letters, T, F, and ? for null."""
    truth = np.where(as_numpy(pc.fill_null(column, False)), _TRUE, _FALSE).astype(np.uint8)
    if column.null_count:
        truth[as_numpy(column.is_null())] = _UNKNOWN
    return truth


def big_endian(values: pa.Array, field: Field) -> NDArray[Any]:
    """Elements of arrays in the form in which they are written."""
    if field.datatype == "boolean":
        return truth(values)
    return as_numpy(values).astype(FORMS[field.datatype])


def fixed_array(column: pa.Array, field: Field, count: int, absent: float | int) -> NDArray[Any]:
    """Arrays of *count* elements as rows of one; *absent* fills those that are null.

    Raises
    ------
    VOError
        If an array has another length.
    """
    values, offsets = list_parts(column, field)
    there = as_numpy(column.is_valid())
    if (np.diff(offsets)[there] != count).any():
        raise VOError(f"column {field.name}: an array does not have {field.arraysize} elements")
    arrays = np.full((len(column), count), absent, FORMS[field.datatype])
    arrays[there] = big_endian(values, field).reshape(-1, count)
    return arrays


def _fixed_text(column: pa.Array, field: Field, count: int) -> NDArray[Any]:
    """Text cut or padded with NUL to *count* characters."""
    if field.datatype == "unicodeChar" and _any_from(column, 0xF0):
        # UCS-2 has no place for what needs a pair.
        column = pc.replace_substring_regex(column, "[\U00010000-\U0010ffff]", "\ufffd")
    padded = pc.utf8_slice_codeunits(
        pc.utf8_rpad(pc.fill_null(column, ""), width=count, padding="\0"), 0, count
    )
    data, _ = text_bytes(padded)
    if field.datatype == "unicodeChar":
        return np.frombuffer(_utf16(data), ">u2").reshape(-1, count)
    return data.reshape(-1, count)


def _varying(column: pa.Array, field: Field) -> tuple[pa.Array, NDArray[np.int32]]:
    """Values as bytes, and how many elements each has."""
    if field.datatype == "char":
        lengths = np.diff(text_bytes(column)[1])
        if column.null_count:
            lengths[as_numpy(column.is_null())] = 0
        return column.view(pa.binary()), lengths
    if field.datatype == "unicodeChar":
        data, ends = text_bytes(column)
        # A code unit for each character, and one more where UTF-8 needs four bytes.
        units = np.zeros(len(data) + 1, np.int32)
        np.cumsum(((data & 0xC0) != 0x80).astype(np.int32) + (data >= 0xF0), out=units[1:])
        offsets = units[ends]
        return _slices_of(_utf16(data), offsets * 2), np.diff(offsets)
    values, offsets = list_parts(column, field)
    numbers = big_endian(values, field)
    return _slices_of(numbers, offsets * numbers.itemsize), np.diff(offsets)


def _ascii_only(column: pa.Array) -> pa.Array:
    """Text as VOTable 1.4 wants it in ``char``; a table with one other byte breaks astropy.

    A column that needs more letters is to be declared ``unicodeChar``.
    """
    return pc.replace_substring_regex(column, "[^\\x00-\\x7f]", "?")


def _any_from(column: pa.Array, byte: int) -> bool:
    """Whether a column of strings has a byte of this value or more."""
    data, _ = text_bytes(column)
    return len(data) > 0 and int(data.max()) >= byte


def _utf16(data: NDArray[np.uint8]) -> bytes:
    return data.tobytes().decode("utf-8").encode("utf-16-be")


def _as_binary(records: NDArray[Any]) -> pa.Array:
    offsets = np.arange(len(records) + 1, dtype=np.int32) * records.itemsize
    return _slices_of(records, offsets)


def _slices_of(data: NDArray[Any] | bytes, offsets: NDArray[np.int32]) -> pa.Array:
    """A binary column over existing bytes."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
