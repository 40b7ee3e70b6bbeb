"""What is closed is nowhere: random queries, paths and identifiers, as nobody and as another.

The twin archive never had the closed rows; whatever is asked, both must answer alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql

from tests.access.archive import CANARIES, CLOSED, OPEN
from tests.access.conftest import People, Twins
from tests.adql.grammar import QUERIES
from tests.people import bearer
from vo_service.adql import translate
from vo_service.db.catalog import read_catalog, read_member_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.stream import render
from vo_service.errors import UsageError
from vo_service.model.table import Catalog
from vo_service.settings import Settings

ADDRESS = {"vo.data_url": "https://h/data/"}


def has_canary(text: str) -> bool:
    return any(canary in text.lower().replace(".", "") for canary in CANARIES)


class Asked:
    """An archive as one who asks sees it."""

    def __init__(self, settings: Settings, role: Role, person: str) -> None:
        read = read_member_catalog if role is Role.MEMBER else read_catalog
        with engine(settings, role).connect() as connection:
            self.catalog: Catalog = read(connection)
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            conninfo(settings, role, statement_timeout="2s", **ADDRESS), autocommit=True
        )
        self.connection.execute("SELECT set_config('vo.person', %s, false)", (person,))

    def answer(self, query: str, how: str = "") -> tuple[str, list[Any]]:
        """How it went, and the rows or what was said, without the text of the query."""
        statement = render(translate(query, self.catalog, limit=100).select)
        try:
            return "rows", self.connection.execute(f"{how}{statement}".encode()).fetchall()
        except psycopg.Error as error:
            return error.sqlstate or "", [error.diag.message_primary]


@pytest.fixture(scope="module")
def nobody(twins: Twins) -> Iterator[tuple[Asked, Asked]]:
    pair = (
        Asked(twins.with_closed, Role.READER, ""),
        Asked(twins.without, Role.READER, ""),
    )
    yield pair
    for asked in pair:
        asked.connection.close()


@pytest.fixture(scope="module")
def mallory(twins: Twins, people: People) -> Iterator[Asked]:
    asked = Asked(twins.with_closed, Role.MEMBER, "mallory")
    yield asked
    asked.connection.close()


def test_the_canaries_are_really_there_for_who_may_see_them(twins: Twins, people: People) -> None:
    alice = Asked(twins.with_closed, Role.MEMBER, "alice")
    state, rows = alice.answer("SELECT obs_id FROM ivoa.obscore WHERE s_xel1 = 7654321")
    assert (state, sorted(rows)) == ("rows", [("canary-0",), ("canary-1",), ("canary-2",)])
    with psycopg.connect(conninfo(twins.with_closed, Role.OWNER)) as owner:
        counted = owner.execute("SELECT count(*) FROM archive.observation_closed").fetchone()
    assert counted == (len(CLOSED) + 1,)
    alice.connection.close()


@hypothesis_settings(
    max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.data_too_large],
)  # fmt: skip
@given(query=QUERIES)
@example(query="SELECT COUNT(*) FROM ivoa.obscore AS o")
@example(query="SELECT MAX(t_min), SUM(s_xel1) FROM ivoa.obscore AS o")
@example(query="SELECT o.obs_id FROM ivoa.obscore AS o ORDER BY o.t_min DESC")
@example(query="SELECT 1 / (o.calib_level - 3) AS v FROM ivoa.obscore AS o")
@example(query="SELECT CAST(o.obs_id AS INTEGER) FROM ivoa.obscore AS o WHERE o.obs_id > 'b'")
@example(query="SELECT o.obs_id FROM ivoa.obscore AS o WHERE SQRT(7654320 - o.t_min) > 0")
@example(query="SELECT o.obs_id FROM ivoa.obscore AS o "
               "WHERE 1=INTERSECTS(CIRCLE(13.5, 23.5, 0.1), o.s_region)")  # fmt: skip
@example(query="SELECT * FROM tap_schema.columns")
def test_a_random_query_is_answered_as_if_nothing_were_closed(
    nobody: tuple[Asked, Asked], mallory: Asked, query: str
) -> None:
    try:
        answers = [asked.answer(query) for asked in (*nobody, mallory)]
    except UsageError:  # found wrong before any row is looked at
        event("refused")
        return
    state, rows = answers[0]
    event(state)
    if state == "57014":  # took too long: says nothing of rows
        return
    assert not has_canary(repr(rows))
    # The union that known people read may give rows in another order.
    assert not has_canary(repr(answers[2][1]))
    if "ivo_normal_random" in query or "RAND()" in query:
        return
    assert repr(answers[1]) == repr(answers[0])
    if "TOP" not in query and "OFFSET" not in query and answers[2][0] == state == "rows":
        assert len(answers[2][1]) == len(rows)


@hypothesis_settings(
    max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.data_too_large],
)  # fmt: skip
@given(query=QUERIES)
@example(query="SELECT o.obs_id FROM ivoa.obscore AS o WHERE o.t_min > 100000")
def test_what_the_planner_expects_is_as_if_nothing_were_closed(
    nobody: tuple[Asked, Asked], query: str
) -> None:
    try:
        plans = [asked.answer(query, "EXPLAIN (FORMAT JSON) ") for asked in nobody]
    except UsageError:
        return
    assert not has_canary(repr(plans[0])) or "7654321" in query
    assert repr(plans[0]) == repr(plans[1])


_HIDDEN = [f"secret/{path}" for path in CLOSED] + ["open/canary-gone.fits"]
_paths = st.one_of(
    st.sampled_from(_HIDDEN),
    st.builds(
        lambda path, cut, more: path[: len(path) - cut] + more,
        st.sampled_from(_HIDDEN),
        st.integers(0, 20),
        st.text("canry-0123.fits/%2e?&;", max_size=12),
    ),
    st.sampled_from([f"{collection}/{path}" for collection, path in OPEN]),
)
_HEADERS: list[dict[str, str]] = [
    {}, {"Range": "bytes=0-10"}, {"If-None-Match": "*"}, {"If-Match": '"x"'},
    {"If-Modified-Since": "Sat, 21 Nov 2026 12:00:00 GMT"},
]  # fmt: skip


#: Headers that no two answers have alike.
UNLIKE = ("date", "content-length", "x-request-id")


def said(response: httpx.Response, path: str) -> tuple[Any, ...]:
    """What an answer tells, but for the time, its number and the path that was asked for."""
    head = {k: v for k, v in response.headers.items() if k not in UNLIKE}
    return response.status_code, head, response.text.replace(path, "PATH")


@pytest.fixture(scope="module")
def http(served: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served, timeout=30) as client:
        yield client


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=_paths,
    method=st.sampled_from(["GET", "HEAD"]),
    headers=st.sampled_from(_HEADERS),
    known=st.booleans(),
)
def test_a_random_path_gives_what_a_file_gives_that_never_was(
    http: httpx.Client, people: People, path: str, method: str, headers: dict[str, str], known: bool
) -> None:
    sent = headers | (bearer(people.mallory) if known else {})
    response = http.request(method, f"/data/{path}", headers=sent)
    asked = path.partition("?")[0]
    if asked not in {f"{collection}/{name}" for collection, name in OPEN}:
        assert response.status_code == 404
    if asked in _HIDDEN:
        never = "never/was.fits"
        other = http.request(method, f"/data/{never}", headers=sent)
        assert said(response, asked) == said(other, never)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("service", ["/datalink/links", "/soda/sync", "/bundles/sync"])
def test_no_service_knows_of_anything_that_is_closed(
    http: httpx.Client, people: People, service: str, known: bool
) -> None:
    ids = [f"ivo://x/{path.replace('/', '?', 1)}" for path in [*_HIDDEN, "never/was.fits"]]
    headers = bearer(people.mallory) if known else {}
    answers = set()
    for identifier in ids:
        response = http.get(service, params={"ID": identifier}, headers=headers)
        assert response.status_code == (200 if service == "/datalink/links" else 404)
        answers.add(response.text.replace(identifier, "ID"))
    assert len(answers) == 1
    assert "nothing here has this" in answers.pop().replace("the identifier", "this identifier")


def plan_of(settings: Settings, path: str) -> Any:
    """What PostgreSQL does for a question about a file, without names and times."""
    collection, _, name = path.partition("/")
    with psycopg.connect(conninfo(settings, Role.DOOR)) as door:
        door.execute("SELECT set_config('vo.person', '', true)")
        question = sql.SQL(
            "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT * FROM "
            "archive.standing WHERE collection = {} AND path = {}"
        ).format(collection, name)
        [(plan,)] = door.execute(question).fetchall()
    text = json.dumps(plan)
    return text.replace(name, "NAME").replace(collection, "COLLECTION")


def test_a_closed_file_takes_the_same_steps_as_one_that_never_was(twins: Twins) -> None:
    settings = twins.with_closed
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        # As in an archive of some size, where indexes are worth their while.
        admin.execute(
            "INSERT INTO archive.product (collection, path, did, size, modified, media_type, "
            "headers, state) SELECT 'open', 'many/' || n, 'ivo://x/many?' || n, 0, now(), 'x', "
            "'[]', 'public' FROM generate_series(1, 5000) n"
        )
        try:
            admin.execute("ANALYZE archive.product")
            closed = plan_of(settings, "secret/canary-0.fits")
            never = plan_of(settings, "secret/never-was.fits")
        finally:
            admin.execute("DELETE FROM archive.product WHERE path LIKE 'many/%'")
            admin.execute("ANALYZE archive.product")
    assert closed == never
    assert "product_open" in closed
    assert '"Actual Loops": 0' in closed  # the branch of closed products is never entered
