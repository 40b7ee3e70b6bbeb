"""Rows on the right side, roles that reach no further than they must, plans with indexes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.access.archive import frame
from tests.jobs.archive import populate
from tests.support import settings_at
from vo_service.adql import translate
from vo_service.db.catalog import read_catalog, read_member_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.frames import FrameStore
from vo_service.db.people import Membership, PeopleStore
from vo_service.db.schema import upgrade
from vo_service.db.stream import render
from vo_service.db.visibility import misplaced, place_rows
from vo_service.errors import UsageError
from vo_service.model.published import PUBLISHED
from vo_service.model.region import Circle
from vo_service.settings import Settings

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_at(database_url, tmp_path_factory.mktemp("home"))
    upgrade(made)
    return made


@pytest.fixture
def writer(settings: Settings) -> Iterator[Connection]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        for table in ("observation", "observation_closed", "product"):
            connection.execute(f"DELETE FROM archive.{table}".encode())
        connection.execute("UPDATE archive.closed_reach SET reach = 0")
        connection.execute("UPDATE archive.published SET reach = 0")
        connection.execute("DELETE FROM archive.person")
        yield connection


def define(writer: Connection, metadata: str, withdrawn: str) -> FrameStore:
    store = FrameStore(writer)
    store.register("c", "C", "", f'{{"metadata": "{metadata}", "withdrawn": "{withdrawn}"}}')
    return store


def sides(writer: Connection) -> tuple[list[Any], list[Any]]:
    """Open rows, and closed ones with their proposal."""
    return (
        writer.execute("SELECT obs_id FROM archive.observation ORDER BY 1").fetchall(),
        writer.execute(
            "SELECT obs_id, proposal_id FROM archive.observation_closed ORDER BY 1"
        ).fetchall(),
    )


@pytest.mark.parametrize(
    ("metadata", "withdrawn", "state", "closed"),
    [
        ("open", "keep", "arrived", False), ("open", "keep", "public", False),
        ("open", "keep", "withdrawn", False), ("open", "keep", "expired", False),
        ("open", "hide", "arrived", False), ("open", "hide", "public", False),
        ("open", "hide", "withdrawn", True), ("open", "hide", "expired", False),
        ("closed", "keep", "arrived", True), ("closed", "keep", "public", False),
        ("closed", "keep", "withdrawn", True), ("closed", "keep", "expired", True),
        ("closed", "hide", "withdrawn", True),
    ],
)  # fmt: skip
def test_state_and_collection_say_on_which_side_a_row_is(
    writer: Connection, tmp_path: Path, metadata: str, withdrawn: str, state: str, closed: bool
) -> None:
    store = define(writer, metadata, withdrawn)
    store.store([frame(tmp_path, "c", "a.fits", proposal="p", s_ra=1.0, s_dec=2.0)])
    [(number,)] = writer.execute("SELECT product_id FROM archive.product").fetchall()
    for _ in range(2):  # again changes nothing
        writer.execute("UPDATE archive.product SET state = %s", (state,))
        place_rows(writer, [number])
        opened, hidden = sides(writer)
        assert opened == ([] if closed else [("a.fits",)])
        readers = "p" if state == "arrived" else None
        assert hidden == ([("a.fits", readers)] if closed else [])
        rows = writer.execute("SELECT closed FROM archive.product").fetchall()
        assert rows == [(closed,)]
        assert misplaced(writer) == []
    writer.execute("UPDATE archive.product SET closed = NOT closed")
    assert misplaced(writer) == [("c", "a.fits")]


def test_what_was_public_until_its_lifetime_was_over_stays_known(
    writer: Connection, tmp_path: Path
) -> None:
    define(writer, "closed", "hide").store([frame(tmp_path, "c", "a.fits", proposal="p")])
    [(number,)] = writer.execute("SELECT product_id FROM archive.product").fetchall()
    writer.execute("UPDATE archive.product SET state = 'expired', released = now()")
    place_rows(writer, [number])
    assert sides(writer) == ([("a.fits",)], [])


_STATES = st.sampled_from(["arrived", "public", "withdrawn", "expired"])


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.lists(_STATES, min_size=3, max_size=3),
            st.sampled_from(["open", "closed"]),
            st.sampled_from(["hide", "keep"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_row_is_lost_or_doubled_however_states_and_definitions_change(
    writer: Connection, tmp_path: Path, steps: list[tuple[list[str], str, str]]
) -> None:
    for table in ("observation", "observation_closed", "product"):
        writer.execute(f"DELETE FROM archive.{table}".encode())
    names = ["a.fits", "b.fits", "c.fits"]
    store = define(writer, "open", "keep")
    store.store([frame(tmp_path, "c", n, proposal="p", s_ra=5.0, s_dec=1.0) for n in names])
    ids = [n for (n,) in writer.execute("SELECT product_id FROM archive.product ORDER BY path")]
    before = writer.execute("SELECT * FROM archive.observation ORDER BY obs_id").fetchall()
    for states, metadata, withdrawn in steps:
        with writer.transaction():
            for number, state in zip(ids, states, strict=True):
                writer.execute(
                    "UPDATE archive.product SET state = %s WHERE product_id = %s", (state, number)
                )
            place_rows(writer, ids)
        define(writer, metadata, withdrawn)  # rows follow a new definition by themselves
        opened, hidden = sides(writer)
        assert sorted([*opened, *((name,) for name, _ in hidden)]) == [(n,) for n in names]
        closed = {
            name
            for name, state in zip(names, states, strict=True)
            if (metadata == "closed" and state != "public")
            or (withdrawn == "hide" and state == "withdrawn")
        }
        assert {name for name, _ in hidden} == closed
    define(writer, "open", "keep")
    assert writer.execute("SELECT * FROM archive.observation ORDER BY obs_id").fetchall() == before


@pytest.mark.parametrize("first", ["state", "definition"])
def test_a_state_and_a_definition_that_change_at_once_leave_no_row_open(
    settings: Settings, writer: Connection, tmp_path: Path, first: str
) -> None:
    define(writer, "open", "hide").store([frame(tmp_path, "c", "a.fits", proposal="p")])
    [(number,)] = writer.execute("SELECT product_id FROM archive.product").fetchall()
    writer.execute("UPDATE archive.product SET state = 'public'")

    def change_state(connection: Connection) -> None:
        with connection.transaction():
            connection.execute("UPDATE archive.product SET state = 'arrived'")
            place_rows(connection, [number])

    def change_definition(connection: Connection) -> None:
        define(connection, "closed", "hide")

    steps = [change_state, change_definition]
    begins, follows = steps if first == "state" else reversed(steps)
    with (
        psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        with writer.transaction():
            begins(writer)
            later = thread.submit(follows, other)
            with pytest.raises(TimeoutError):
                later.result(0.5)  # it waits for us
        later.result(10)
    assert sides(writer) == ([], [("a.fits", "p")])


def test_a_new_version_of_a_closed_frame_takes_the_place_of_the_old_one(
    writer: Connection, tmp_path: Path
) -> None:
    store = define(writer, "closed", "hide")
    store.store([frame(tmp_path, "c", "a.fits", proposal="p", target_name="old")])
    store.store([frame(tmp_path, "c", "a.fits", proposal="q", target_name="new")])
    assert sides(writer) == ([], [("a.fits", "q")])


def test_the_width_of_a_closed_footprint_is_told_when_it_opens(
    settings: Settings, writer: Connection, tmp_path: Path
) -> None:
    store = define(writer, "closed", "hide")
    store.store(
        [frame(tmp_path, "c", "a.fits", proposal="p", s_ra=5.0, s_dec=1.0, s_fov=8.0,
               region=Circle(5.0, 1.0, 4.0))]
    )  # fmt: skip

    def reaches() -> list[float]:
        found = []
        for role, read in ((Role.READER, read_catalog), (Role.MEMBER, read_member_catalog)):
            with engine(settings, role).connect() as connection:
                [table] = [t for t in read(connection).tables if t.name == "ivoa.obscore"]
            assert table.position is not None
            found.append(table.position.reach)
        return found

    assert reaches() == [0.0, pytest.approx(4.012)]
    writer.execute("UPDATE archive.product SET state = 'public'")
    [(number,)] = writer.execute("SELECT product_id FROM archive.product").fetchall()
    place_rows(writer, [number])
    assert reaches() == [pytest.approx(4.012)] * 2


def reachable(settings: Settings, role: Role) -> set[str]:
    """Every relation outside PostgreSQL's own schemas of which a role may read anything."""
    with psycopg.connect(settings.database_url or "") as admin:
        rows = admin.execute(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') "
            "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_any_column_privilege(%s, c.oid, "
            "'SELECT, INSERT, UPDATE') OR c.relkind = 'S' AND has_sequence_privilege(%s, c.oid, "
            "'USAGE, SELECT, UPDATE')",
            (role, role),
        )
        return {name for (name,) in rows}


