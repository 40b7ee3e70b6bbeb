"""Reader of uploaded Parquet files.

Units and UCDs come from VOParquet's VOTable header where there is one, else from what
pyarrow and astropy keep with a column. Source: "VOParquet" (IVOA note 2025): key
``IVOA.VOTable-Parquet.content``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vo_service.errors import TooLargeError
from vo_service.formats.tables_in.arrow import field_of, values_of
from vo_service.formats.tables_in.refusal import unreadable
from vo_service.formats.tables_in.votable import VOTableReader
from vo_service.model.table import Field

__all__ = ["read_parquet"]

#: Few, since a row may be any size: what a small file can grow to is seen before it hurts.
_BATCH_ROWS = 8192
_VOTABLE = b"IVOA.VOTable-Parquet.content"
_METADATA = ("unit", "ucd", "utype", "xtype", "description")


def read_parquet(
    file: BinaryIO, rows_limit: int, bytes_limit: int
) -> tuple[tuple[Field, ...], Iterator[pa.RecordBatch]]:
    """Columns and rows.

    Raises
    ------
    UsageError
        The file or a column cannot be read; from the iterator too.
    TooLargeError
        The file itself says that it holds more than *rows_limit* rows or *bytes_limit* bytes.
    """
    try:
        parquet = pq.ParquetFile(file)
        schema, metadata = parquet.schema_arrow, parquet.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        columns = [(column.name, column) for column in schema]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable("the Parquet file", error) from error
    if metadata.num_rows > rows_limit:
        raise TooLargeError(f"{metadata.num_rows} rows: expected at most {rows_limit}")
    size = sum(group.total_byte_size for group in groups)
    if size > bytes_limit:
        raise TooLargeError(f"{size} bytes when unpacked: expected at most {bytes_limit}")
    described = _described(schema.metadata or {})
    fields = tuple(
        field_of(name, column.type, **_metadata(column, described.get(name)))
        for name, column in columns
    )
    return fields, _batches(parquet, fields)


def _described(metadata: Mapping[bytes, bytes]) -> dict[str, Field]:
    """The FIELDs of a VOParquet header, by name."""
    header = metadata.get(_VOTABLE)
    if header is None:
        return {}
    return {field.name: field for field in VOTableReader(io.BytesIO(header)).fields}


def _metadata(column: pa.Field, described: Field | None) -> dict[str, str | None]:
    if described is not None:
        return {name: getattr(described, name) for name in _METADATA}
    kept = {key.lower(): value for key, value in (column.metadata or {}).items()}
    return {name: kept.get(name.encode(), b"").decode("utf-8", "replace") or None
            for name in _METADATA}  # fmt: skip


def _batches(parquet: pq.ParquetFile, fields: tuple[Field, ...]) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(len(fields))]
    try:
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            # Nested columns that cannot be read were refused with the fields.
            arrays = [
                values_of(values, field)
                for values, field in zip(batch.columns, fields, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=names)
    except (pa.ArrowException, OSError) as error:
        raise unreadable("the Parquet file", error) from error
