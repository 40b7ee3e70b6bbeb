"""Nodes are upgraded together with the centre, or neither is; and take only what fits."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.shards.cluster import Machine
from tests.shards.sky import add, move
from vo_service.db.connect import Role, conninfo
from vo_service.db.nodes import connect_node, definition_of
from vo_service.db.schema import upgrade
from vo_service.errors import ConfigError, TransientError
from vo_service.services.shards import check_shards
from vo_service.settings import Settings


@pytest.fixture(scope="module")
def node(settings: Settings, machines: tuple[Machine, Machine]) -> Iterator[str]:
    with machines[0].database() as url:
        add(settings, "north", url)
        move(settings, "north", "0:60")
        yield url


def grow_old(settings: Settings) -> None:
    """Let the node look as if it had been made by an earlier program."""
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        owner.execute("UPDATE archive.shard SET version = '0001'")


def test_an_upgrade_brings_columns_and_indexes_to_the_nodes(settings: Settings, node: str) -> None:
    with psycopg.connect(node) as there:
        there.execute("DROP INDEX archive.observation_ra_030_time")
        there.execute("ALTER TABLE archive.observation_ra_000 DROP COLUMN pol_xel")
        there.execute("UPDATE archive.node SET version = '0001'")
    grow_old(settings)
    assert any("made for schema 0001" in problem for problem in check_shards(settings).problems)
    upgrade(settings)
    with psycopg.connect(node) as there:
        row = there.execute(
            "SELECT to_regclass('archive.observation_ra_030_time') IS NOT NULL, (SELECT count(*) "
            "FROM information_schema.columns WHERE table_name = 'observation_ra_000' "
            "AND column_name = 'pol_xel')"
        ).fetchone()
    assert row == (True, 1)
    assert check_shards(settings).problems == []


def test_an_upgrade_without_one_of_the_nodes_changes_nothing(
    settings: Settings, node: str, machines: tuple[Machine, Machine]
) -> None:
    grow_old(settings)
    machines[0].kill()
    try:
        with pytest.raises(TransientError, match="shard north does not let us in"):
            upgrade(settings)
        with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
            assert owner.execute("SELECT version FROM archive.shard").fetchone() == ("0001",)
    finally:
        machines[0].start()
    upgrade(settings)


def test_a_column_of_another_type_is_refused_by_name(settings: Settings, node: str) -> None:
    with psycopg.connect(node) as there:
        there.execute("ALTER TABLE archive.observation_ra_000 ALTER s_xel1 TYPE text")
    grow_old(settings)
    with pytest.raises(ConfigError, match=r"observation_ra_000\.s_xel1 is text: expected bigint"):
        upgrade(settings)
    with psycopg.connect(node) as there:
        there.execute(
            "ALTER TABLE archive.observation_ra_000 ALTER s_xel1 TYPE bigint USING s_xel1::bigint"
        )
    upgrade(settings)


def test_tables_of_a_node_are_made_as_those_of_the_centre(settings: Settings, node: str) -> None:
    with (
        psycopg.connect(conninfo(settings, Role.OWNER)) as owner,
        connect_node("north", node) as there,
    ):
        here = definition_of(owner)
        indexes = there.connection.execute(
            "SELECT count(*) FROM pg_index WHERE indrelid = 'archive.observation_ra_030'::regclass"
        ).fetchone()
        checks = there.connection.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'c' "
            "AND conrelid = 'archive.observation_ra_030'::regclass"
        ).fetchone()
    assert indexes == (len(here.indexes),)
    assert len(here.indexes) >= 7
    assert checks == (len(here.checks) + 1,)  # and that of its range
    assert [name for name, _ in here.checks] == [
        "a_position_is_on_the_sphere", "a_position_is_whole", "a_region_has_text_and_size",
    ]  # fmt: skip


def test_a_node_with_another_collation_is_refused(
    settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    with psycopg.connect(machines[1].admin, autocommit=True) as admin:
        admin.execute("CREATE DATABASE other TEMPLATE template0 LOCALE 'C'")
        try:
            url = psycopg.conninfo.make_conninfo(machines[1].admin, dbname="other")
            with pytest.raises(ConfigError, match=r"collation C, C: expected C\.UTF-8"):
                add(settings, "south", url)
        finally:
            admin.execute("DROP DATABASE other WITH (FORCE)")
