"""A result as an SQLite database, for those who go on with SQL on their own machine.

Table ``result`` holds the rows, ``columns`` what VOTable says of its columns, ``info`` what is
said of the result, with ``QUERY_STATUS`` (OK, OVERFLOW, ERROR) last. Truth values are 0 and 1,
arrays are text (numbers between spaces, as in VOTable); SQLite keeps NaN as NULL.

The database is made on disk and then sent: SQLite goes back and forth in its file. The file
loses its name as soon as it is open, so nothing is left behind however the process ends.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pyarrow as pa

from vo_service.formats.cells import CellStyle
from vo_service.formats.columns import as_declared, described, is_array, unique_names
from vo_service.formats.encoder import Encoder, Ending, Heading
from vo_service.formats.spool import check_room
from vo_service.formats.xmltext import legal
from vo_service.model.table import Field

__all__ = ["SqliteEncoder"]

_PIECE = 1024 * 1024
_TYPES = {
    "boolean": "INTEGER",
    "short": "INTEGER",
    "int": "INTEGER",
    "long": "INTEGER",
    "float": "REAL",
    "double": "REAL",
    "char": "TEXT",
    "unicodeChar": "TEXT",
}
_ARRAYS = CellStyle(text=lambda column: column)
_DESCRIBED = ("datatype", "arraysize", "xtype", "unit", "ucd", "utype", "description")
_SETTINGS = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
_ABOUT = """
CREATE TABLE columns (place INTEGER PRIMARY KEY, name TEXT, datatype TEXT, arraysize TEXT,
  xtype TEXT, unit TEXT, ucd TEXT, utype TEXT, description TEXT);
CREATE TABLE info (name TEXT, value TEXT, message TEXT);
"""


class SqliteEncoder(Encoder):
    """Record batches to a database file."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._stack = ExitStack()
        marks = ", ".join("?" * len(heading.fields))
        self._insert = f"INSERT INTO result VALUES ({marks})"  # noqa: S608 - question marks only

    def begin(self) -> bytes:
        """Nothing; makes the file and its tables."""
        handle, path = tempfile.mkstemp(prefix="vo-", suffix=".sqlite")
        self._file = self._stack.enter_context(os.fdopen(handle, "rb"))
        try:
            # Threads take turns with it; a failure leaves no database to be repaired.
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._stack.callback(self._database.close)
            self._database.executescript(_SETTINGS + _ABOUT + self._table() + "BEGIN;")
        finally:
            os.unlink(path)
        fields = self._heading.fields
        self._database.executemany(
            f"INSERT INTO columns VALUES ({', '.join('?' * 9)})",  # noqa: S608 - question marks only
            [
                (place, name, *(described(field).get(key) for key in _DESCRIBED))
                for place, (name, field) in enumerate(
                    zip(unique_names(fields), fields, strict=True), 1
                )
            ],
        )
        self._say((info.name, info.value, info.text) for info in self._heading.infos)
        return b""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Nothing; the rows go into the table."""
        check_room(os.fstat(self._file.fileno()).st_size)
        pairs = zip(batch.columns, self._heading.fields, strict=True)
        columns = [_values(column, field).to_pylist() for column, field in pairs]
        self._database.executemany(self._insert, zip(*columns, strict=True))
        return b""

    def end(self, ending: Ending) -> Iterator[bytes]:
        """The file."""
        self._say([("QUERY_STATUS", ending.status, ending.sentence)])
        self._database.execute("COMMIT")
        self._database.close()
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        """Give the disk back."""
        self._stack.close()

    def _table(self) -> str:
        fields = self._heading.fields
        columns = ", ".join(
            f"{_quoted(name)} {'TEXT' if is_array(field) else _TYPES[field.datatype]}"
            for name, field in zip(unique_names(fields), fields, strict=True)
        )
        return f"CREATE TABLE result ({columns});\n"

    def _say(self, infos: Iterable[tuple[str, str, str | None]]) -> None:
        self._database.executemany("INSERT INTO info VALUES (?, ?, ?)", infos)


def _values(column: pa.Array, field: Field) -> pa.Array:
    if is_array(field):
        return _ARRAYS.cells(column, field)
    return as_declared(column, field)


def _quoted(name: str) -> str:
    return '"' + legal(name).replace('"', '""') + '"'
