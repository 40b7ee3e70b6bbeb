"""Collections leave the sky for a server of their own: nothing is lost, and nobody else asked."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.shards import kinds
from tests.shards.cluster import Machine
from tests.shards.kinds import MAPPED, fill
from tests.shards.sky import BOUNDS, add, bring_home, move, place, replaced
from tests.shards.test_answers import QUERIES, same
from tests.support import settings_at
from vo_service.db.bulk import build_indexes, drop_indexes
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.dump import dump, load
from vo_service.db.frames import FrameStore
from vo_service.db.moves import Mover
from vo_service.db.nodes import connect_node, definition_of
from vo_service.db.schema import prepare as prepare_database
from vo_service.db.schema import upgrade
from vo_service.db.shards import ShardStore
from vo_service.errors import NotFoundError
from vo_service.model.shard import Part, by_collection, joined, unplaced
from vo_service.services.prepared import prepare
from vo_service.services.shards import check_shards, list_shards
from vo_service.settings import Settings

ROWS = kinds.frames()
WHOLE = [(0.0, 360.0)]

MORE = [
    "SELECT obs_id, obs_collection FROM ivoa.obscore WHERE obs_collection = 'tomoe' ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE obs_collection <> 'tomoe' ORDER BY obs_id",
    "SELECT obs_collection, COUNT(*) AS n, MIN(s_ra) AS a FROM ivoa.obscore GROUP BY obs_collection ORDER BY n, a",
    "SELECT obs_id FROM ivoa.obscore WHERE obs_collection IN ('c', 'wide-field') AND s_dec > 30 ORDER BY obs_id",
    "SELECT obs_id FROM ivoa.obscore WHERE obs_collection LIKE 'O''Neil%' ORDER BY obs_id",
    "SELECT a.obs_id, b.obs_id AS other FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON 1 = CONTAINS(POINT(a.s_ra, a.s_dec), CIRCLE(b.s_ra, b.s_dec, 2)) WHERE a.obs_collection = 'tomoe' AND b.obs_collection = 'c' ORDER BY 1, 2",
]


@pytest.fixture(scope="module")
def settings(database_url: str, place: Path) -> Iterator[Settings]:
    with kinds.made(database_url, place / f"home-{uuid4().hex[:8]}") as made:
        yield made


@pytest.fixture(scope="module")
def to_sql(settings: Settings) -> Callable[[str], bytes]:
    with engine(settings, Role.READER).connect() as connection:
        catalog = read_catalog(connection)
    return lambda query: prepare(query, catalog, 100_000).sql.encode()


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
        connection.execute("SELECT set_config('vo.data_url', 'http://x/data/', false)")
        yield connection


@pytest.fixture(scope="module")
def alone(
    to_sql: Callable[[str], bytes], reader: psycopg.Connection
) -> dict[str, list[tuple[Any, ...]]]:
    """What one server answers."""
    return {query: reader.execute(to_sql(query)).fetchall() for query in (*QUERIES, *MORE)}


@pytest.fixture(scope="module")
def nodes(
    alone: object, settings: Settings, machines: tuple[Machine, Machine]
) -> Iterator[tuple[str, str]]:
    """tomoe in the north, a mapped one in the south, with a third of the sky of all others."""
    with machines[0].database() as north, machines[1].database() as south:
        add(settings, "north", north)
        add(settings, "south", south)
        assert place(settings, "north", "tomoe") == 12
        assert move(settings, "south", "120:240") == 4
        assert place(settings, "south", MAPPED) == 12
        yield north, south


def parts(settings: Settings) -> list[Part]:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        return ShardStore(owner).parts()


def kept(settings: Settings) -> dict[str | None, tuple[Any, dict[str, Any]]]:
    """Ranges of the sky, and of collections, by shard."""
    found = parts(settings)
    return {
        name: (
            joined(unplaced(own)),
            {held: joined(some) for held, some in by_collection(own).items()},
        )
        for name in (None, "north", "south")
        if (own := [part for part in found if part.shard == name])
    }


def there(url: str) -> dict[str, int]:
    """Rows of each collection on a node."""
    with psycopg.connect(url) as node:
        tables = node.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE 'observation%'"
        ).fetchall()
        whole = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT obs_collection FROM {}").format(sql.Identifier("archive", table))
            for (table,) in tables
        )
        counts = sql.SQL("SELECT obs_collection, count(*)::int FROM ({}) t GROUP BY 1")
        return dict(node.execute(counts.format(whole)).fetchall())


def rows_of(name: str, low: float = 0.0, high: float = 360.0) -> int:
    places = (frame.observation.s_ra for frame in ROWS if frame.observation.obs_collection == name)
    return sum(ra is not None and low <= ra < high for ra in places)


def test_collections_are_where_they_were_placed(settings: Settings, nodes: tuple[str, str]) -> None:
    assert kept(settings) == {
        None: ([(0.0, 120.0), (240.0, 360.0)], {}),
        "north": ([], {"tomoe": WHOLE}),
        "south": ([(120.0, 240.0)], {MAPPED: WHOLE}),
    }
    assert there(nodes[0]) == {"tomoe": rows_of("tomoe")}
    assert there(nodes[1]) == {
        MAPPED: rows_of(MAPPED), "c": rows_of("c", 120, 240),
        "wide-field": rows_of("wide-field", 120, 240),
    }  # fmt: skip
    # A number that the first division used is used again by the next.
    names = {part.partition for part in parts(settings) if part.low == 0}
    assert len(names) == 3
    assert names <= {f"observation_ra_000_{n}" for n in range(1, 5)}


@pytest.mark.parametrize("query", [*QUERIES, *MORE])
def test_collections_on_servers_of_their_own_answer_as_on_one(
    query: str,
    nodes: object,
    alone: dict[str, list[tuple[Any, ...]]],
    to_sql: Callable[[str], bytes],
    reader: psycopg.Connection,
) -> None:
    assert alone[query]
    found = reader.execute(to_sql(query)).fetchall()
    assert len(found) == len(alone[query])
    for row, expected in zip(found, alone[query], strict=True):
        assert all(map(same, row, expected)), (row, expected)


def asked(plan: str, settings: Settings) -> tuple[set[str | None], set[str | None], int]:
    """The shards (None: the centre) and collections (None: the rest) of a plan, and its tables."""
    by_name = {part.partition: part for part in parts(settings)}
    read = [by_name[name] for name in set(re.findall(r"\w+", plan)) & by_name.keys()]
    return {part.shard for part in read}, {part.collection for part in read}, len(read)


@pytest.mark.parametrize(
    ("condition", "shards", "collections", "tables"),
    [
        ("obs_collection = 'tomoe'", {"north"}, {"tomoe"}, 12),
        ("'tomoe' = obs_collection", {"north"}, {"tomoe"}, 12),
        ("obs_collection = 'c'", {None, "south"}, {None}, 12),
        ("obs_collection = 'c' AND s_ra < 120", {None}, {None}, 4),
        ("obs_collection IN ('tomoe', 'c') AND s_ra < 30", {None, "north"}, {None, "tomoe"}, 2),
        ("obs_collection <> 'tomoe' AND s_ra < 30", {None, "south"}, {None, MAPPED}, 2),
        ("obs_collection = 'tomoe' AND 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(75, 10, 0.25))", {"north"}, {"tomoe"}, 1),
        ("1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(75, 10, 0.25)) AND obs_collection = 'c'", {None}, {None}, 1),
        ("1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(75, 10, 0.25))", {None, "north", "south"}, {None, "tomoe", MAPPED}, 3),
    ],
)  # fmt: skip
def test_only_the_servers_of_the_collections_in_question_are_asked(
    condition: str,
    shards: set[str | None],
    collections: set[str | None],
    tables: int,
    nodes: object,
    settings: Settings,
    to_sql: Callable[[str], bytes],
    reader: psycopg.Connection,
) -> None:
    statement = to_sql(f"SELECT obs_id FROM ivoa.obscore WHERE {condition}")
    reader.execute(b"PREPARE asked AS " + statement)
    try:
        for explained in (statement, b"EXECUTE asked"):
            lines = reader.execute(b"EXPLAIN " + explained).fetchall()
            plan = "\n".join(line for (line,) in lines)
            assert asked(plan, settings) == (shards, collections, tables)
    finally:
        reader.execute(b"DEALLOCATE asked")


def test_the_published_view_asks_no_more_either(
    nodes: object, settings: Settings, reader: psycopg.Connection
) -> None:
    lines = reader.execute("EXPLAIN SELECT * FROM ivoa.obscore WHERE obs_collection = 'tomoe'")
    assert asked("\n".join(line for (line,) in lines), settings) == ({"north"}, {"tomoe"}, 12)
    # With a value that is not known before, what is not needed is left out when it is.
    reader.execute("SET plan_cache_mode = force_generic_plan")
    try:
        reader.execute(
            "PREPARE later (text) AS SELECT obs_id FROM ivoa.obscore WHERE obs_collection = $1"
        )
        rows = reader.execute("EXPLAIN (ANALYZE) EXECUTE later ('tomoe')").fetchall()
        plan = "\n".join(line for (line,) in rows if "never executed" not in line)
        assert asked(plan, settings) == ({"north"}, {"tomoe"}, 12)
    finally:
        reader.execute("RESET plan_cache_mode")


def test_files_reach_the_node_of_their_collection_and_leave_it(
    settings: Settings, nodes: tuple[str, str], reader: psycopg.Connection
) -> None:
    numbers = [0, 1, 2, 3, 400, 401, 402, 403]
    some = [ROWS[n] for n in numbers]
    fill(settings, [replaced(frame, 5760) for frame in some])
    counts = reader.execute(
        "SELECT count(*), count(DISTINCT obs_id), min(access_estsize) FROM archive.obscore "
        "WHERE obs_id = ANY(%s)",
        ([frame.observation.obs_id for frame in some],),
    ).fetchone()
    assert counts == (8, 8, 6)
    assert there(nodes[0]) == {"tomoe": rows_of("tomoe")}
    # What becomes closed leaves the node, and comes back.
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        definition = '{"metadata": "closed"}'
        writer.execute(
            "UPDATE archive.product SET state = 'arrived', released = NULL "
            "WHERE collection = 'tomoe' AND current"
        )
        fill_again = FrameStore(writer)
        fill_again.register("tomoe", "Title", "", definition)
        assert there(nodes[0]) == {}
        fill_again.register("tomoe", "Title", "", "{}")
        assert there(nodes[0]) == {"tomoe": rows_of("tomoe")}
    fill(settings, some)
    assert check_shards(settings).problems == []


def test_a_swap_reads_no_rows(settings: Settings, nodes: tuple[str, str]) -> None:
    said: list[str] = []
    with (
        psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner,
        psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as other,
        connect_node("north", nodes[0]) as north,
        connect_node("north", nodes[0]) as again,
    ):
        owner.execute("SET client_min_messages = debug1")
        owner.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        mover = Mover(
            owner, {"north": north}, {None: other, "north": again.connection},
            definition_of(owner), 60.0,
        )  # fmt: skip

        def part(collection: str | None) -> Part:
            return next(p for p in parts(settings) if (p.low, p.collection) == (0, collection))

        mover.split(part(None), ["wide-field"], "north")  # it becomes a third one
        mover.move(part("wide-field"), None)
        mover.move(part(None), "north")
        mover.move(part(None), None)
        mover.move(part("tomoe"), None)
        mover.move(part("tomoe"), "north")
        mover.move(part("wide-field"), "north")
    assert [text for text in said if text.startswith("verifying")] == []
    assert sum("is implied by existing constraints" in text for text in said) >= 5
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        rebuilt = owner.execute(
            "SELECT count(*), count(DISTINCT indrelid) FROM pg_index JOIN pg_class c "
            "ON c.oid = indrelid WHERE relname LIKE 'observation_ra_000%' AND relkind = 'r'"
        ).fetchone()
    assert rebuilt == (len(definition_of_indexes(settings)), 1)


def definition_of_indexes(settings: Settings) -> tuple[tuple[str, str], ...]:
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        return definition_of(owner).indexes


def test_a_check_finds_and_mends_what_lies_about(
    settings: Settings, nodes: tuple[str, str]
) -> None:
    [leaf] = [p for p in parts(settings) if (p.low, p.collection) == (30, "tomoe")]
    [rest] = [p for p in parts(settings) if (p.low, p.collection) == (120, None)]
    for url, part, name in ((nodes[0], leaf, "tomoe"), (nodes[1], rest, "c")):
        with psycopg.connect(url, autocommit=True) as node:
            node.execute(
                sql.SQL(
                    "INSERT INTO {} (product_id, calib_level, obs_collection, obs_id, "
                    "obs_publisher_did, s_ra, s_dec, position) VALUES "
                    "(987654, 1, {}, 'ghost', 'x', {ra}, 1, spoint(radians({ra}), 0.1))"
                ).format(sql.Identifier("archive", part.partition), name, ra=part.low + 1)
            )
    with psycopg.connect(nodes[0], autocommit=True) as node:
        node.execute("CREATE TABLE archive.observation_ra_270_9 (n integer)")
    problems = check_shards(settings).problems
    assert len(problems) == 3
    assert "observation_ra_270_9 is left from a move that was killed" in problems[0]
    assert f"{leaf.partition}: 1 rows of no open product" in problems[1]
    assert f"{rest.partition}: 1 rows of no open product" in problems[2]
    assert len(check_shards(settings, repair=True).mended) == 3
    assert check_shards(settings).problems == []


def test_indexes_that_a_bulk_load_took_away_are_built_again(
    settings: Settings, nodes: object
) -> None:
    owner = conninfo(settings, Role.OWNER)
    wanted = definition_of_indexes(settings)
    with psycopg.connect(owner) as connection:
        drop_indexes(connection, "archive.observation")
    build_indexes(owner, at_once=2)
    with psycopg.connect(owner) as connection:
        found = connection.execute(
            "SELECT relkind, count(*), bool_and(indisvalid) FROM pg_index "
            "JOIN pg_class c ON c.oid = indrelid WHERE relname LIKE 'observation_ra_%' "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
    divided = 12
    here = sum(part.shard is None for part in parts(settings))
    assert found == [
        ("p", divided * len(wanted), True), ("r", here * len(wanted), True),
    ]  # fmt: skip
    assert {name for name, _ in definition_of_indexes(settings)} == {name for name, _ in wanted}


def test_a_list_tells_where_collections_are(settings: Settings, nodes: object) -> None:
    found, centre = list_shards(settings)
    assert centre.collections == {}
    assert [(s.name, s.ranges, s.problem) for s in found] == [
        ("north", [], None), ("south", [(120.0, 240.0)], None),
    ]  # fmt: skip
    assert found[0].collections["tomoe"] == WHOLE
    assert found[1].collections == {MAPPED: WHOLE}


def test_a_collection_that_is_not_there_is_refused(settings: Settings, nodes: object) -> None:
    with pytest.raises(NotFoundError, match=r"no collection 'tome': expected one of .*c, .*tomoe"):
        place(settings, "north", "tome")
    with pytest.raises(NotFoundError, match="no collection 'mapped'"):
        place(settings, "north", "tomoe", "mapped")  # its rows say otherwise
    with pytest.raises(NotFoundError, match="no shard 'east'"):
        place(settings, "east", "tomoe")


def test_a_copy_of_the_centre_knows_where_everything_is(
    settings: Settings,
    nodes: object,
    reader: psycopg.Connection,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    dump(settings, tmp_path / "dump", jobs=False, progress=lambda _: None)
    copy = settings_at(empty_database_url, tmp_path, partition_bounds=BOUNDS)
    prepare_database(copy)
    load(copy, tmp_path / "dump")
    upgrade(copy)
    assert parts(copy) == parts(settings)
    count = "SELECT count(*), count(DISTINCT obs_id), sum(t_xel) FROM archive.obscore"
    with psycopg.connect(conninfo(copy, Role.READER)) as connection:
        assert connection.execute(count).fetchall() == reader.execute(count).fetchall()


def test_a_range_leaves_placed_collections_and_home_is_a_place(
    settings: Settings, nodes: tuple[str, str], reader: psycopg.Connection
) -> None:
    count = "SELECT count(*), count(DISTINCT obs_id) FROM archive.obscore"
    before = reader.execute(count).fetchone()
    place(settings, "centre", "tomoe")
    assert kept(settings)[None][1]["tomoe"] == WHOLE
    assert move(settings, "north", "0:120") > 0
    assert kept(settings)[None][1]["tomoe"] == WHOLE
    assert "tomoe" not in there(nodes[0])
    assert place(settings, "north", "tomoe", "c") == 24  # a leaf that moves, and one that is made
    assert there(nodes[0])["c"] == rows_of("c")
    assert reader.execute(count).fetchone() == before
    assert check_shards(settings).problems == []
    bring_home(settings, "north")
    bring_home(settings, "south")
    assert kept(settings)[None][0] == WHOLE
    assert set(kept(settings)) == {None}
    assert reader.execute(count).fetchone() == before
