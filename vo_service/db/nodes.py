"""The PostgreSQL of a shard: what it must be, and the tables that it keeps.

A node knows nothing of products, people and rules: it keeps rows of `archive.observation`, which
everybody may query, in tables made after the centre's. Two roles of its own let the centre in:
one that may only read, for whatever comes from outside, and one that also writes rows, for ingest
and release. Run with the login that the operator gave.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from vo_service.errors import ConfigError, TransientError

__all__ = ["Definition", "Logins", "Node", "connect_node", "definition_of", "free_bytes"]

Connection = psycopg.Connection[Any]

_CONNECT_S = 5
_MINIMUM = 150000
_INDEX = re.compile(r"CREATE INDEX (\S+) ON (?:ONLY )?\S+ (USING .+)", re.DOTALL)

#: What two servers must agree on, for an answer to be the same wherever a row is.
_SAMENESS = {
    "encoding": "SELECT pg_encoding_to_char(encoding) FROM pg_database "
    "WHERE datname = current_database()",
    "collation": "SELECT datcollate || ', ' || datctype FROM pg_database "
    "WHERE datname = current_database()",
    "version of pgSphere": "SELECT extversion FROM pg_extension WHERE extname = 'pg_sphere'",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """What a table of observations is made of, in PostgreSQL's own words.

    Columns are (name, type, whether it may not be null), checks and indexes (name, the rest).
    """

    columns: tuple[tuple[str, str, bool], ...]
    checks: tuple[tuple[str, str], ...]
    indexes: tuple[tuple[str, str], ...]

    def table(self, name: str, only: Iterable[sql.Composed]) -> Iterator[sql.Composed]:
        """Statements that make the table ``archive.name`` for some rows, without indexes."""
        columns = (
            sql.SQL("{} {}{}").format(
                sql.Identifier(column), sql.SQL(kind), sql.SQL(" NOT NULL" if full else "")
            )
            for column, kind, full in self.columns
        )
        checks = (
            sql.SQL("CONSTRAINT {} {}").format(sql.Identifier(check), sql.SQL(rest))
            for check, rest in self.checks
        )
        # With it, a partition is attached without being read.
        own = (sql.SQL("CHECK ({})").format(condition) for condition in only)
        yield sql.SQL("CREATE TABLE {} ({})").format(
            sql.Identifier("archive", name), sql.SQL(", ").join([*columns, *checks, *own])
        )

    def indexing(self, table: str) -> Iterator[sql.Composed]:
        """Statements that make the indexes of ``archive.table``."""
        for name, rest in self.indexes:
            yield sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} {}").format(
                sql.Identifier(_shortened(f"{table}_{name.removeprefix('observation_')}")),
                sql.Identifier("archive", table),
                sql.SQL(rest),
            )


def _shortened(name: str) -> str:
    return name if len(name) < 64 else name[:63]


def definition_of(centre: Connection) -> Definition:
    """What the centre's table of observations is made of."""
    columns = centre.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = 'archive.observation'::regclass AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum"
    ).fetchall()
    checks = centre.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'archive.observation'::regclass AND contype = 'c' ORDER BY conname"
    ).fetchall()
    indexes = centre.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index "
        "WHERE indrelid = 'archive.observation'::regclass ORDER BY indexrelid"
    ).fetchall()
    found = [_INDEX.fullmatch(text) for (text,) in indexes]
    return Definition(
        tuple(columns), tuple(checks), tuple((m[1], m[2]) for m in found if m is not None)
    )


@dataclass(frozen=True, slots=True)
class Logins:
    """Roles of a node for the centre, with fresh passwords."""

    reader: tuple[str, str]
    writer: tuple[str, str]


