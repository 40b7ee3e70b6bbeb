"""Columns of a FITS binary table: what is learned while rows are set aside, then their form.

Text has the width of its longest value (``nA``): astropy and TOPCAT read such columns at once,
and variable-length text (``PA``) one by one, as arrays of letters. Only where padding would
dwarf the data is text put into the heap, as arrays of varying length (``1PD``) always are.

Source: FITS 4.0, "Binary table extension".
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vo_service.formats.binary import FORMS, as_numpy, big_endian, fixed_array, truth
from vo_service.formats.cells import has_any, suspects
from vo_service.formats.columns import TEXT, element_count, is_array, list_parts, text_bytes
from vo_service.model.table import Field

__all__ = ["FitsColumn"]

_LETTERS = {
    "boolean": "L",
    "short": "I",
    "int": "J",
    "long": "K",
    "float": "E",
    "double": "D",
    "char": "A",
    "unicodeChar": "A",
}
#: Integer datatypes, with the values that may stand for null, in order of preference.
_NULLS = {
    "short": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
}
_NOT_FITS = suspects(bytes(range(32)) + bytes(range(127, 256)))
# Text longer than this goes into the heap where padding makes it this many times larger.
_LONG_TEXT, _PADDING = 256, 8


class FitsColumn:
    """One column; `see` all its values first, then `settle`, then the rest is known.

    Attributes
    ----------
    form
        TFORM: ``12A``, ``1D``, ``1PD(7)``.
    null
        TNULL, of integers that have nulls.
    altered
        Whether characters were replaced, FITS having none for them.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.altered = False
        self.form = ""
        self.null: int | None = None
        self._text = field.datatype in TEXT
        self._count = None if self._text else element_count(field)
        self._item = np.dtype("u1" if self._text else FORMS[field.datatype])
        self._widest = 0  # elements, or bytes of text, in one value
        self._total = 0
        self._nulls = False
        self._ends: set[int] = set()  # which of the values that may stand for null occur
        self._in_heap = False

    def see(self, column: pa.Array) -> pa.Array:
        """Learn from *column*, which has the type of its field; what FITS can hold of it."""
        self._nulls = self._nulls or column.null_count > 0
        if self._text:
            if has_any(column, _NOT_FITS):
                self.altered = True
                column = pc.replace_substring_regex(column, "[^\\x20-\\x7e]", "?")
            self._measure(pc.binary_length(column))
            return column
        if self._count is None:
            self._measure(pc.list_value_length(column))
        if self.field.datatype in _NULLS:
            values = column.flatten() if is_array(self.field) else column
            extremes = pc.min_max(values).as_py()
            self._ends.update(set(extremes.values()) & set(_NULLS[self.field.datatype]))
        return column

    def _measure(self, lengths: pa.Array) -> None:
        self._widest = max(self._widest, pc.max(lengths).as_py() or 0)
        self._total += pc.sum(lengths).as_py() or 0

    def heap_bytes(self, rows: int) -> int:
        """Bytes in the heap; decides whether text goes there."""
        if self._text:
            padded = rows * self._widest
            self._in_heap = self._widest > _LONG_TEXT and padded > _PADDING * self._total
        else:
            self._in_heap = self._count is None
        return self._total * self._item.itemsize if self._in_heap else 0

    def settle(self, descriptor: str) -> np.dtype[np.void]:
        """Decide the form; *descriptor* is P, or Q for a heap of more than 2 GiB.

        Returns
        -------
        dtype
            Of the column in one row: some elements of one type.
        """
        letter = _LETTERS[self.field.datatype]
        if self._in_heap:
            self.form = f"1{descriptor}{letter}({self._widest})"
            element, count = np.dtype(">i4" if descriptor == "P" else ">i8"), 2
        else:
            count = max(self._widest, 1) if self._text else self._count or 1
            self.form = f"{count}{letter}"
            element = self._item
        if self._nulls and self.field.datatype in _NULLS:
            lowest, highest = _NULLS[self.field.datatype]
            self.null = highest if lowest in self._ends and highest not in self._ends else lowest
        return np.dtype((element, (count,)))

    def in_rows(self, column: pa.Array, heap: int) -> tuple[NDArray[np.generic], int]:
        """What stands in the rows, shape (rows, elements); and where the heap goes on."""
        if self._in_heap:
            lengths = pc.binary_length(column) if self._text else pc.list_value_length(column)
            counts = as_numpy(pc.fill_null(lengths, 0)).astype(np.int64)
            starts = np.cumsum(counts) - counts
            places = heap + starts * self._item.itemsize
            return np.column_stack([counts, places]), heap + int(counts.sum()) * self._item.itemsize
        return self._values(column).reshape(len(column), -1), heap

    def in_heap(self, column: pa.Array) -> bytes:
        """What stands in the heap; nothing for most columns."""
        if not self._in_heap:
            return b""
        if self._text:
            return text_bytes(column)[0].tobytes()
        return big_endian(list_parts(column, self.field)[0], self.field).tobytes()

    def _values(self, column: pa.Array) -> NDArray[np.generic]:
        datatype = self.field.datatype
        if self._text:
            width = max(self._widest, 1)
            padded = pc.ascii_rpad(pc.fill_null(column, ""), width=width, padding="\0")
            return text_bytes(padded)[0]
        absent = self.null if self.null is not None else 0
        if is_array(self.field):
            empty = np.nan if datatype in ("float", "double") else absent
            return fixed_array(column, self.field, self._count or 1, empty)
        if datatype == "boolean":
            letters = truth(column)
            letters[letters == ord("?")] = 0
            return letters
        if column.null_count:
            column = pc.fill_null(column, absent if datatype in _NULLS else float("nan"))
        return as_numpy(column)
