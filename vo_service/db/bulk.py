"""Bulk loads: COPY into tables without indexes, which are built afterwards, several at once.

A GiST index over a million polygons costs more than all else of a load, and far more when it
grows row by row. What was taken away is written down (`archive.dropped_index`) in the same
transaction, so a load that is killed loses no index: `build_indexes` finds them all.
Run as the owner of the tables.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from vo_service.errors import TransientError

__all__ = [
    "build_indexes",
    "copy_csv",
    "count_missing",
    "count_products",
    "count_rows",
    "drop_indexes",
    "only_load",
    "renew_statistics",
]

#: Indexes that a load needs itself: what rows refer to, and what must be unique.
_PLAIN = re.compile(r"CREATE INDEX (\S+) ON (?:ONLY )?(\S+) (USING .+)", re.DOTALL)


def drop_indexes(connection: psycopg.Connection, relation: str) -> list[str]:
    """Take the indexes of a table away, but for unique ones; their names.

    *relation* is written ``schema.table``; the caller owns the transaction.

    Raises
    ------
    TransientError
        If searches keep the table for longer than ``lock_timeout``.
    """
    try:
        connection.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(*relation.split("."))))
    except psycopg.errors.LockNotAvailable as error:
        raise TransientError(f"{relation} is in use by long queries; try again later") from error
    names = []
    for (definition,) in connection.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass "
        "AND NOT indisunique ORDER BY indexrelid",
        [relation],
    ).fetchall():
        match = _PLAIN.fullmatch(definition)
        if match is None:
            raise ValueError(f"not understood: {definition}")
        name, _, rest = match.groups()
        connection.execute(
            "INSERT INTO archive.dropped_index VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING",
            [name, relation, rest],
        )
        schema = relation.partition(".")[0]
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, name)))
        names.append(name)
    return names


def build_indexes(
    conninfo: str, *, at_once: int, done: Callable[[int, int], None] = lambda built, total: None
) -> int:
    """Build all indexes that were taken away; how many parts were built.

    Parameters
    ----------
    conninfo
        Of the owner.
    at_once
        Sessions that build at the same time.
    done
        Called after each part with the number built so far, and that of all.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        dropped = connection.execute(
            "SELECT name, relation, definition FROM archive.dropped_index ORDER BY name"
        ).fetchall()
        parts = [
            _statement(f"{leaf.rpartition('.')[2]}_{name}", leaf, rest)
            for name, relation, rest in dropped
            for leaf in _leaves(connection, relation)
        ]
        with ThreadPoolExecutor(at_once) as pool:
            for built, _ in enumerate(pool.map(lambda part: _run(conninfo, part), parts), 1):
                done(built, len(parts))
        for name, relation, rest in dropped:
            with connection.transaction():
                # That of the whole table takes those of its partitions as its own.
                connection.execute(_statement(name, relation, rest))
                connection.execute("DELETE FROM archive.dropped_index WHERE name = %s", [name])
    return len(parts)


@contextlib.contextmanager
def only_load(connection: psycopg.Connection) -> Iterator[None]:
    """Keep other bulk loads out for the block.

    Raises
    ------
    TransientError
        If one is running.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext('bulk load'))").fetchone()
    if row is None or not row[0]:
        raise TransientError("a bulk load is running, which builds its indexes itself; wait for it")
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtext('bulk load'))")


def count_missing(connection: psycopg.Connection) -> int:
    """How many indexes were taken away and are not built again."""
    row = connection.execute("SELECT count(*) FROM archive.dropped_index").fetchone()
    return row[0] if row else 0


def count_rows(connection: psycopg.Connection, relation: str) -> int:
    """How many rows a table has."""
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*relation.split(".")))
    ).fetchone()
    return row[0] if row else 0


def count_products(connection: psycopg.Connection, collection: str) -> int:
    """How many current products a collection has."""
    row = connection.execute(
        "SELECT count(*) FROM archive.product WHERE collection = %s AND current", [collection]
    ).fetchone()
    return row[0] if row else 0


def renew_statistics(connection: psycopg.Connection, relation: str) -> None:
    """Let the planner know what is there now (ANALYZE)."""
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*relation.split("."))))


def copy_csv(
    connection: psycopg.Connection, relation: str, columns: Iterable[str], blocks: Iterable[bytes]
) -> None:
    """Load CSV text, separated by tabs, an empty cell being null; one COPY."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, DELIMITER E'\\t')").format(
        sql.Identifier(*relation.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in blocks:
            copy.write(block)


def _leaves(connection: psycopg.Connection, relation: str) -> Iterator[str]:
    """Partitions of a table, the largest first; the table itself has its index made at the end."""
    for (leaf,) in connection.execute(
        "SELECT relid::regclass::text FROM pg_partition_tree(%s) "
        "JOIN pg_class c ON c.oid = relid "
        "WHERE level > 0 AND c.relkind = 'r' "  # none of another machine
        "ORDER BY pg_relation_size(relid) DESC",
        [relation],
    ).fetchall():
        yield leaf


def _statement(name: str, relation: str, rest: str) -> sql.Composed:
    return sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} {}").format(
        sql.Identifier(name),
        sql.Identifier(*relation.split(".")),
        sql.SQL(rest),  # PostgreSQL's own words about our own schema
    )


def _run(conninfo: str, statement: sql.Composed) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement)