def test_the_reader_reaches_published_tables_and_nothing_else(settings: Settings) -> None:
    published = {table.relation for table in PUBLISHED.tables}
    assert reachable(settings, Role.READER) == {*published, "archive.published", "ivoa.obscore"}
    assert reachable(settings, Role.MEMBER) == {
        *published, "archive.published", "archive.obscore_member", "archive.closed_reach",
        "archive.everything_member",
    }  # fmt: skip


def test_the_reader_may_call_no_function_of_ours_that_knows_more(settings: Settings) -> None:
    with psycopg.connect(settings.database_url or "") as admin:
        rows = admin.execute(
            "SELECT p.oid::regproc::text, p.prosecdef FROM pg_proc p "
            "JOIN pg_namespace n ON n.oid = p.pronamespace "
            "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'public') "
            "AND has_schema_privilege('vo_reader', n.oid, 'USAGE') "
            "AND has_function_privilege('vo_reader', p.oid, 'EXECUTE')"
        ).fetchall()
    assert [name for name, definer in rows if definer] == []
    # What an identifier becomes in an address, what a path begins with, and the constructors of a
    # range type, which PostgreSQL lets nobody take away: of their arguments.
    assert {name for name, _ in rows} <= {
        "archive.quoted", "archive.percent_encoded", "archive.frame_name", "archive.frames",
        "archive.frames_multirange",
    }  # fmt: skip


