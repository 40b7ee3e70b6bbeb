"""Every version of the schema, with rows, is brought to the newest: no row is lost or changed.

One database goes through all versions and gets rows at each; a copy of it at every version is
upgraded as `vo-service db upgrade` does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.db.old_rows import NO_ROWS, ROWS
from tests.support import settings_at, upgrade_to
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import schema_directory, upgrade

Rows = dict[str, list[dict[str, Any]]]

#: What a version is meant to change in rows of before.
MEANT = {
    # 0006: an old version is 'replaced', and what is withdrawn of old collections stays hidden.
    "archive.product": {"state", "closed"},
    "archive.collection": {"definition"},
}
#: Sums and notes of changes, which are folded and worked off.
DERIVED = {"archive.volume", "archive.coverage_change"}


def versions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(schema_directory()))
    found = ScriptDirectory.from_config(config).walk_revisions()
    return sorted(script.revision for script in found)


VERSIONS = versions()


@pytest.fixture(scope="module")
def snapshots(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database at each version, with the rows of all versions up to it."""
    names = {version: f"version_{version}_{uuid4().hex}" for version in VERSIONS}
    chain = f"chain_{uuid4().hex}"
    home = tmp_path_factory.mktemp("chain")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(chain)))
        settings = settings_at(
            make_conninfo(server, dbname=chain), home, partition_bounds=(0.0, 180.0, 360.0)
        )
        for version in VERSIONS:
            upgrade_to(settings, version)
            with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
                owner.execute(ROWS.get(version, "SELECT").encode())
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(copy.format(sql.Identifier(names[version]), sql.Identifier(chain)))
        yield {version: make_conninfo(server, dbname=name) for version, name in names.items()}
        for name in (chain, *names.values()):
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def contents(url: str) -> Rows:
    """All rows of all tables of ours."""
    found: Rows = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
            "AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'"
        ).fetchall()
        for schema, name in tables:
            rows = connection.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier(schema, name))
            ).fetchall()
            found[f"{schema}.{name}"] = sorted((row for (row,) in rows), key=json.dumps)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_of_every_version_survive(
    version: str, snapshots: dict[str, str], tmp_path: Path
) -> None:
    url = snapshots[version]
    before = contents(url)
    empty = {name for name, rows in before.items() if not rows and not name.startswith("tap_up")}
    assert empty <= NO_ROWS | DERIVED, "tables without rows: add some to tests/db/old_rows.py"
    settings = settings_at(url, tmp_path, partition_bounds=(0.0, 180.0, 360.0))
    upgrade(settings)
    after = contents(url)
    for table, rows in before.items():
        if table in DERIVED or table in NO_ROWS:
            continue
        for row in rows:
            kept = [new for new in after[table] if _same(table, row, new)]
            assert len(kept) == 1, (table, row, after[table])
    assert after["archive.alembic_version"] == [{"version_num": VERSIONS[-1]}]
    with psycopg.connect(conninfo(settings, Role.READER)) as reader:
        seen = reader.execute("SELECT obs_publisher_did FROM ivoa.obscore ORDER BY 1").fetchall()
        tables = reader.execute("SELECT count(*) FROM tap_schema.tables").fetchone()
    assert ("ivo://c/a",) in seen
    assert tables is not None
    assert tables[0] > 0
    upgrade(settings)  # a second time nothing happens
    assert contents(url) == after


def _same(table: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    common = (old.keys() & new.keys()) - MEANT.get(table, set())
    return all(old[name] == new[name] for name in common)
