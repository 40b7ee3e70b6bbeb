"""Apache Parquet with a VOTable as metadata.

The footer is written last, so the VOTable in it (VOParquet 1.0: a document with FIELDs and
without data, under ``IVOA.VOTable-Parquet.content``) tells an overflow or failure as well.
Row groups are as large as constant memory allows; pages are compressed with Snappy, which
every reader has, so the answer is not worth compressing again. Values are written as they are:
dictionaries would cost half as much again of the processor, and Snappy finds what repeats as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vo_service.formats.arrow import arrow_schema, declared_batch
from vo_service.formats.columns import TEXT
from vo_service.formats.encoder import Encoder, Ending, Heading
from vo_service.formats.sink import Sink
from vo_service.formats.votable import votable_metadata
from vo_service.model.table import Field

__all__ = ["ParquetEncoder"]

_GROUP_BYTES = 8 * 1024 * 1024  # of Arrow data in one row group, in memory at once


class ParquetEncoder(Encoder):
    """Record batches to a Parquet file."""

    slice_rows = 65536

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._schema = arrow_schema(heading.fields)
        self._sink = Sink()
        self._writer = pq.ParquetWriter(
            self._sink, self._schema, compression="snappy", use_dictionary=False
        )
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._widest = {n: 1 for n, f in enumerate(heading.fields) if _is_unbounded_text(f)}

    def begin(self) -> bytes:
        """The magic number."""
        return self._sink.take()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """A row group, where enough rows have come."""
        batch = declared_batch(batch, self._heading.fields, self._schema)
        for number, widest in self._widest.items():
            longest = pc.max(pc.binary_length(batch.column(number))).as_py() or 0
            self._widest[number] = max(widest, longest)
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= _GROUP_BYTES:
            self._write_group()
        return self._sink.take()

    def end(self, ending: Ending) -> Iterable[bytes]:
        """The last row group and the footer."""
        if self._waiting:
            self._write_group()
        self._writer.add_key_value_metadata(
            {
                "IVOA.VOTable-Parquet.version": "1.0",
                "IVOA.VOTable-Parquet.content": votable_metadata(self._bounded(), ending).decode(),
            }
        )
        self._writer.close()
        return [self._sink.take()]

    def _bounded(self) -> Heading:
        """The heading with the widths of text in bytes: astropy 8 reads no ``*`` in this place."""
        fields = tuple(
            replace(field, arraysize=f"{self._widest[number]}*")
            if number in self._widest
            else field
            for number, field in enumerate(self._heading.fields)
        )
        return replace(self._heading, fields=fields)

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0


def _is_unbounded_text(field: Field) -> bool:
    return field.datatype in TEXT and field.arraysize == "*"
