"""The tests of TAP over three PostgreSQL servers instead of one.

Run as ``python -m tests.shards.everywhere``. Tests ask for their data as ever; with TEST_SHARDS
set, two thirds of the sky then go to two other servers, and two collections by name. Left out are
tests of plans, which name the indexes of one server. Arguments are pytest's: other tests, ``-x``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.shards.cluster import Machine, machine
from tests.shards.sky import NORTH, SOUTH, add, move, place
from vo_service.settings import Settings

__all__ = ["spread_archive", "spread_sky", "wanted"]

#: What is run where nothing is named.
TESTS = (
    "tests/adql", "tests/web/test_tap.py", "tests/web/test_tap_formats.py",
    "tests/web/test_pyvo.py", "tests/web/test_uploads.py", "tests/web/test_sia2.py",
    "tests/web/test_old_searches.py", "tests/web/test_random_requests.py",
)  # fmt: skip
_NOT = "not plan and not index and not explain and not skips"


def wanted() -> bool:
    """Whether data are to be spread over three servers."""
    return bool(os.environ.get("TEST_SHARDS"))


@cache
def _machines() -> tuple[Machine, Machine]:
    stack = contextlib.ExitStack()
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vo-shards-")))
    place.chmod(0o755)
    atexit.register(stack.close)
    north = stack.enter_context(machine(place / "north"))
    return north, stack.enter_context(machine(place / "south"))


def _databases() -> list[str]:
    """Two fresh databases; they go with their servers."""
    return [made.fresh() for made in _machines()]


def spread_archive(settings: Settings) -> None:
    """Move two thirds of an archive away; and two collections, each out of the other's range."""
    ranges = (("north", NORTH), ("south", SOUTH))
    for (name, ra), url in zip(ranges, _databases(), strict=True):
        add(settings, name, url)
        with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
            # Some tests look at tables as the administrator, who has no business there otherwise.
            admin.execute(
                sql.SQL(
                    "CREATE USER MAPPING FOR CURRENT_USER SERVER {} OPTIONS (user 'vo_admin')"
                ).format(sql.Identifier(f"vo_{name}"))
            )
        move(settings, name, ra)
    place(settings, "north", "triccs")
    place(settings, "south", "tomoe")


def spread_sky(database_url: str) -> None:
    """Move two thirds of the small sky of `tests.adql.sky` away, by PostgreSQL's means alone."""
    with psycopg.connect(database_url, autocommit=True) as here:
        here.execute("CREATE EXTENSION postgres_fdw")
        rows = here.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'inner_schema.frames_of_sky'::regclass AND attnum > 0"
        ).fetchall()
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in rows
        )
        for number, url in enumerate(_databases()):
            given = conninfo_to_dict(url)
            here.execute(
                sql.SQL(
                    "CREATE SERVER node{} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {}, "
                    "dbname {}, extensions 'pg_sphere', async_capable 'true')"
                ).format(number, str(given["host"]), str(given["dbname"]))
            )
            here.execute(
                sql.SQL(
                    "CREATE USER MAPPING FOR CURRENT_USER SERVER node{} OPTIONS (user 'vo_admin')"
                ).format(number)
            )
            with psycopg.connect(url, autocommit=True) as there:
                there.execute("CREATE EXTENSION pg_sphere; CREATE SCHEMA inner_schema")
                for low in range(120 * number, 120 * number + 120, 10):
                    _carry(here, there, columns, low, number)
        here.execute("ANALYZE")


def _carry(
    here: psycopg.Connection, there: psycopg.Connection, columns: sql.Composed, low: int, node: int
) -> None:
    name = f"frames_{low:03}"
    table, whole = (
        sql.Identifier("inner_schema", name),
        sql.Identifier("inner_schema", "frames_of_sky"),
    )
    there.execute(sql.SQL("CREATE TABLE {} ({})").format(table, columns))
    here.execute("SET extra_float_digits = 3")
    with (
        here.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as rows,
        there.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as sink,
    ):
        for row in rows:
            sink.write(row)
    for column in ("place", "shape"):
        there.execute(
            sql.SQL("CREATE INDEX ON {} USING gist ({})").format(table, sql.Identifier(column))
        )
    here.execute(sql.SQL("DROP TABLE {}").format(table))
    here.execute(
        sql.SQL(
            "CREATE FOREIGN TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({}) SERVER node{}"
        ).format(table, whole, low, low + 10, node)
    )


def main() -> int:
    """Run pytest on three servers."""
    os.environ["TEST_SHARDS"] = "1"
    given = sys.argv[1:] or list(TESTS)
    return int(pytest.main(["-q", "-k", _NOT, *given]))


if __name__ == "__main__":
    sys.exit(main())
