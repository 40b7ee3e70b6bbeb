"""What is translated with parts of a query before is what a fresh translation would be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import anyio
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.adql.grammar import CONDITIONS
from vo_service.adql import Statement, Translation, build, translate
from vo_service.adql.literals import written
from vo_service.adql.nodes import Node
from vo_service.adql.outline import where_of
from vo_service.adql.parse import parse
from vo_service.errors import UsageError
from vo_service.model.published import OBSCORE_TABLE
from vo_service.model.region import Circle, Point, Polygon
from vo_service.model.table import Catalog, Schema
from vo_service.services import prepared
from vo_service.services.prepared import Prepared, PreparedQueries, prepare

CATALOG = Catalog(schemas=(Schema(name="ivoa", tables=(OBSCORE_TABLE,)),))

#: Both sides of every bound that translation looks at: 0h, poles, hemispheres, sizes of integers.
NUMBERS = (
    *("0", "1", "0.25", "1e-9", "5.", ".5", "45", "89.99", "90", "91", "179.9", "180", "181"),
    *("359.9999", "360", "361", "2147483648", "9223372036854775808", "1e300", "1e400", "29", "30"),
)
STRINGS = ("''", "'ICRS'", "'GALACTIC'", "'image'", "'it''s'", "'4/30-33'", "'rad'", "'x%y'", "'é'")

#: What surrounds a condition.
FRAMES = (
    "SELECT o.obs_id FROM ivoa.obscore AS o WHERE {}",
    "SELECT TOP 7 * FROM ivoa.obscore o WHERE {} ORDER BY 3 DESC",
    "SELECT o.obs_collection, COUNT(*), 'it''s', 12 FROM ivoa.obscore AS o WHERE {} "
    "GROUP BY o.obs_collection HAVING COUNT(*) > 5 ORDER BY 2 OFFSET 10",
    '-- it\'s 1 of 2\nSELECT DISTINCT o."s_ra",\n o.s_region FROM ivoa.obscore AS o WHERE\n {}',
)


def made(query: str, queries: PreparedQueries | None = None) -> Prepared | str:
    """A query prepared, afresh or by *queries*; or what is wrong with it."""

    async def by_queries() -> Prepared:
        assert queries is not None
        return await queries.get(query, CATALOG, 1001)

    try:
        return anyio.run(by_queries) if queries else prepare(query, CATALOG, 1001)
    except UsageError as error:
        return str(error)


def with_values(query: str, numbers: Sequence[str], strings: Sequence[str]) -> str:
    """*query* with other literals, in turn."""
    parts = written(query)
    assert parts is not None
    other = {"\1": cycle(strings), "\2": cycle(numbers)}
    return "".join(next(other[word]) if word in other else word for word in parts.words)


@settings(
    max_examples=200, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(
    frame=st.sampled_from(FRAMES),
    condition=CONDITIONS.map(lambda text: text.replace("p.", "o.")),
    values=st.lists(
        st.tuples(
            st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=9),
            st.lists(st.sampled_from(STRINGS), min_size=1, max_size=5),
        ),
        min_size=2, max_size=3,
    ),
)  # fmt: skip
def test_other_values_make_the_same_sql_as_a_fresh_translation(
    frame: str, condition: str, values: list[tuple[list[str], list[str]]]
) -> None:
    queries = PreparedQueries()
    first = frame.format(condition)
    texts = [first, *(frame.format(with_values(condition, *some)) for some in values)]
    for text in texts:
        fresh = made(text)
        event("refused" if isinstance(fresh, str) else "translated")
        assert made(text, queries) == fresh


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The queries that were translated as a whole."""
    seen: list[object] = []

    def noted(query: str | Statement, catalog: Catalog, limit: int) -> Translation:
        seen.append(query)
        return translate(query, catalog, limit)

    monkeypatch.setattr(prepared, "translate", noted)
    return seen


def cone(ra: float, dec: float, radius: float) -> str:
    circle = f"CIRCLE('ICRS', {ra}, {dec}, {radius})"
    return f"SELECT TOP 9 obs_id FROM ivoa.obscore WHERE 1=CONTAINS(POINT(s_ra, s_dec), {circle})"


def test_of_many_cones_one_is_translated_as_a_whole(translated: list[object]) -> None:
    queries = PreparedQueries()
    sql = [made(cone(ra, 10.0, 0.25), queries) for ra in (10.0, 359.9, 120.0, 0.1)]
    assert len(translated) == 1
    assert sql == [made(cone(ra, 10.0, 0.25)) for ra in (10.0, 359.9, 120.0, 0.1)]


