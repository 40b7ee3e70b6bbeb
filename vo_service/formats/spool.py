"""A result set aside on disk, for formats that must know it whole before the first byte.

The file has no name (nothing is left behind, however the process ends) and lies where Python
puts temporary files: ``TMPDIR``, else ``/tmp``. What is kept is an Arrow IPC stream, LZ4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from vo_service.errors import VOError

__all__ = ["SPOOL_LIMIT", "Spool", "check_room"]

#: Bytes that one result may take on disk.
SPOOL_LIMIT = 8 * 1024**3


class Spool:
    """Record batches of one schema, written once and then read any number of times."""

    def __init__(self, schema: pa.Schema, limit: int = SPOOL_LIMIT) -> None:
        self._schema = schema
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep *batch*.

        Raises
        ------
        VOError
            If the result becomes too large; what was kept so far remains.
        """
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - see `close`
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(self._file, self._schema, options=options)
        check_room(self._file.tell(), self._limit)
        self._writer.write_batch(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All batches in order; none can be added any more."""
        if self._file is None:
            return
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()


def check_room(size: int, limit: int = SPOOL_LIMIT) -> None:
    """Refuse to go on with a file of *size* bytes.

    Raises
    ------
    VOError
        Names the limit and what to do instead.
    """
    if size > limit:
        raise VOError(
            f"this format is first written to disk, and {limit} bytes of it are full; "
            "VOTable, Parquet, Arrow, CSV and JSON have no such limit"
        )
