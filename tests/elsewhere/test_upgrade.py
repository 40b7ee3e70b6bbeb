"""A database with rows gets the tables of other sites, and both are searched together."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.elsewhere.sky import make_shots
from tests.support import settings_at, upgrade_to
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.frames import spoint
from vo_service.db.schema import upgrade
from vo_service.model.region import Point


def test_rows_of_before_are_found_beside_those_of_others(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(empty_database_url, tmp_path)
    upgrade_to(settings, "0017")
    shot = make_shots(1)[0]
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute(
            "INSERT INTO tap_schema.schemas (schema_name) VALUES ('ivoa');"
            "INSERT INTO tap_schema.tables (schema_name, table_name, table_type) "
            "VALUES ('ivoa', 'ivoa.obscore', 'view');"
            "INSERT INTO archive.published (table_name, relation, reach) "
            "VALUES ('ivoa.obscore', 'archive.obscore', 0.5)"
        )
        connection.execute(
            "INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id, "
            "obs_publisher_did, s_ra, s_dec, position) VALUES (1, 1, 'c', 'o', %s, %s, %s, %s)",
            (shot.did, shot.ra, shot.dec, spoint(Point(shot.ra, shot.dec))),
        )
    upgrade(settings)
    with psycopg.connect(conninfo(settings, Role.READER)) as connection:
        rows = connection.execute("SELECT origin, obs_publisher_did FROM archive.everything")
        assert rows.fetchall() == [("here", shot.did)]
    with engine(settings, Role.READER).connect() as reader:
        reaches = {
            table.name: table.position.reach
            for table in read_catalog(reader).tables
            if table.position is not None
        }
    assert reaches["elsewhere.everything"] == reaches["ivoa.obscore"] == 0.5
    assert reaches["elsewhere.obscore"] == 0.0
