"""What a query may not say: each mistake has its place, and says what was expected."""
# ruff: noqa: E501, PT017 - a query reads best on one line

from __future__ import annotations

import time

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.adql.sky import CATALOG, Sky
from vo_service.adql import FEATURES, translate
from vo_service.adql.functions import FUNCTIONS
from vo_service.adql.parse import MAX_DEPTH
from vo_service.adql.udf import USER_FUNCTIONS
from vo_service.adql.words import FUNCTION_WORDS, RESERVED
from vo_service.db.stream import render
from vo_service.errors import QueryError, UsageError

#: Query, line, column, and words of the message.
MISTAKES: list[tuple[str, int, int, str]] = [
    ("", 1, 1, "ends too early, expected"),
    ("SELECT", 1, 7, "expected an expression"),
    ("SELECT band", 1, 12, "expected"),
    ("SELECT band FROM", 1, 17, "expected a name"),
    ("SELECT band FROM test.bands WHERE", 1, 34, "expected a condition"),
    ("SELECT band\nFROM test.bands\n  WHERE band = = 'B'", 3, 16, "found =, expected an expression"),
    ("SELECT band, FROM test.bands", 1, 14, "found FROM, expected an expression"),
    ("SELECT band FROM test.bands LIMIT 5", 1, 35, "found 5, expected"),
    ("SELECT band, * FROM test.bands", 1, 14, "found *"),
    ("SELECT 1", 1, 9, "FROM"),
    ("SELECT TOP -1 band FROM test.bands", 1, 12, "found -, expected a number"),
    ("SELECT TOP 1.5 band FROM test.bands", 1, 12, "whole number of rows"),
    ("SELECT TOP 99999999999999999999 band FROM test.bands", 1, 12, "whole number of rows"),
    ("SELECT band FROM test.bands OFFSET 1e3", 1, 36, "whole number of rows"),
    ("SELECT TOP 3 DISTINCT band FROM test.bands", 1, 14, "found DISTINCT"),
    ("SELECT size FROM tap_schema.columns", 1, 8, '"size"'),
    ("SELECT distance FROM test.bands", 1, 17, '"distance"'),
    ("SELECT band AS date FROM test.bands", 1, 16, '"date"'),
    ("SELECT _band FROM test.bands", 1, 8, "starts with a letter"),
    ("SELECT 1band FROM test.bands", 1, 8, "followed by a letter"),
    ("SELECT 'band FROM test.bands", 1, 8, "not closed"),
    ('SELECT "band FROM test.bands', 1, 8, "not closed"),
    ('SELECT "" FROM test.bands', 1, 8, "empty"),
    ("SELECT bánd FROM test.bands", 1, 9, "á has no meaning"),
    ("SELECT 'a\0b' FROM test.bands", 1, 10, "U+0000"),
    ("SELECT band /* x */ FROM test.bands", 1, 14, "expected an expression"),
    ("SELECT band FROM test.bands; DROP TABLE x", 1, 30, "expected the end"),
    ("DELETE FROM test.bands", 1, 1, "expected"),
    ("SELECT 5 % 2 FROM test.bands", 1, 10, "% has no meaning"),
    ("SELECT CASE WHEN 1 = 1 THEN 2 END FROM test.bands", 1, 8, "found CASE"),
    ("SELECT a.band FROM test.bands a CROSS JOIN test.stars", 1, 33, "found CROSS"),
    ("SELECT band FROM test.bands JOIN test.stars", 1, 29, "expected ON or USING"),
    ("SELECT band FROM (SELECT band FROM test.bands)", 1, 47, "expected"),
    ("SELECT band FROM test.bands WHERE band = (SELECT band FROM test.stars)", 1, 43, "found SELECT"),
    ("SELECT band FROM test.bands WHERE band LIKE 'a' ESCAPE '!'", 1, 49, "found ESCAPE"),
    ("SELECT band FROM test.bands WHERE band", 1, 35, "expected a condition, found a value"),
    ("SELECT ra FROM test.frames WHERE CONTAINS(POINT(ra, dec), CIRCLE(1, 2, 3))", 1, 34, "1 = x"),
    ("SELECT (1 = 1) FROM test.bands", 1, 9, "expected a value, found a condition"),
    ("SELECT ra_ FROM test.frames", 1, 8, "no column ra_ in test.frames; did you mean ra?"),
    ("SELECT f.deck FROM test.frames AS f", 1, 10, "no column deck in f; did you mean dec?"),
    ("SELECT frames.ra FROM test.frames AS f", 1, 8, "no table frames"),
    ("SELECT g.* FROM test.frames AS f", 1, 8, "no table g"),
    ("SELECT secret FROM test.frames", 1, 8, "no column secret"),
    ("SELECT place FROM test.frames", 1, 8, "no column place"),
    ("SELECT ctid FROM test.frames", 1, 8, "no column ctid"),
    ("SELECT shape FROM test.frames", 1, 8, "no column shape"),
    ('SELECT "outline shape" FROM (SELECT outline FROM test.frames) AS q', 1, 8, "no column"),
    ('SELECT "Band" FROM test.bands', 1, 8, 'no column "Band" in test.bands; did you mean band?'),
    ("SELECT mixed FROM test.bands", 1, 8, 'did you mean "Mixed Case"?'),
    ("SELECT a FROM frames", 1, 15, "no table frames; did you mean test.frames?"),
    ("SELECT a FROM test.frame", 1, 15, "did you mean test.frames?"),
    ("SELECT a FROM inner_schema.stars", 1, 15, "no table inner_schema.stars"),
    ("SELECT a FROM pg_catalog.pg_user", 1, 15, "no table"),
    ("SELECT relname FROM pg_class", 1, 21, "no table"),
    ("SELECT pg_sleep(9) FROM test.bands", 1, 8, "no function PG_SLEEP"),
    ("SELECT SIM(1) FROM test.bands", 1, 8, "did you mean SIN?"),
    ("SELECT band FROM test.bands, test.stars", 1, 8, "ambiguous"),
    ("SELECT a.band FROM test.bands AS a, test.stars AS A", 1, 20, "two tables are called"),
    ("SELECT 1 FROM test.bands, test.bands", 1, 15, "two tables are called"),
    ("WITH x AS (SELECT band FROM test.bands), X AS (SELECT band FROM test.bands) SELECT * FROM x", 1, 42, "two tables of WITH"),
    ("WITH x AS (SELECT * FROM y), y AS (SELECT band FROM test.bands) SELECT * FROM x", 1, 26, "no table y"),
    ("SELECT * FROM (WITH x AS (SELECT 1 FROM test.bands) SELECT * FROM x) AS y", 1, 16, "found WITH"),
    ("SELECT id, band FROM test.stars GROUP BY band", 1, 8, "expected id in GROUP BY"),
    ("SELECT id, COUNT(*) FROM test.stars", 1, 8, "expected id in GROUP BY"),
    ("SELECT * FROM test.stars GROUP BY band", 1, 8, "* cannot stand"),
    ("SELECT band FROM test.stars GROUP BY band HAVING id > 1", 1, 50, "expected id in GROUP BY"),
    ("SELECT band FROM test.stars GROUP BY band ORDER BY id", 1, 52, "expected id in GROUP BY"),
    ("SELECT band FROM test.stars WHERE COUNT(*) > 1", 1, 35, "COUNT cannot stand in WHERE"),
    ("SELECT MAX(MIN(id)) FROM test.stars", 1, 12, "MIN cannot stand in the argument of MAX"),
    ("SELECT SUM(*) FROM test.stars", 1, 12, "found *"),
    ("SELECT SUM(band) FROM test.stars", 1, 8, "expected a number, found a string"),
    ("SELECT band FROM test.bands ORDER BY 2", 1, 38, "position of 1 to 1"),
    ("SELECT band FROM test.bands ORDER BY 0", 1, 38, "position of 1 to 1"),
    ("SELECT DISTINCT band FROM test.bands ORDER BY wavelength", 1, 47, "SELECT DISTINCT"),
    ("SELECT place FROM test.stars ORDER BY place", 1, 39, "cannot order by a point"),
    ("SELECT 1 FROM test.stars GROUP BY place", 1, 35, "cannot group by a point"),
    ("SELECT band, id FROM test.stars UNION SELECT band FROM test.bands", 1, 39, "found 2 and 1"),
    ("SELECT band FROM test.bands UNION SELECT id FROM test.stars", 1, 35, "a string on the left and a number on the right"),
    ("SELECT id FROM test.stars WHERE band IN (SELECT id, band FROM test.stars)", 1, 42, "expected one column, found 2"),
    ("SELECT id FROM test.stars WHERE band = 1", 1, 33, "cannot compare a string with a number"),
    ("SELECT id FROM test.stars WHERE id IN (1, 'a')", 1, 33, "cannot compare"),
    ("SELECT id FROM test.stars WHERE place = place", 1, 33, "cannot compare a point"),
    ("SELECT COUNT(DISTINCT place) FROM test.stars", 1, 8, "cannot count different points"),
    ("SELECT id + band FROM test.stars", 1, 13, "expected a number, found a string"),
    ("SELECT id || band FROM test.stars", 1, 8, "expected a string, found a number"),
    ("SELECT -band FROM test.stars", 1, 8, "expected a number"),
    ("SELECT SIN(band) FROM test.stars", 1, 8, "SIN: expected a number, found a string"),
    ("SELECT SIN() FROM test.stars", 1, 8, "SIN: expected 1 argument, found 0"),
    ("SELECT LOWER(id) FROM test.stars", 1, 8, "expected a string"),
    ("SELECT COALESCE() FROM test.stars", 1, 8, "at least 1 arguments"),
    ("SELECT COALESCE(id, band) FROM test.stars", 1, 8, "one type"),
    ("SELECT IN_UNIT(wavelength, 'kg') FROM test.bands", 1, 8, "'nm' cannot be converted to 'kg'"),
    ("SELECT IN_UNIT(wavelength, 'furlongs') FROM test.bands", 1, 8, "is no unit"),
    ("SELECT IN_UNIT(wavelength, band) FROM test.bands", 1, 8, "string literal"),
    ("SELECT IN_UNIT(wavelength, '') FROM test.bands", 1, 8, "cannot be converted"),
    ("SELECT IN_UNIT(5, 'm') FROM test.bands", 1, 8, "no unit to convert from"),
    ("SELECT CAST(band AS FLOAT) FROM test.bands", 1, 21, "found FLOAT"),
    ("SELECT CAST(band AS INTEGER(3)) FROM test.bands", 1, 29, "only after CHAR"),
    ("SELECT CAST(band AS CHAR(0)) FROM test.bands", 1, 8, "1 to 10485760"),
    ("SELECT CAST(place AS CHAR) FROM test.stars", 1, 8, "a point cannot be cast"),
    ("SELECT CAST(band AS BOX) FROM test.stars", 1, 21, "no type"),
    ("SELECT 1e999 FROM test.bands", 1, 8, "too large"),
    ("SELECT id FROM test.stars JOIN test.bands USING (lon)", 1, 50, "no column lon in test.bands"),
    ("SELECT id FROM test.stars s JOIN (SELECT id AS band FROM test.stars) AS b USING (band)", 1, 29, "cannot join a string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "line", "column", "words"), MISTAKES, ids=[m[0][:60] for m in MISTAKES]
)
def test_mistake_is_named_with_its_place(query: str, line: int, column: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        translate(query, CATALOG)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "+".join(["1"] * 100_000) + " FROM test.bands",
        "SELECT " + "||".join(["band"] * 100_000) + " FROM test.bands",
        "SELECT " + "(" * 100_000,
        "SELECT " + "SIN(" * 10_000 + "1" + ")" * 10_000 + " FROM test.bands",
        "SELECT band FROM test.bands WHERE " + " OR ".join(["band = 'B'"] * 100_000),
        "SELECT band FROM test.bands WHERE " + "NOT (" * 10_000 + "1 = 1" + ")" * 10_000,
        "SELECT band FROM test.bands WHERE band IN (" + ",".join(["'B'"] * 100_000) + ")",
        "SELECT band FROM test.bands" + " UNION SELECT band FROM test.bands" * 10_000,
        "SELECT 1 FROM test.bands" + " NATURAL JOIN test.bands" * 10_000,
        "SELECT " + ",".join(["band"] * 5000) + " FROM test.bands",
        "SELECT " + "(SELECT " * 1000,
        "SELECT band FROM " + "(SELECT band FROM " * 500 + "test.bands" + ") AS x" * 500,
        "SELECT POLYGON(" + ",".join(["1, 2"] * 15_000) + ") FROM test.bands",
    ],
    ids=lambda query: query[:60],
)
def test_huge_queries_are_refused_in_seconds(query: str) -> None:
    start = time.process_time()
    with pytest.raises(QueryError):
        translate(query, CATALOG)
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "query",
    [
        "SELECT "
        + "1 + lon * (" * (MAX_DEPTH // 2 - 4)
        + "1"
        + ")" * (MAX_DEPTH // 2 - 4)
        + " FROM test.stars",
        "SELECT "
        + "ABS(" * (MAX_DEPTH // 2 - 4)
        + "id"
        + ")" * (MAX_DEPTH // 2 - 4)
        + " FROM test.stars",
        "SELECT id FROM test.stars WHERE " + "NOT (1 = 1 AND " * 20 + "id = 1" + ")" * 20,
        "SELECT id FROM test.stars" + " UNION SELECT id FROM test.stars" * (MAX_DEPTH - 10),
        "SELECT id FROM " + "(SELECT id FROM " * 12 + "test.stars" + ") AS x" * 12,
        "SELECT id FROM test.stars WHERE "
        + "id IN (SELECT id FROM test.stars WHERE " * 10
        + "1 = 1"
        + ")" * 10,
        "SELECT id FROM test.stars WHERE " + " OR ".join(f"id = {i}" for i in range(5000)),
        "SELECT id FROM test.stars WHERE id IN (" + ",".join(map(str, range(15_000))) + ")",
    ],
    ids=lambda query: query[:60],
)
def test_what_the_limits_allow_runs(sky: Sky, query: str) -> None:
    assert len(sky.rows(query)) in (1, 3, 4)


def test_nested_subqueries_in_group_by_take_no_time() -> None:
    """SQLAlchemy's own comparison took four times longer with each level."""
    value = "lon"
    for _ in range(9):
        value = f"ivo_healpix_index(3, POINT({value}, 1))"
    start = time.process_time()
    translate(
        f"SELECT {value}, COUNT(*) FROM test.stars GROUP BY {value} ORDER BY {value}", CATALOG
    )
    translate(f"SELECT DISTINCT {value} FROM test.stars ORDER BY {value}", CATALOG)
    assert time.process_time() - start < 5


_WORDS = st.sampled_from(
    [
        *sorted(RESERVED), *["id", "band", "ra", "dec", "test", ".", "stars", "frames", "bands", "(", ")", ",", "*", "+", "-", "/", "||", "=", "<>", "<", ">=", ";"],
        "test.frames", "test.stars", "'x'", "'ICRS'", '"a b"', "1", "2.5", "1e9", "-- x\n", "'", "\0", "é", "\ud800", "_",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
@example(text="SELECT '\udc00'")
def test_garbage_is_only_ever_a_query_error(text: str) -> None:
    _harmless(text)


@settings(max_examples=500, deadline=None)
@given(words=st.lists(_WORDS, max_size=25))
def test_random_words_are_only_ever_a_query_error(words: list[str]) -> None:
    _harmless(" ".join(words))


def _harmless(text: str) -> None:
    try:
        translate(text, CATALOG)
    except UsageError as error:
        assert "Traceback" not in str(error)


_expressions = st.recursive(
    st.sampled_from(["id", "ra", "dec", "band", "outline", "started", "good", "NULL", "'x'", "'deg'", "1", "2.5", "0", "-3"]),
    lambda inner: st.one_of(
        st.builds("{}({})".format, st.sampled_from(sorted([*FUNCTIONS, *USER_FUNCTIONS])), st.lists(inner, max_size=4).map(", ".join)),
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "||"]), inner),
        st.builds("{}({})".format, st.sampled_from(["MAX", "SUM", "AVG", "COUNT", "COUNT"]), inner),
        st.builds("CAST({} AS {})".format, inner, st.sampled_from(["INTEGER", "VARCHAR(3)", "TIMESTAMP", "POINT"])),
    ),
    max_leaves=8,
)  # fmt: skip
_conditions = st.recursive(
    st.one_of(
        st.builds("{} {} {}".format, _expressions, st.sampled_from(["=", "<", ">=", "<>", "LIKE", "NOT ILIKE"]), _expressions),
        st.builds("{} BETWEEN {} AND {}".format, _expressions, _expressions, _expressions),
        st.builds("{} IN ({})".format, _expressions, _expressions),
        st.builds("{} IS NULL".format, _expressions),
    ),
    lambda inner: st.one_of(st.builds("({} AND {})".format, inner, inner), st.builds("NOT ({})".format, inner)),
    max_leaves=3,
)  # fmt: skip

#: What PostgreSQL may say of values that only it sees: data exceptions, and pgSphere's own.
_DATA = ("22", "XX000")


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=_expressions, condition=_conditions, order=_expressions)
def test_what_translates_runs_or_fails_on_data_alone(
    sky: Sky, value: str, condition: str, order: str
) -> None:
    query = f"SELECT TOP 5 {value} AS v FROM test.frames WHERE {condition} ORDER BY {order}"
    try:
        text = render(translate(query, CATALOG).select)
    except UsageError:
        return
    try:
        with sky.database.transaction():
            sky.database.execute(text.encode())
    except psycopg.Error as error:
        assert (error.sqlstate or "").startswith(_DATA), (query, str(error))


def test_features_are_those_that_work() -> None:
    udf = "ivo://ivoa.net/std/tapregext#features-udf"
    forms = {feature.form for feature in FEATURES if feature.type != udf}
    keywords = {"ILIKE", "WITH", "UNION", "EXCEPT", "INTERSECT", "CAST", "OFFSET", "MOC"}
    assert forms - keywords <= set(FUNCTIONS)
    declared = {f.form.partition("(")[0].upper() for f in FEATURES if f.type == udf}
    assert declared == set(USER_FUNCTIONS)
    assert all(feature.type == feature.type.lower() for feature in FEATURES)
    assert set(FUNCTIONS) == FUNCTION_WORDS