@pytest.mark.parametrize("role", [Role.READER, Role.MEMBER])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM archive.observation_closed", "SELECT * FROM archive.observation_mine",
        "SELECT * FROM archive.mine", "SELECT * FROM archive.membership",
        "SELECT * FROM archive.person", "SELECT * FROM archive.token",
        "SELECT * FROM archive.known_product", "SELECT * FROM archive.standing",
        "SELECT * FROM archive.link", "SELECT * FROM archive.product",
        "SELECT * FROM archive.observation", "SELECT * FROM uws.job",
    ],
)  # fmt: skip
def test_queries_from_outside_reach_neither_people_nor_what_is_behind_the_views(
    settings: Settings, role: Role, statement: str
) -> None:
    with (
        psycopg.connect(conninfo(settings, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "call",
    ["set_config('vo.person', 'alice', false)", "current_setting('vo.person')",
     "pg_read_file('x')", "archive.is_closed('a', NULL, '{}')", "query_to_xml('x', true)"],
)  # fmt: skip
def test_a_query_cannot_say_for_whom_it_asks(call: str) -> None:
    with pytest.raises(UsageError):
        translate(f"SELECT {call} FROM ivoa.obscore", PUBLISHED, limit=1)


@pytest.mark.parametrize("role", [Role.READER, Role.MEMBER])
def test_a_cone_is_looked_up_in_the_indexes_of_few_partitions(
    settings: Settings, writer: Connection, tmp_path: Path, role: Role
) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        populate(admin)
    store = define(writer, "closed", "hide")
    store.store(
        [frame(tmp_path, "c", f"{n}.fits", proposal=f"p{n % 50}", s_ra=n / 2, s_dec=1.0)
         for n in range(500)]
    )  # fmt: skip
    people = PeopleStore(writer)
    people.add("alice", None)
    people.grant("alice", Membership("p7", None, None, None))
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute("ANALYZE")
    read = read_member_catalog if role is Role.MEMBER else read_catalog
    with engine(settings, role).connect() as connection:
        catalog = read(connection)
    query = (
        "SELECT obs_id FROM ivoa.obscore "
        "WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(103.5, 1, 0.3))"
    )
    statement = render(translate(query, catalog, limit=100).select)
    with psycopg.connect(conninfo(settings, role)) as asked:
        asked.execute("SELECT set_config('vo.person', 'alice', true)")
        lines = asked.execute(f"EXPLAIN {statement}".encode()).fetchall()
        rows = asked.execute(statement.encode()).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "observation_ra_100_position_idx" in plan
    assert "observation_ra_110" not in plan
    assert "Seq Scan on observation" not in plan
    assert (("207.fits",) in rows) is (role is Role.MEMBER)  # 207 / 2 is 103.5; 207 is of p7
    assert ("observation_closed" in plan) is (role is Role.MEMBER)
