"""An archive on three servers answers as one on one server does, and asks no more than it must."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.db.frames import frame
from tests.shards.cluster import Machine
from tests.shards.sky import fill, frames, replaced, spread
from vo_service.adql import translate
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.frames import FrameStore
from vo_service.db.shards import ShardStore
from vo_service.db.stream import render
from vo_service.model.shard import joined
from vo_service.services.shards import check_shards
from vo_service.settings import Settings

NOT_ALLOWED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)

#: What TAP, SIA, SCS and the portal ask in one form or another.
QUERIES = [
    "SELECT * FROM ivoa.obscore ORDER BY obs_id",
    "SELECT COUNT(*), COUNT(s_ra), COUNT(target_name) FROM ivoa.obscore",
    "SELECT obs_id FROM ivoa.obscore WHERE s_ra IS NULL ORDER BY obs_id",
    "SELECT obs_id, s_ra, s_dec FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(120, 10, 25)) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(0, -5, 20)) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(77, 90, 4)) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 0 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(77, 0, 130)) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(358.86, -59.82), s_region) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = INTERSECTS(CIRCLE(240, 0, 9), s_region) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = INTERSECTS(POLYGON(110, -20, 130, -20, 120, 20), s_region) ORDER BY obs_id",
    "SELECT obs_id, AREA(s_region) AS a, CENTROID(s_region) AS m FROM ivoa.obscore ORDER BY obs_id",
    "SELECT obs_id, POINT(s_ra, s_dec) AS p FROM ivoa.obscore WHERE s_dec > 60 ORDER BY obs_id",
    "SELECT obs_id, DISTANCE(POINT(s_ra, s_dec), POINT(121, 3)) AS d FROM ivoa.obscore WHERE DISTANCE(POINT(s_ra, s_dec), POINT(121, 3)) < 30 ORDER BY d",
    "SELECT instrument_name, COUNT(*) AS n, MIN(s_ra) AS a, MAX(t_max) AS b, SUM(t_xel) AS s FROM ivoa.obscore GROUP BY instrument_name ORDER BY instrument_name",
    "SELECT DISTINCT target_name FROM ivoa.obscore ORDER BY target_name",
    "SELECT target_name, COUNT(*) AS n FROM ivoa.obscore GROUP BY target_name HAVING COUNT(*) > 50 ORDER BY n, target_name",
    "SELECT TOP 7 obs_id, t_min FROM ivoa.obscore WHERE target_name LIKE '%1%' ORDER BY t_min DESC",
    "SELECT obs_id FROM ivoa.obscore ORDER BY obs_id OFFSET 990",
    "SELECT obs_id, access_url, obs_publisher_did FROM ivoa.obscore WHERE obs_id IN ('3', '300', '1500', '2997') ORDER BY obs_id",
    "SELECT a.obs_id, b.obs_id AS other FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON 1 = CONTAINS(POINT(a.s_ra, a.s_dec), CIRCLE(b.s_ra, b.s_dec, 1)) WHERE a.s_ra BETWEEN 118 AND 122 AND a.obs_id <> b.obs_id ORDER BY 1, 2",
    "SELECT obs_id FROM ivoa.obscore AS a WHERE EXISTS (SELECT * FROM ivoa.obscore AS b WHERE b.t_min = a.t_min AND b.s_ra > 200) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore AS a, (SELECT AVG(t_min) AS m FROM ivoa.obscore) AS b WHERE t_min < m AND s_ra > 100 ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE s_ra < 30 UNION SELECT obs_id FROM ivoa.obscore WHERE s_ra > 330 ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore EXCEPT SELECT obs_id FROM ivoa.obscore WHERE s_dec > -80 ORDER BY obs_id",
    "SELECT UPPER(instrument_name) AS u, ROUND(s_ra, 1) AS r FROM ivoa.obscore WHERE MOD(t_xel, 100) = 1 ORDER BY r",
    "WITH q AS (SELECT s_ra, s_dec, s_region, obs_id FROM ivoa.obscore) SELECT obs_id FROM q WHERE 1 = INTERSECTS(CIRCLE(180, 0, 20), s_region) ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE LOWER(obs_publisher_did) = 'ivo://x/c?300.fits'",
    "SELECT obs_id FROM ivoa.obscore WHERE 1 = ivo_hasword(target_name, 'ziel') AND s_dec < -60 ORDER BY obs_id",
]


@pytest.fixture(scope="module")
def sql(settings: Settings) -> Callable[[str], bytes]:
    with engine(settings, Role.READER).connect() as connection:
        catalog = read_catalog(connection)
    return lambda query: render(translate(query, catalog, 100_000).select).encode()


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
        connection.execute("SELECT set_config('vo.data_url', 'http://x/data/', false)")
        yield connection


@pytest.fixture(scope="module")
def alone(
    sql: Callable[[str], bytes], reader: psycopg.Connection
) -> dict[str, list[tuple[Any, ...]]]:
    """What one server answers."""
    return {query: reader.execute(sql(query)).fetchall() for query in QUERIES}


@pytest.fixture(scope="module")
def nodes(
    alone: object, settings: Settings, machines: tuple[Machine, Machine]
) -> Iterator[tuple[str, str]]:
    with spread(settings, machines) as urls:
        yield urls


@pytest.mark.parametrize("query", QUERIES)
def test_three_servers_answer_as_one(
    query: str,
    nodes: object,
    alone: dict[str, list[tuple[Any, ...]]],
    sql: Callable[[str], bytes],
    reader: psycopg.Connection,
) -> None:
    assert alone[query]  # a query that finds nothing compares nothing
    found = reader.execute(sql(query)).fetchall()
    assert len(found) == len(alone[query])
    for row, expected in zip(found, alone[query], strict=True):
        assert all(map(same, row, expected)), (row, expected)


def same(value: Any, expected: Any) -> bool:
    """Equal; numbers as far as areas of polygons hold, whose corners are told in 15 digits."""
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-7, abs_tol=1e-9)
    return bool(value == expected)


def test_each_server_keeps_a_third_of_the_sky(settings: Settings, nodes: tuple[str, str]) -> None:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        parts = ShardStore(owner).parts()
    kept = {
        name: joined(part for part in parts if part.shard == name)
        for name in (None, "north", "south")
    }
    assert kept == {None: [(240, 360)], "north": [(0, 120)], "south": [(120, 240)]}
    counts = []
    for url, low in zip(nodes, (0, 120), strict=True):
        with psycopg.connect(url) as node:
            counts.append(0)
            for ra in range(low, low + 120, 30):
                row = node.execute(
                    f"SELECT count(*), min(s_ra), max(s_ra) FROM archive.observation_ra_{ra:03}".encode()
                ).fetchone()
                assert row is not None
                assert ra <= row[1] <= row[2] < ra + 30
                counts[-1] += row[0]
    centres = [f.observation.s_ra for f in frames() if f.observation.s_ra is not None]
    assert counts == [
        sum(low <= ra < low + 120 for ra in centres) for low in (0, 120)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(75, 10, 0.25))", {"observation_ra_060"}),
        ("1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(135, 10, 0.25))", {"observation_ra_120"}),
        ("DISTANCE(POINT(s_ra, s_dec), POINT(165, 10)) < 0.25", {"observation_ra_150"}),
        ("1 = INTERSECTS(CIRCLE(75, 10, 0.1), s_region)", {"observation_ra_060"}),
        ("1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(255, 10, 0.25))", set()),
    ],
)
def test_a_cone_asks_one_node_and_the_node_does_the_search(
    condition: str,
    expected: set[str],
    nodes: tuple[str, str],
    sql: Callable[[str], bytes],
    reader: psycopg.Connection,
) -> None:
    statement = sql(f"SELECT obs_id FROM ivoa.obscore WHERE {condition}")
    # As the owner of the view: everybody else sees neither servers nor what they are sent.
    lines = reader.execute(b"EXPLAIN (VERBOSE) " + statement).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert set(re.findall(r"Foreign Scan on archive\.(\w+)", plan)) == expected
    if expected:
        [remote] = re.findall(r"Remote SQL: (.+)", plan)
        assert "OPERATOR(public." in remote  # pgSphere's own, on the node, where the index is
        assert "Filter:" not in plan


def test_the_node_uses_its_index(nodes: tuple[str, str]) -> None:
    with psycopg.connect(nodes[0]) as node:
        node.execute("SET enable_seqscan = off")
        rows = node.execute(
            "EXPLAIN SELECT obs_id FROM archive.observation_ra_060 "
            "WHERE position <@ scircle(spoint(1.3, 0.1), 0.01)"
        ).fetchall()
    assert "Index Cond" in "\n".join(line for (line,) in rows)


def test_searches_of_the_whole_sky_ask_nodes_at_once(
    nodes: object, sql: Callable[[str], bytes], reader: psycopg.Connection
) -> None:
    rows = reader.execute(b"EXPLAIN " + sql("SELECT obs_id FROM ivoa.obscore WHERE s_dec > 80"))
    assert "Async Foreign Scan" in "\n".join(line for (line,) in rows)


@pytest.mark.parametrize("role", [Role.READER, Role.MEMBER, Role.DOOR, Role.UPLOAD, Role.JOBS])
def test_nobody_who_runs_queries_sees_a_password_or_reaches_a_node_directly(
    settings: Settings, nodes: object, role: Role
) -> None:
    with psycopg.connect(conninfo(settings, role), autocommit=True) as connection:
        seen = connection.execute("SELECT usename, umoptions FROM pg_user_mappings").fetchall()
        assert {name for name, _ in seen} == {"vo_owner", "vo_writer"}
        assert [options for _, options in seen if options is not None] == []
        for statement in (
            "SELECT url FROM archive.shard",
            "SELECT * FROM archive.observation_ra_000",
            "SELECT * FROM archive.node_north",
            "CREATE USER MAPPING FOR CURRENT_USER SERVER vo_north OPTIONS (user 'x')",
        ):
            with pytest.raises(NOT_ALLOWED):
                connection.execute(statement.encode())


def test_what_queries_run_as_on_a_node_can_only_read(settings: Settings, nodes: object) -> None:
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        with pytest.raises(NOT_ALLOWED):
            owner.execute("DELETE FROM archive.observation WHERE s_ra < 1")
        with pytest.raises(NOT_ALLOWED):
            owner.execute("UPDATE archive.observation SET obs_id = 'x' WHERE s_ra < 1")


def test_new_versions_reach_the_nodes_and_old_ones_leave(
    settings: Settings, nodes: object, reader: psycopg.Connection
) -> None:
    before = [f for f in frames() if f.product.path in ("0.fits", "300.fits", "1500.fits")]
    fill(settings, [replaced(f, 5760) for f in before])
    rows = reader.execute(
        "SELECT obs_id, count(*), max(access_estsize) FROM archive.obscore "
        "WHERE obs_id IN ('0', '300', '1500') GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [("0", 1, 6), ("1500", 1, 6), ("300", 1, 6)]
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        days = writer.execute(
            "SELECT count(*) FROM archive.coverage_change WHERE removed AND day IN "
            "(58000, 58030, 58150)"
        ).fetchone()
    assert days == (3,)
    fill(settings, before)  # as they were, for the other tests


def test_rows_that_a_node_refuses_are_refusals_and_the_others_arrive(
    settings: Settings, nodes: object
) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        good = frame("good.fits", s_ra=10.0, s_dec=10.0, obs_id="good")
        bad = frame("bad.fits", s_ra=10.0, s_dec=99.0, obs_id="bad")
        counts, refusals = store.store([good, bad])
        assert (counts.added, [r.source for r in refusals]) == (1, ["/store/bad.fits"])
        found = writer.execute("SELECT count(*) FROM archive.obscore WHERE obs_id = 'good'")
        assert found.fetchone() == (1,)
        writer.execute("DELETE FROM archive.observation WHERE obs_id = 'good'")
        writer.execute("DELETE FROM archive.preview")
        writer.execute("DELETE FROM archive.product WHERE path = 'good.fits'")


def test_a_check_finds_and_mends_what_a_broken_commit_left(
    settings: Settings, nodes: tuple[str, str]
) -> None:
    assert check_shards(settings).problems == []
    with psycopg.connect(nodes[0], autocommit=True) as node:
        node.execute(
            "INSERT INTO archive.observation_ra_030 (product_id, calib_level, obs_collection, "
            "obs_id, obs_publisher_did, s_ra, s_dec, position) VALUES "
            "(987654, 1, 'c', 'ghost', 'x', 31, 1, spoint(radians(31), radians(1)))"
        )
        node.execute("CREATE TABLE archive.observation_ra_270 (LIKE archive.observation_ra_030)")
    problems = check_shards(settings).problems
    assert len(problems) == 2
    assert "observation_ra_270 is left from a move that was killed" in problems[0]
    assert "observation_ra_030: 1 rows of no open product" in problems[1]
    assert len(check_shards(settings, repair=True).mended) == 2
    assert check_shards(settings).problems == []
