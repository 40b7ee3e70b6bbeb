"""Uploaded tables in PostgreSQL: loaded by COPY, indexed on the sky, gone with their query.

A table lives in the schema ``tap_upload``, which only the upload role may write; queries read
it through a view of an unguessable name. The session that loaded it holds an advisory lock
for as long as it is wanted, so that what killed processes leave behind can be told from what
is in use (`sweep`). Positions and geometries: degrees here, radians in pgSphere.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import psycopg
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import Error as ADBCError
from adbc_driver_postgresql import dbapi
from anyio import to_thread
from psycopg import sql

from vo_service.adql.words import RESERVED
from vo_service.db.connect import Role
from vo_service.db.faults import database_error
from vo_service.errors import UsageError
from vo_service.model.table import Column, Field, Position, Schema, Table

__all__ = ["SCHEMA", "LoadedTable", "UploadSession", "position_columns", "sweep"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: The schema's name, in queries and in PostgreSQL.
SCHEMA = "tap_upload"

_REGULAR = re.compile("[A-Za-z][A-Za-z0-9_]*")
_LOCK = 0x7A9  # first key of our advisory locks; the second is made from the table's name

_TYPES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.timestamp("us"): "timestamp",
}
_SHAPES = {
    "point": ("spoint", "spoint(radians({c}[1]), radians({c}[2]))"),
    "circle": ("scircle", "scircle(spoint(radians({c}[1]), radians({c}[2])), radians({c}[3]))"),
    "polygon": ("spoly", "tap_upload.polygon({c})"),
}
_POSITION = (
    "CASE WHEN {dec} BETWEEN -90 AND 90 AND {ra} BETWEEN -36000 AND 36000 "
    "THEN spoint(radians({ra}), radians({dec})) END"
)

_UCDS = (("pos.eq.ra;meta.main", "pos.eq.dec;meta.main"), ("pos.eq.ra", "pos.eq.dec"))
_NAMES = (
    ("ra", "dec"), ("s_ra", "s_dec"), ("raj2000", "dej2000"), ("_raj2000", "_dej2000"),
    ("ra_icrs", "de_icrs"), ("raj2000", "decj2000"), ("ra2000", "dec2000"),
)  # fmt: skip
_DEGREES = (None, "deg", "degree", "degrees")
_NUMBERS = ("short", "int", "long", "float", "double")


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """A table that was read: its *name* in queries, its columns, and its rows in an Arrow file.

    Columns of the file are called c1, c2, ..., in the order of *fields*; *shapes* are the
    xtypes (point, circle, polygon) of those that hold a geometry, None for the others.
    """

    name: str
    fields: tuple[Field, ...]
    shapes: tuple[str | None, ...]
    file: Path


def position_columns(fields: Sequence[Field]) -> tuple[int, int] | None:
    """Numbers of the columns that are right ascension and declination, by UCD, else by name.

    Only numbers in degrees (or without a unit) are taken, and only where there is one of each.
    """
    usable = [
        (index, field)
        for index, field in enumerate(fields)
        if field.datatype in _NUMBERS
        and field.arraysize is None
        and (field.unit.strip().lower() if field.unit else None) in _DEGREES
    ]
    by_ucd = [(index, "".join((f.ucd or "").lower().split())) for index, f in usable]
    by_name = [(index, f.name.lower()) for index, f in usable]
    for words, pairs in ((by_ucd, _UCDS), (by_name, _NAMES)):
        for ra, dec in pairs:
            found = [[i for i, word in words if word == wanted] for wanted in (ra, dec)]
            if all(len(numbers) == 1 for numbers in found):
                return found[0][0], found[1][0]
    return None


@dataclass(slots=True)
class UploadSession:
    """A connection of the upload role and the tables that it keeps.

    Parameters
    ----------
    conninfo
        libpq connection string of the upload role, statement_timeout included.
    limit_s
        That timeout, for messages.
    """

    conninfo: str
    limit_s: float
    _connection: Any = None
    _cursor: Any = None
    _tables: list[str] = default(default_factory=list)
    _stopped: bool = False

    async def load(self, tables: Sequence[LoadedTable]) -> Schema:
        """Load tables and index them; a cancelled task stops PostgreSQL as well.

        Returns
        -------
        Schema
            ``tap_upload`` as the ADQL translator is to see it.

        Raises
        ------
        UsageError
            A value cannot be held in PostgreSQL, or loading takes too long; names the upload.
        TransientError
            The database is not there.
        """
        return await self._run(lambda: self._load(tables))

    async def aclose(self) -> None:
        """Drop the tables and close the connection; never raises."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    async def _run(self, work: Callable[[], _T]) -> _T:
        finished = False

        async def stop_with_us() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                if not finished:
                    self._stop()

        async with anyio.create_task_group() as group:
            group.start_soon(stop_with_us)
            with anyio.CancelScope(shield=True):
                outcome = await to_thread.run_sync(_outcome, work)
            finished = True
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _stop(self) -> None:
        self._stopped = True
        if self._cursor is not None:
            with contextlib.suppress(ADBCError):
                self._cursor.adbc_cancel()

    def _load(self, tables: Sequence[LoadedTable]) -> Schema:
        name = ""
        try:
            self._connection = dbapi.connect(self.conninfo, autocommit=False)
            self._cursor = self._connection.cursor()
            made = []
            for table in tables:
                name = table.name
                made.append(self._load_one(table))
            self._connection.commit()
        except ADBCError as error:
            raise self._fault(error, name) from error
        return Schema(name=SCHEMA, tables=tuple(made), description="Tables of this query alone")

    def _fault(self, error: ADBCError, name: str) -> Exception:
        lost = error.sqlstate is None and error.status_code == AdbcStatusCode.IO
        state = "08006" if lost else error.sqlstate
        if state == "57014":
            return UsageError(
                f"upload {name}: loading took longer than {self.limit_s:g} s and was stopped"
            )
        fault = database_error(state, str(error), self.limit_s)
        if isinstance(fault, UsageError):
            return type(fault)(f"upload {name}: {fault}")
        _log.error("upload failed (%s): %s", state, error)
        return fault

    def _load_one(self, table: LoadedTable) -> Table:
        key = uuid4().hex
        name, view = f"t_{key}", f"v_{key}"
        self._tables.append(name)
        self._execute(f"SELECT pg_advisory_lock({_LOCK}, hashtext('{name}'))")
        with pa.memory_map(str(table.file)) as mapped, pa.ipc.open_file(mapped) as file:
            columns = ", ".join(f"{c.name} {_type_of(c.type)}" for c in file.schema)
            self._execute(f"CREATE UNLOGGED TABLE {SCHEMA}.{name} ({columns})")
            for number in range(file.num_record_batches):
                if self._stopped:
                    break
                batch = file.get_batch(number)
                self._cursor.adbc_ingest(name, batch, mode="append", db_schema_name=SCHEMA)
        hidden = self._add_geometries(name, table)
        self._execute(f"ANALYZE {SCHEMA}.{name}")
        plain = [field.name for field in table.fields]
        names = {made: _free_name(made, plain) for made in hidden}
        listed = [f"c{n} AS {_quoted(p)}" for n, p in enumerate(plain, start=1)]
        listed += [f"{made} AS {_quoted(free)}" for made, free in names.items()]
        rows = f"SELECT {', '.join(listed)} FROM {SCHEMA}.{name}"  # noqa: S608 - quoted above
        self._execute(f"CREATE VIEW {SCHEMA}.{view} AS {rows}")
        self._execute(f"GRANT SELECT ON {SCHEMA}.{view} TO {Role.READER}, {Role.MEMBER}")
        return _described(table, f"{SCHEMA}.{view}", names)

    def _add_geometries(self, name: str, table: LoadedTable) -> list[str]:
        """Columns of pgSphere's types with their indexes; gives their names."""
        added = {}
        if (pair := position_columns(table.fields)) is not None:
            ra, dec = (f"c{index + 1}::double precision" for index in pair)
            added["position"] = ("spoint", _POSITION.format(ra=ra, dec=dec))
        for number, shape in enumerate(table.shapes, start=1):
            if shape is not None:
                kind, expression = _SHAPES[shape]
                added[f"shape{number}"] = (kind, expression.format(c=f"c{number}"))
        if added:
            # Added only now: COPY BINARY refuses a table with columns that it cannot read.
            clauses = ", ".join(
                f"ADD COLUMN {made} {kind} GENERATED ALWAYS AS ({expression}) STORED"
                for made, (kind, expression) in added.items()
            )
            self._execute(f"ALTER TABLE {SCHEMA}.{name} {clauses}")
            for made in added:
                self._execute(f"CREATE INDEX ON {SCHEMA}.{name} USING gist ({made})")
        self._check_polygons(name, table)
        return list(added)

    def _check_polygons(self, name: str, table: LoadedTable) -> None:
        for number, shape in enumerate(table.shapes, start=1):
            if shape != "polygon":
                continue
            whole, shape_name = f"c{number}", f"shape{number}"
            bad = f"{whole} IS NOT NULL AND {shape_name} IS NULL LIMIT 1"
            self._execute(f"SELECT {whole}::text FROM {SCHEMA}.{name} WHERE {bad}")  # noqa: S608 - names of ours
            if (row := self._cursor.fetchone()) is not None:
                raise UsageError(
                    f"upload {table.name}: column {table.fields[number - 1].name}: the polygon "
                    f"{row[0][:100]} has crossing edges or is too large"
                )

    def _execute(self, statement: str) -> None:
        self._cursor.execute(statement)

    def _close(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
            for name in self._tables:
                self._execute(f"DROP TABLE IF EXISTS {SCHEMA}.{name} CASCADE")
            self._connection.commit()
        except ADBCError as error:  # the sweep finds what is left
            _log.warning("uploaded tables could not be dropped: %s", error)
        for thing in (self._cursor, self._connection):
            with contextlib.suppress(ADBCError, RuntimeError):
                thing.close()
        self._connection = None


def _outcome(work: Callable[[], _T]) -> _T | Exception:
    try:
        return work()
    except Exception as error:  # raised again in the task that asked
        return error


def _type_of(kind: Any) -> str:
    return f"{_TYPES[kind.value_type]}[]" if pa.types.is_list(kind) else _TYPES[kind]


def _query_names(names: Sequence[str]) -> list[str]:
    """Names as a query must write them: in quotes unless they are regular identifiers.

    Where two differ in case alone, both need quotes to be told apart.
    """
    folded = Counter(name.lower() for name in names)
    return [
        name
        if _REGULAR.fullmatch(name) and name.upper() not in RESERVED and folded[name.lower()] == 1
        else '"' + name.replace('"', '""') + '"'
        for name in names
    ]


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _described(table: LoadedTable, relation: str, made: dict[str, str]) -> Table:
    names = _query_names([field.name for field in table.fields])
    pair = position_columns(table.fields)
    columns = tuple(
        Column(
            **asdict(field) | {"name": name},
            geometry=made.get(f"shape{index + 1}"),
            indexed=table.shapes[index] is not None or index in (pair or ()),
        )
        for index, (field, name) in enumerate(zip(table.fields, names, strict=True))
    )
    position = None
    if pair is not None:
        position = Position(ra=names[pair[0]], dec=names[pair[1]], point=made["position"])
    return Table(
        name=f"{SCHEMA}.{table.name}", relation=relation, columns=columns, position=position
    )


def sweep(conninfo: str) -> int:
    """Drop tables whose session is gone; returns how many there were.

    Raises
    ------
    psycopg.Error
        The database is not there.
    """
    dropped = 0
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '2s'")
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace "
            "AND relkind = 'r' AND relowner = current_user::regrole",
            [SCHEMA],
        ).fetchall()
        for (name,) in names:
            with connection.transaction(), contextlib.suppress(psycopg.errors.LockNotAvailable):
                free = connection.execute(
                    "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCK, name]
                ).fetchone()
                if free is not None and free[0]:
                    connection.execute(
                        sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(
                            sql.Identifier(SCHEMA, name)
                        )
                    )
                    dropped += 1
    return dropped