def test_bounds_of_right_ascension_are_those_of_each_cone() -> None:
    """The half width of a cone of 1 deg at 60 deg is asin(sin 1 / cos 60) = 2.0003 deg."""
    queries = PreparedQueries()
    made(cone(10.0, 0.0, 1.0), queries)
    plain, across, pole = (
        str(made(cone(ra, dec, 1.0), queries)) for ra, dec in ((100, 60), (1, 60), (1, 89.5))
    )
    assert "BETWEEN 97.999" in plain
    assert "AND 102.0003" in plain
    assert "BETWEEN 0.0 AND 3.0003" in across
    assert ">= 358.999" in across
    assert "BETWEEN" not in pole


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("TOP 9 obs_id", "TOP 8 obs_id"),
        ("obs_id, 1", "obs_id, 2"),
        ("CAST(obs_id AS VARCHAR(5)) AS x", "CAST(obs_id AS VARCHAR(6)) AS x"),
        ("obs_id || 'a' AS x", "obs_id || 'b' AS x"),
    ],
)
def test_values_outside_of_where_make_another_query(
    first: str, second: str, translated: list[object]
) -> None:
    queries = PreparedQueries()
    texts = [f"SELECT {items} FROM ivoa.obscore WHERE s_ra < 5" for items in (first, second)]
    assert [made(text, queries) for text in texts] == [made(text) for text in texts]
    assert len(translated) == 4


def test_a_mistake_is_told_with_its_place_in_the_text_that_has_it() -> None:
    queries = PreparedQueries()
    made(cone(10.0, 20.0, 0.25), queries)
    said = made(cone(10.123456, 95.0, 0.25), queries)
    assert said == made(cone(10.123456, 95.0, 0.25))
    assert "latitude 95 is outside of -90..90" in str(said)


def test_literals_are_what_the_parser_takes_for_them() -> None:
    parts = written("SELECT a1, \"b'2\" -- 3 'c'\nFROM t.x4 WHERE y>.5e-3 AND z = 'it''s' AND u=7.")
    assert parts is not None
    assert parts.literals == (".5e-3", "'it''s'", "7.")
    assert parts.words == "SELECT a1, \"b'2\" -- 3 'c'\nFROM t.x4 WHERE y>\2 AND z = \1 AND u=\2"


@pytest.mark.parametrize("text", ["SELECT '\0'", "SELECT \1", "SELECT 1 \2", "SELECT '\ud800'"])
def test_a_text_with_a_character_that_none_may_have_is_left_to_the_parser(text: str) -> None:
    assert written(text) is None


@pytest.mark.parametrize(
    "query",
    [
        "SELECT s_ra FROM ivoa.obscore",
        "SELECT a.s_ra FROM ivoa.obscore AS a, ivoa.obscore AS b WHERE a.s_ra < 1",
        "SELECT s_ra FROM (SELECT s_ra FROM ivoa.obscore) AS a WHERE s_ra < 1",
        "WITH a AS (SELECT s_ra FROM ivoa.obscore) SELECT * FROM a WHERE s_ra < 1",
        "SELECT s_ra FROM ivoa.obscore WHERE s_ra < 1 UNION SELECT s_ra FROM ivoa.obscore",
    ],
)
def test_only_a_query_of_one_table_is_taken_apart(query: str) -> None:
    assert where_of(parse(query)) is None


def test_a_where_with_a_subquery_is_translated_with_all_of_its_query(
    translated: list[object],
) -> None:
    queries = PreparedQueries()
    inner = "SELECT obs_id FROM ivoa.obscore WHERE s_ra < {}"
    for number in (1, 2, 3):
        text = f"SELECT s_ra FROM ivoa.obscore WHERE obs_id IN ({inner.format(number)})"
        assert made(text, queries) == made(text)
    assert len(translated) == 6


@pytest.mark.parametrize(
    "condition",
    [
        build.intersects(build.column("s_region"), build.region(Circle(10.0, 20.0, 0.5))),
        build.contains(
            build.point(build.column("s_ra"), build.column("s_dec")),
            build.region(Polygon((Point(1.0, 1.0), Point(3.0, 1.0), Point(2.0, 3.0)))),
        ),
        build.any_of(
            [build.at_least(build.column("t_min"), 5.0), build.at_most(build.number(-1), 2)]
        ),
        build.one_of(build.lower(build.column("obs_id")), [build.text("a%"), build.text("it's")]),
    ],
)
def test_the_tree_of_another_protocol_makes_the_same_sql(
    condition: Node, translated: list[object]
) -> None:
    queries = PreparedQueries()
    items = [build.selected("s_ra"), build.item(build.column("obs_id"), "name")]
    first = build.find("ivoa.obscore", build.known(build.column("s_ra")), items)
    tree = build.find("ivoa.obscore", condition, items)

    async def by_queries() -> list[Prepared]:
        return [await queries.get(one, CATALOG, 11) for one in (first, tree)]

    found = anyio.run(by_queries)
    assert not translated
    assert found == [prepare(one, CATALOG, 11) for one in (first, tree)]