@contextlib.contextmanager
def connect_node(name: str, url: str) -> Iterator[Node]:
    """The node of a shard, for as long as one session lasts; each statement a transaction.

    Raises
    ------
    ConfigError
        If the URL cannot be read.
    TransientError
        If nobody answers there.
    """
    try:
        given = conninfo_to_dict(url)
        if "dbname" not in given or not {"host", "hostaddr"} & set(given):
            raise ConfigError(f"{name}: expected postgresql://user@host/database")
        dsn = make_conninfo(
            url, connect_timeout=str(given.get("connect_timeout", _CONNECT_S)),
            application_name="vo-service shard", options="-c timezone=UTC -c extra_float_digits=3",
        )  # fmt: skip
    except psycopg.ProgrammingError as error:
        raise ConfigError(f"{name}: expected postgresql://user@host/database ({error})") from None
    try:
        connection = psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError as error:
        raise TransientError(f"shard {name} does not let us in: {_first_line(error)}") from error
    with connection:
        yield Node(name, connection)


class Node:
    """Statements on the node of a shard."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.connection = connection

    def check(self, centre: Connection) -> None:
        """See that the node is such that answers do not depend on where a row is.

        pgSphere is installed if it is missing.

        Raises
        ------
        ConfigError
            Names what differs, or what an administrator must do.
        """
        if self.connection.info.server_version < _MINIMUM:
            found = self.connection.info.server_version // 10000
            raise ConfigError(f"shard {self.name}: PostgreSQL {found}: expected 15 or later")
        try:
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_sphere")
        except psycopg.Error as error:
            raise ConfigError(
                f"shard {self.name}: pgSphere cannot be installed ({_first_line(error)}); have an "
                "administrator run there: CREATE EXTENSION pg_sphere"
            ) from error
        for what, question in _SAMENESS.items():
            here, there = (_value(side, question) for side in (centre, self.connection))
            if here != there:
                raise ConfigError(
                    f"shard {self.name}: {what} {there}: expected {here}, as the centre has"
                )

    def claim(self, centre: str, version: str) -> None:
        """Make the node this centre's: its schema, and a note of whose it is.

        Raises
        ------
        ConfigError
            If it is somebody else's, or an archive itself.
        """
        with self.connection.transaction():
            if _value(self.connection, "SELECT to_regclass('archive.collection')") is not None:
                raise ConfigError(f"shard {self.name}: this database is an archive itself")
            self.connection.execute(
                "CREATE SCHEMA IF NOT EXISTS archive; "
                "CREATE TABLE IF NOT EXISTS archive.node "
                "(centre uuid NOT NULL, name text NOT NULL, version text NOT NULL); "
                "CREATE TABLE IF NOT EXISTS archive.pulse (answer integer NOT NULL)"
            )
            owner = self.claimed()
            if owner not in (None, (centre, self.name)):
                raise ConfigError(
                    f"shard {self.name}: this database is shard {owner[1] if owner else ''} of "
                    "another archive (archive.node)"
                )
            if owner is None:
                self.connection.execute(
                    "INSERT INTO archive.node VALUES (%s, %s, %s)", (centre, self.name, version)
                )
                self.connection.execute("INSERT INTO archive.pulse VALUES (1)")

    def claimed(self) -> tuple[str, str] | None:
        """Centre and shard name that the node was made for; None where it is nobody's."""
        if _value(self.connection, "SELECT to_regclass('archive.node')") is None:
            return None
        row = self.connection.execute("SELECT centre::text, name FROM archive.node").fetchone()
        return (row[0], row[1]) if row else None

    @property
    def version(self) -> str:
        """The version of the centre's schema that its tables were made after."""
        return str(_value(self.connection, "SELECT version FROM archive.node"))

    def let_in(self) -> Logins:
        """Make the two roles of the centre, or give them new passwords."""
        database = self.connection.info.dbname
        logins = Logins(
            (_shortened(f"{database}_vo_reader"), secrets.token_urlsafe(24)),
            (_shortened(f"{database}_vo_writer"), secrets.token_urlsafe(24)),
        )
        with self.connection.transaction():
            for role, password in (logins.reader, logins.writer):
                known = self.connection.execute(
                    "SELECT FROM pg_roles WHERE rolname = %s", (role,)
                ).fetchone()
                word = "ALTER" if known is not None else "CREATE"
                # Hashed here, so that no log there has it.
                hashed = self.connection.pgconn.encrypt_password(
                    password.encode(), role.encode(), b"scram-sha-256"
                )
                self.connection.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                        sql.SQL(word), sql.Identifier(role), hashed.decode()
                    )
                )
                self.connection.execute(
                    sql.SQL("ALTER ROLE {} SET jit = off").format(sql.Identifier(role))
                )
                self.connection.execute(
                    sql.SQL("GRANT USAGE ON SCHEMA archive TO {}").format(sql.Identifier(role))
                )
                self.connection.execute(
                    sql.SQL("GRANT SELECT ON archive.pulse TO {}").format(sql.Identifier(role))
                )
            self.connection.execute(
                sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(
                    sql.Identifier(logins.reader[0])
                )
            )
        return logins

    def open_to(self, table: str) -> Iterator[sql.Composed]:
        """Statements that let the centre's roles use a table."""
        database = self.connection.info.dbname
        for right, role in (
            ("SELECT", f"{database}_vo_reader"),
            ("SELECT, INSERT, UPDATE, DELETE", f"{database}_vo_writer"),
        ):
            yield sql.SQL("GRANT {} ON {} TO {}").format(
                sql.SQL(right), sql.Identifier("archive", table), sql.Identifier(_shortened(role))
            )

    def tables(self) -> list[str]:
        """Names of the tables with rows of observations."""
        rows = self.connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('archive') "
            "AND relkind = 'r' AND relname LIKE 'observation%' ORDER BY relname"
        )
        return [name for (name,) in rows]

    def drop(self, table: str) -> None:
        """Drop a table of rows, if it is there."""
        self.connection.execute(
            sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("archive", table))
        )

    def forget(self) -> None:
        """Take away all that was made here, but for pgSphere.

        Raises
        ------
        ConfigError
            If there are still rows.
        """
        if left := self.tables():
            raise ConfigError(f"shard {self.name}: there are still rows in {', '.join(left)}")
        database = self.connection.info.dbname
        with self.connection.transaction():
            self.connection.execute("DROP SCHEMA IF EXISTS archive CASCADE")
            for end in ("reader", "writer"):
                role = sql.Identifier(_shortened(f"{database}_vo_{end}"))
                self.connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))

    def renew(self, definition: Definition, version: str) -> None:
        """Give all tables the columns and indexes that the centre's have by now.

        Raises
        ------
        ConfigError
            If a column is of another type here.
        """
        wanted = {name: kind for name, kind, _ in definition.columns}
        with self.connection.transaction():
            for table in self.tables():
                rows = self.connection.execute(
                    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                    (f"archive.{table}",),
                ).fetchall()
                there = dict(rows)
                for column, kind in wanted.items():
                    if there.get(column, kind) != kind:
                        raise ConfigError(
                            f"shard {self.name}: {table}.{column} is {there[column]}: expected "
                            f"{kind}; bring the partition back with 'vo-service shard move centre'"
                        )
                    if column not in there:
                        self.connection.execute(
                            sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
                                sql.Identifier("archive", table),
                                sql.Identifier(column),
                                sql.SQL(kind),
                            )
                        )
                for statement in definition.indexing(table):
                    self.connection.execute(statement)
            self.connection.execute("UPDATE archive.node SET version = %s", (version,))


def free_bytes(connection: Connection) -> int | None:
    """Bytes free where a server of this machine keeps its data; None for one that is elsewhere."""
    if not connection.info.host.startswith("/"):
        return None
    try:
        place = os.statvfs(str(_value(connection, "SHOW data_directory")))
    except (OSError, psycopg.Error):
        return None
    return place.f_bavail * place.f_frsize


def _value(connection: Connection, question: str) -> Any:
    row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def _first_line(error: psycopg.Error) -> str:
    said = error.diag.message_primary or str(error)
    return said.strip().partition("\n")[0] or type(error).__name__
