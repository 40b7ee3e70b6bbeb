"""Cells as text, made and joined in columns: the ground of TABLEDATA, CSV, TSV, JSON and HTML.

Numbers are written with the fewest digits that read back as the same number. How text is
quoted and what stands for null is the `CellStyle` of a format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vo_service.formats.columns import TEXT, as_declared, is_array, list_parts, text_bytes
from vo_service.model.table import Field

__all__ = ["CellStyle", "RowWriter", "Suspects", "has_any", "join", "suspects"]


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How a format writes cells.

    Parameters
    ----------
    text
        A column of strings, as it stands in a cell; nulls stay null.
    nan, infinity, minus_infinity, null
        Words for what is no number.
    array
        Before, between and after the elements of an array.
    """

    text: Callable[[pa.Array], pa.Array]
    nan: str = "NaN"
    infinity: str = "Infinity"
    minus_infinity: str = "-Infinity"
    null: str = ""
    array: tuple[str, str, str] = ("", " ", "")

    def cells(self, column: pa.Array, field: Field) -> pa.Array:
        """One string for each value of *column*; null only where *null* is to stand.

        Raises
        ------
        VOError
            If a value does not fit *field*.
        """
        column = as_declared(column, field)
        if field.datatype in TEXT:
            return self.text(column)
        if is_array(field):
            values, offsets = list_parts(column, field)
            before, between, after = self.array
            lists = pa.ListArray.from_arrays(offsets, self._numerals(values))
            arrays = pc.binary_join(lists, between)
            if before or after:
                arrays = join(pa.scalar(before), arrays, pa.scalar(after))
            if column.null_count:
                return pc.if_else(column.is_valid(), arrays, pa.scalar(None, pa.string()))
            return arrays
        return self._numerals(column)

    def _numerals(self, column: pa.Array) -> pa.Array:
        text = pc.cast(column, pa.string())
        if not pa.types.is_floating(column.type):
            return text
        if pc.all(pc.is_finite(column)).as_py() is not False:
            return text
        infinite = pc.is_inf(column)
        cases = pc.make_struct(
            pc.is_nan(column), pc.and_(infinite, pc.greater(column, 0.0)), infinite
        )
        return pc.case_when(cases, self.nan, self.infinity, self.minus_infinity, text)


class RowWriter:
    """Record batches to rows of text.

    *frame* is what stands before, between and after the cells of a row; *special* are the
    styles of columns, by name, that are not written in *style*; their null is that of *style*.
    """

    def __init__(
        self,
        fields: tuple[Field, ...],
        style: CellStyle,
        frame: tuple[str, str, str],
        special: Mapping[str, CellStyle] = MappingProxyType({}),
    ) -> None:
        self._columns = [(field, special.get(field.name, style)) for field in fields]
        self._null = style.null
        self._before, self._between, self._after = frame

    def rows(self, batch: pa.RecordBatch) -> NDArray[np.uint8]:
        """The rows of *batch*, in UTF-8."""
        cells = [
            style.cells(column, field)
            for column, (field, style) in zip(batch.columns, self._columns, strict=True)
        ]
        null = self._null
        if self._before:
            cells[0] = join(pa.scalar(self._before), cells[0], null=null)
        cells[-1] = join(cells[-1], pa.scalar(self._after), null=null)
        return text_bytes(join(*cells, between=self._between, null=null))[0]


def join(*parts: pa.Array | pa.Scalar, between: str = "", null: str = "") -> pa.Array:
    """Strings joined element by element, *null* in the place of nulls."""
    return pc.binary_join_element_wise(
        *parts, between, null_handling="replace", null_replacement=null
    )


@dataclass(frozen=True, slots=True)
class Suspects:
    """Bytes to look for: those under *low*, those from *high* on, and *single* ones."""

    low: int
    high: int
    single: tuple[bytes, ...]


def suspects(characters: bytes) -> Suspects:
    """The *characters* as `has_any` looks for them: ranges by their bounds, others one by one."""
    wanted = set(characters)
    low = next(code for code in range(257) if code not in wanted)
    high = next(code for code in range(256, -1, -1) if code - 1 not in wanted)
    single = sorted(code for code in wanted if low <= code < high)
    return Suspects(low, high, tuple(bytes([code]) for code in single))


def has_any(column: pa.Array, suspect: Suspects) -> bool:
    """Whether a column of strings holds one of the suspect bytes: escaping is seldom needed."""
    data = text_bytes(column)[0]
    if not data.size:
        return False
    if (suspect.low and data.min() < suspect.low) or data.max() >= suspect.high:
        return True
    content = data.tobytes()
    return any(byte in content for byte in suspect.single)
