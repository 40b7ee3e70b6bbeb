"""Tables that clients upload, in any of the formats of the VO, read into one Arrow file.

`read_table` is meant to be called in a process of its own: whatever a hostile file does to a
parser, it does there, with its memory bounded. Values are what PostgreSQL will hold: null where
a number is NaN, timestamps as such, text without NUL.
Source: TAP 1.1, "UPLOAD"; DALI 1.1, "Parameters".
"""

from __future__ import annotations

import gzip
import re
import resource
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from vo_service.errors import TooLargeError, UsageError, VOError
from vo_service.formats.tables_in.prepare import Incoming, write_prepared
from vo_service.formats.tables_in.text import read_delimited, read_ecsv
from vo_service.formats.tables_in.votable import VOTableReader
from vo_service.model.table import Field

__all__ = ["Incoming", "Limits", "read_table"]

_HEAD = 4096
_CHUNK = 1 << 20
#: An element first, after the byte-order mark of UTF-8 or UTF-16 and blanks.
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<|\xff\xfe<\0|\xfe\xff\0<")
_EXPECTED = "expected VOTable, CSV, FITS, Parquet or ECSV, packed with gzip or not"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one uploaded table may have: rows, bytes (packed or not), bytes of memory to read it."""

    rows: int
    bytes: int
    memory: int


def read_table(
    name: str, source: Path, content_type: str | None, target: Path, limits: Limits
) -> Incoming:
    """Read an uploaded file and write its rows as an Arrow IPC file.

    Parameters
    ----------
    name
        Of the upload, for messages.
    source, content_type
        The file as it came, and what the client called it. The content decides; the type is
        asked only where text could be CSV or TSV.
    target
        The Arrow file to write; a file beside it holds for a moment what was packed.
    limits
        What the table may have; memory is that of this whole process, for good.

    Raises
    ------
    UsageError
        The file cannot be read: upload, and row and column where known.
    TooLargeError
        It is larger than *limits*; names the limit and what was found.
    """
    try:
        _limit_memory(limits.memory)
        with source.open("rb") as file:
            return _read(file, content_type, target, limits)
    except MemoryError as error:  # pyarrow's own is one as well
        raise TooLargeError(
            f"upload {name}: reading it takes more than {limits.memory} bytes of memory"
        ) from error
    except VOError as error:
        raise type(error)(f"upload {name}: {error}") from error


def _limit_memory(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def _read(file: BinaryIO, content_type: str | None, target: Path, limits: Limits) -> Incoming:
    if file.read(2) == b"\x1f\x8b":
        unpacked = target.with_suffix(".unpacked")
        try:
            _unpack(file, unpacked, limits.bytes)
            with unpacked.open("rb") as inside:
                return _read_plain(inside, content_type, target, limits)
        finally:
            unpacked.unlink(missing_ok=True)
    return _read_plain(file, content_type, target, limits)


def _unpack(file: BinaryIO, target: Path, limit: int) -> None:
    file.seek(0)
    size = 0
    try:
        with gzip.open(file) as packed, target.open("wb") as out:
            while chunk := packed.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise TooLargeError(f"more than {limit} bytes when unpacked")
                out.write(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"the gzip file is broken: {error}") from error


def _read_plain(file: BinaryIO, content_type: str | None, target: Path, limits: Limits) -> Incoming:
    fields, batches = _opened(file, content_type, limits)
    return write_prepared(fields, batches, target, limits.rows, limits.bytes)


def _opened(
    file: BinaryIO, content_type: str | None, limits: Limits
) -> tuple[tuple[Field, ...], Iterator[pa.RecordBatch]]:
    """The reader that fits the first bytes; each is imported when it is wanted."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if not head.strip():
        raise UsageError(f"the file is empty: {_EXPECTED}")
    if head.startswith(b"SIMPLE  ="):
        from vo_service.formats.tables_in.fits import read_fits  # noqa: PLC0415 - slow

        return read_fits(file)
    if head.startswith(b"PAR1"):
        from vo_service.formats.tables_in.parquet import read_parquet  # noqa: PLC0415 - slow

        return read_parquet(file, limits.rows, limits.bytes)
    if head.startswith(b"# %ECSV"):
        return read_ecsv(file)
    if _XML.match(head):
        reader = VOTableReader(file)
        return reader.fields, reader.batches()
    if b"\0" in head:
        raise UsageError(f"the format of the file is not known: {_EXPECTED}")
    first_line = head.split(b"\n", 1)[0]
    tabs = "tab-separated" in (content_type or "") or (
        b"\t" in first_line and b"," not in first_line
    )
    return read_delimited(file, "\t" if tabs else ",")
