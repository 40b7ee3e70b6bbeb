"""A result as a FITS file with one binary table.

The header comes first and must know the number of rows and the width of text, so rows are set
aside on disk (`Spool`) and encoded from there, in columns; overflow and failure stand in the
header. Source: FITS 4.0, "Binary table extension".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from vo_service.errors import UsageError
from vo_service.formats.arrow import arrow_schema, declared_batch
from vo_service.formats.columns import slices
from vo_service.formats.encoder import Encoder, Ending, Heading
from vo_service.formats.fits_columns import FitsColumn
from vo_service.formats.fits_header import fits_headers
from vo_service.formats.spool import Spool

__all__ = ["FitsEncoder"]

_MOST_COLUMNS = 999
_CHUNK = 4 * 1024 * 1024  # bytes of rows encoded at once
_BLOCK = 2880


class FitsEncoder(Encoder):
    """Record batches to a FITS file."""

    slice_rows = 65536

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._schema = arrow_schema(heading.fields)
        self._columns = [FitsColumn(field) for field in heading.fields]
        self._spool = Spool(self._schema)
        self._rows = 0

    def begin(self) -> bytes:
        """Nothing; a result that FITS cannot hold is refused before it is read."""
        count = len(self._columns)
        if count > _MOST_COLUMNS:
            raise UsageError(
                f"a FITS table has at most {_MOST_COLUMNS} columns, this result has {count}: "
                "select fewer, or ask for another format"
            )
        return b""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Nothing; sets the rows aside and learns what the header must say of them."""
        declared = declared_batch(batch, self._heading.fields, self._schema)
        pairs = zip(self._columns, declared.columns, strict=True)
        seen = [column.see(values) for column, values in pairs]
        self._spool.add(pa.RecordBatch.from_arrays(seen, schema=self._schema))
        self._rows += batch.num_rows
        return b""

    def end(self, ending: Ending) -> Iterator[bytes]:
        """Headers, rows, heap, and zeros up to the end of a block."""
        heap = sum(column.heap_bytes(self._rows) for column in self._columns)
        descriptor = "P" if heap < 2**31 else "Q"
        forms = [column.settle(descriptor) for column in self._columns]
        record = np.dtype([(f"c{number}", form) for number, form in enumerate(forms)])
        size = (record.itemsize, self._rows, heap)
        yield fits_headers(self._heading, self._columns, size, ending)
        rows = max(1, _CHUNK // record.itemsize)
        yield from self._table(rows, record)
        if heap:
            yield from self._heap(rows)
        yield bytes(-(record.itemsize * self._rows + heap) % _BLOCK)

    def close(self) -> None:
        """Give the disk back."""
        self._spool.close()

    def _table(self, rows: int, record: np.dtype[np.void]) -> Iterator[bytes]:
        heap = 0
        for part in self._parts(rows):
            records = np.empty(part.num_rows, record)
            for number, column in enumerate(self._columns):
                records[f"c{number}"], heap = column.in_rows(part.column(number), heap)
            yield records.tobytes()

    def _heap(self, rows: int) -> Iterator[bytes]:
        """The heap, in the order in which `_table` counted on: part by part, column by column."""
        for part in self._parts(rows):
            pairs = zip(self._columns, part.columns, strict=True)
            yield b"".join(column.in_heap(values) for column, values in pairs)

    def _parts(self, rows: int) -> Iterator[pa.RecordBatch]:
        for batch in self._spool.batches():
            yield from slices(batch, rows)
