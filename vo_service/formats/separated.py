"""CSV and TSV: a line of names, then a line for each row, UTF-8.

CSV (RFC 4180) quotes names and text where they need it; an empty string is ``""``, null is
nothing at all (``""`` where it is alone in its line). Numbers that are not finite are ``nan``,
``inf``, ``-inf``. TSV (IANA ``text/tab-separated-values``) knows no quoting: tab, line feed and
carriage return become one space each. Text is otherwise left as it is, also where a spreadsheet
would take it for a formula. Neither format has a place for an overflow mark (DALI 1.2,
"Overflow"), so MAXREC cuts them in silence; after a failure the answer is broken off.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import WriteOptions, write_csv

from vo_service.errors import VOError
from vo_service.formats.cells import CellStyle, RowWriter, has_any, suspects
from vo_service.formats.columns import as_declared, is_array
from vo_service.formats.encoder import Encoder, Ending, Heading

__all__ = ["CsvEncoder", "TsvEncoder"]

_CSV = WriteOptions(include_header=False, eol="\r\n")
_NOT_IN_TSV = suspects(b"\t\r\n")


class CsvEncoder(Encoder):
    """Record batches to CSV."""

    def __init__(self, heading: Heading) -> None:
        self._fields = heading.fields

    def begin(self) -> bytes:
        """The names of the columns."""
        line = io.StringIO()
        csv.writer(line).writerow(field.name for field in self._fields)
        return line.getvalue().encode()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """A line for each row."""
        columns = [
            _CELLS.cells(column, field) if is_array(field) else as_declared(column, field)
            for column, field in zip(batch.columns, self._fields, strict=True)
        ]
        if len(columns) == 1 and columns[0].null_count:
            # A line of nothing would be skipped by readers.
            columns = [pc.fill_null(columns[0].cast(pa.string()), "")]
        names = [str(number) for number in range(len(columns))]
        lines = pa.BufferOutputStream()
        write_csv(pa.RecordBatch.from_arrays(columns, names=names), lines, _CSV)
        written: bytes = lines.getvalue().to_pybytes()
        return written

    def end(self, ending: Ending) -> Iterable[bytes]:
        """Nothing: there is no place for it."""
        return _cut(ending)


class TsvEncoder(Encoder):
    """Record batches to tab-separated values."""

    def __init__(self, heading: Heading) -> None:
        self._names = pa.array([field.name for field in heading.fields])
        self._writer = RowWriter(heading.fields, _CELLS, ("", "\t", "\n"))

    def begin(self) -> bytes:
        """The names of the columns."""
        names: list[str] = _without_tabs(self._names).to_pylist()
        return ("\t".join(names) + "\n").encode()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """A line for each row."""
        return self._writer.rows(batch).tobytes()

    def end(self, ending: Ending) -> Iterable[bytes]:
        """Nothing: there is no place for it."""
        return _cut(ending)


def _without_tabs(column: pa.Array) -> pa.Array:
    if has_any(column, _NOT_IN_TSV):
        return pc.replace_substring_regex(column, "[\\t\\r\\n]", " ")
    return column


def _cut(ending: Ending) -> Iterable[bytes]:
    if ending.status == "ERROR" or ending.message:
        raise VOError(ending.message or "the result failed")
    return ()


#: Cells of TSV, and the arrays of CSV.
_CELLS = CellStyle(text=_without_tabs, nan="nan", infinity="inf", minus_infinity="-inf")
