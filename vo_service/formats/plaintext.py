"""Plain text for people: aligned columns under their names and units, and a last line.

Widths are those of the first slice of rows (some thousand: more than a person reads), later
values that are wider push their line to the right. Controls are made harmless, since such text
is shown in terminals: line breaks and tabs become spaces, the others U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vo_service.formats.cells import CellStyle, has_any, join, suspects
from vo_service.formats.columns import TEXT, text_bytes
from vo_service.formats.encoder import Encoder, Ending, Heading

__all__ = ["PlainTextEncoder"]

# C0 controls and DEL; 0xC2 is the first byte of the C1 controls.
_SUSPECT = suspects(bytes(range(32)) + b"\x7f\xc2")


def _harmless(column: pa.Array) -> pa.Array:
    if has_any(column, _SUSPECT):
        column = pc.replace_substring_regex(column, "[\\t\\r\\n]", " ")
        column = pc.replace_substring_regex(column, "[\\x00-\\x1f\\x7f-\u009f]", "\ufffd")
    return column


_STYLE = CellStyle(text=_harmless)


class PlainTextEncoder(Encoder):
    """Record batches to aligned lines."""

    def __init__(self, heading: Heading) -> None:
        self._fields = heading.fields
        self._titles = [
            _harmless(pa.array([field.name, field.unit or ""])) for field in heading.fields
        ]
        self._widths: list[int] | None = None
        self._rows = 0

    def begin(self) -> bytes:
        """Nothing: widths are not known yet."""
        return b""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The rows, after the names if they are the first."""
        columns = zip(batch.columns, self._fields, strict=True)
        cells = [pc.fill_null(_STYLE.cells(column, field), "") for column, field in columns]
        self._rows += batch.num_rows
        return self._names(cells) + self._lines(cells)

    def end(self, ending: Ending) -> Iterable[bytes]:
        """How many rows there are, and how it ended."""
        empty = [pa.array([], pa.string())] * len(self._fields)
        count = f"{self._rows} row" if self._rows == 1 else f"{self._rows} rows"
        closing = f"({count})\n"
        if ending.sentence:
            closing += f"{ending.status}: {' '.join(ending.sentence.split())}\n"
        return [self._names(empty) + closing.encode()]

    def _names(self, cells: list[pa.Array]) -> bytes:
        """Names, units and a rule, once; decides the widths."""
        if self._widths is not None:
            return b""
        both = zip(self._titles, cells, strict=True)
        self._widths = [max(map(_widest, pair)) for pair in both]
        rules = [pa.array(["-" * width]) for width in self._widths]
        return self._lines(self._titles) + self._lines(rules)

    def _lines(self, cells: list[pa.Array]) -> bytes:
        padded = [
            (pc.utf8_rpad if field.datatype in TEXT else pc.utf8_lpad)(column, width=width)
            for column, field, width in zip(cells, self._fields, self._widths or (), strict=True)
        ]
        if self._fields[-1].datatype in TEXT:
            padded[-1] = cells[-1]  # nothing comes after it
        padded[-1] = join(padded[-1], pa.scalar("\n"))
        return text_bytes(join(*padded, between="  "))[0].tobytes()


def _widest(column: pa.Array) -> int:
    lengths = pc.utf8_length(column).to_numpy(zero_copy_only=False)
    return int(np.max(lengths, initial=0))
