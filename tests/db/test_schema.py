"""The database as a product: columns, partitions, privileges, upgrades."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.support import settings_at
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.schema import upgrade
from vo_service.model.obscore import OBSCORE
from vo_service.model.published import PUBLISHED
from vo_service.settings import Settings

#: ObsCore 1.1, Table 4.
TABLE_4 = """
dataproduct_type calib_level obs_collection obs_id obs_publisher_did access_url access_format
access_estsize target_name s_ra s_dec s_fov s_region s_resolution s_xel1 s_xel2 t_min t_max
t_exptime t_resolution t_xel em_min em_max em_res_power em_xel o_ucd pol_states pol_xel
facility_name instrument_name
"""


def test_obscore_has_exactly_the_30_columns_of_the_standard(settings: Settings) -> None:
    with psycopg.connect(conninfo(settings, Role.READER)) as reader:
        names = [d.name for d in reader.execute("SELECT * FROM ivoa.obscore").description or ()]
    assert set(names) == set(TABLE_4.split())
    assert names == [column.name for column in OBSCORE]


def test_types_in_the_database_are_those_of_the_model(settings: Settings) -> None:
    types = {"char": "text", "int": "integer", "long": "bigint", "double": "double precision"}
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        rows = owner.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'ivoa' AND table_name = 'obscore'"
        )
        assert dict(rows.fetchall()) == {c.name: types[c.datatype] for c in OBSCORE}


def test_what_is_published_reads_back_as_it_was_written(settings: Settings) -> None:
    with engine(settings, Role.READER).connect() as connection:
        assert read_catalog(connection) == PUBLISHED


def test_an_upgrade_of_the_newest_version_changes_nothing_and_keeps_the_reach(
    settings: Settings,
) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        writer.execute("UPDATE archive.published SET reach = 1.5 WHERE table_name = 'ivoa.obscore'")
    upgrade(settings)
    with engine(settings, Role.READER).connect() as connection:
        [obscore] = [t for t in read_catalog(connection).tables if t.name == "ivoa.obscore"]
    assert obscore.position is not None
    assert obscore.position.reach == 1.5
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        writer.execute("UPDATE archive.published SET reach = 0")


def test_there_are_36_partitions_of_10_degrees_and_one_without_position(
    settings: Settings,
) -> None:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        rows = owner.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c "
            "JOIN pg_inherits i ON i.inhrelid = c.oid "
            "WHERE i.inhparent = 'archive.observation'::regclass ORDER BY 1"
        ).fetchall()
    bounds: dict[str, str] = dict(rows)
    assert len(bounds) == 37
    assert bounds["observation_no_position"] == "DEFAULT"
    assert bounds["observation_ra_140"] == "FOR VALUES FROM ('140') TO ('150')"
    assert bounds["observation_ra_350"] == "FOR VALUES FROM ('350') TO ('360')"


def test_bounds_of_partitions_are_settings(empty_database_url: str, tmp_path: Path) -> None:
    bounds = (0.0, 90.0, 202.5, 360.0)
    upgrade(settings_at(empty_database_url, tmp_path, partition_bounds=bounds))
    with psycopg.connect(empty_database_url) as admin:
        rows = admin.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'archive.observation'::regclass ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in rows] == [
        "archive.observation_no_position",
        "archive.observation_ra_000",
        "archive.observation_ra_090",
        "archive.observation_ra_202_500",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM archive.product",
        "SELECT * FROM archive.observation",
        "SELECT * FROM archive.observation_ra_000",
        "SELECT * FROM archive.collection",
        "SELECT * FROM archive.refusal",
        "INSERT INTO tap_schema.schemas VALUES ('x')",
        "UPDATE archive.published SET reach = 0",
        "CREATE TABLE public.x (a int)",
        "CREATE TEMP TABLE x (a int)",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
    ],
)
def test_the_reader_can_do_nothing_but_read_what_is_published(
    settings: Settings, statement: str
) -> None:
    with psycopg.connect(conninfo(settings, Role.READER)) as reader:
        # Even when it lifts its own read-only default.
        reader.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE archive.product", "TRUNCATE archive.product", "CREATE TABLE archive.x (a int)"],
)
def test_the_writer_cannot_change_the_schema(settings: Settings, statement: str) -> None:
    with (
        psycopg.connect(conninfo(settings, Role.WRITER)) as writer,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        writer.execute(statement.encode())
