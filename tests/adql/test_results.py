"""What leaves a query: exact types over COPY BINARY, metadata of expressions, functions."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adql.sky import Sky
from vo_service.adql import FEATURES
from vo_service.db.stream import render

#: Expression, datatype, arraysize, xtype, unit, UCD, and the Arrow type that must arrive.
FIELDS: list[tuple[str, str, str | None, str | None, str | None, str | None, pa.DataType]] = [
    ("id", "int", None, None, None, "meta.id", pa.int32()),
    ("chips", "short", None, None, None, None, pa.int16()),
    ("bytes", "long", None, None, "byte", None, pa.int64()),
    ("mag", "float", None, None, "mag", "phot.mag", pa.float32()),
    ("ra", "double", None, None, "deg", "pos.eq.ra", pa.float64()),
    ("band", "char", "*", None, None, None, pa.string()),
    ("started", "char", "*", "timestamp", None, None, pa.string()),
    ("good", "boolean", None, None, None, None, pa.bool_()),
    ("outline", "char", "*", "adql:REGION", None, None, pa.string()),
    ("POINT(ra, dec)", "double", "2", "point", "deg", "pos.eq", pa.list_(pa.float64())),
    ("CIRCLE(ra, dec, 1)", "double", "3", "circle", "deg", "pos.outline", pa.list_(pa.float64())),
    ("BOX(ra, dec, 1, 1)", "double", "*", "polygon", "deg", "pos.outline", pa.list_(pa.float64())),
    ("CENTROID(outline)", "double", "2", "point", "deg", "pos.eq", pa.list_(pa.float64())),
    ("AREA(outline)", "double", None, None, "deg**2", "phys.angArea", pa.float64()),
    ("COORD1(POINT(ra, dec))", "double", None, None, "deg", "pos.eq.ra", pa.float64()),
    ("COORDSYS(outline)", "char", "*", None, None, "pos.frame", pa.string()),
    ("DISTANCE(ra, dec, 1, 2)", "double", None, None, "deg", "pos.angDistance", pa.float64()),
    ("CONTAINS(POINT(ra, dec), outline)", "int", None, None, None, None, pa.int32()),
    ("COUNT(*)", "long", None, None, None, "meta.number", pa.int64()),
    ("COUNT(DISTINCT ra)", "long", None, None, None, "meta.number", pa.int64()),
    ("SUM(chips)", "long", None, None, None, None, pa.int64()),
    ("SUM(bytes)", "long", None, None, "byte", None, pa.int64()),
    ("SUM(mag)", "float", None, None, "mag", "phot.mag", pa.float32()),
    ("SUM(ra)", "double", None, None, "deg", "pos.eq.ra", pa.float64()),
    ("AVG(id)", "double", None, None, None, "meta.id;stat.mean", pa.float64()),
    ("AVG(ra)", "double", None, None, "deg", "pos.eq.ra;stat.mean", pa.float64()),
    ("MIN(mag)", "float", None, None, "mag", "phot.mag;stat.min", pa.float32()),
    ("MAX(started)", "char", "*", "timestamp", None, None, pa.string()),
    ("ra * 2", "double", None, None, "deg", None, pa.float64()),
    ("ra + 1", "double", None, None, "deg", "pos.eq.ra", pa.float64()),
    ("ra - dec", "double", None, None, "deg", None, pa.float64()),
    ("ra + exptime", "double", None, None, None, None, pa.float64()),
    ("exptime / ra", "double", None, None, "s.deg**-1", None, pa.float64()),
    ("ra / ra", "double", None, None, None, None, pa.float64()),
    ("-chips", "short", None, None, None, None, pa.int16()),
    ("chips + id", "int", None, None, None, None, pa.int32()),
    ("id + bytes", "long", None, None, None, None, pa.int64()),
    ("mag * id", "double", None, None, "mag", None, pa.float64()),
    ("mag + mag", "float", None, None, "mag", None, pa.float32()),
    ("1", "int", None, None, None, None, pa.int32()),
    ("3000000000", "long", None, None, None, None, pa.int64()),
    ("99999999999999999999", "double", None, None, None, None, pa.float64()),
    ("1.5", "double", None, None, None, None, pa.float64()),
    ("'x'", "char", "*", None, None, None, pa.string()),
    ("NULL", "char", "*", None, None, None, pa.string()),
    ("band || 'x'", "char", "*", None, None, None, pa.string()),
    ("SIN(ra)", "double", None, None, None, None, pa.float64()),
    ("RADIANS(ra)", "double", None, None, "rad", None, pa.float64()),
    ("ROUND(mag, 1)", "double", None, None, "mag", "phot.mag", pa.float64()),
    ("MOD(id, 3)", "double", None, None, None, "meta.id", pa.float64()),
    ("UPPER(band)", "char", "*", None, None, None, pa.string()),
    ("IN_UNIT(ra, 'arcsec')", "double", None, None, "arcsec", "pos.eq.ra", pa.float64()),
    ("COALESCE(mag, id)", "double", None, None, "mag", "phot.mag", pa.float64()),
    ("CAST(ra AS REAL)", "float", None, None, "deg", "pos.eq.ra", pa.float32()),
    ("CAST(id AS SMALLINT)", "short", None, None, None, "meta.id", pa.int16()),
    ("CAST(id AS VARCHAR(2))", "char", "*", None, None, "meta.id", pa.string()),
    ("CAST(started AS TIMESTAMP)", "char", "*", "timestamp", None, None, pa.string()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "datatype", "arraysize", "xtype", "unit", "ucd", "arrow"),
    FIELDS,
    ids=[f[0] for f in FIELDS],
)
def test_field_is_what_arrives(
    sky: Sky, database_url: str, expression: str, datatype: str, arraysize: str | None,
    xtype: str | None, unit: str | None, ucd: str | None, arrow: pa.DataType,
) -> None:  # fmt: skip
    query = f"SELECT {expression} AS v FROM test.frames"
    for text in (
        query,
        f"SELECT v FROM ({query}) AS q",
        f"SELECT v FROM (SELECT DISTINCT {expression} AS v FROM test.frames) AS q",
        f"{query} UNION {query} ORDER BY 1"
        if arraysize in (None, "*") and xtype not in {"point", "circle", "polygon"}
        else query,
        f"WITH q AS ({query}) SELECT v FROM q",
    ):
        translation = sky.translated(text, limit=5)
        (field,) = translation.fields
        found = (field.name, field.datatype, field.arraysize, field.xtype, field.unit, field.ucd)
        assert found == ("v", datatype, arraysize, xtype, unit, ucd)
        with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
            cursor.execute(render(translation.select))
            assert [column.type for column in cursor.fetch_arrow_table().schema] == [arrow]


def test_description_goes_with_the_column(sky: Sky) -> None:
    assert sky.field("SELECT ra FROM test.frames").description == "Right ascension"
    assert (
        sky.field("SELECT q.x FROM (SELECT ra AS x FROM test.frames) AS q").description
        == "Right ascension"
    )


def test_names_of_fields_are_unique(sky: Sky) -> None:
    query = 'SELECT a.id, b.id, COUNT(*), 1 + 1, a.id AS "ID", COUNT(*) AS n FROM test.stars a, test.stars b GROUP BY a.id, b.id'
    names = [field.name for field in sky.translated(query).fields]
    assert names == ["id", "id_2", "count_3", "column_4", "ID_5", "n"]


def test_delimited_column_leaves_without_its_quotes(sky: Sky) -> None:
    assert sky.field('SELECT "size" FROM tap_schema.columns').name == "size"


#: A function of constants, and its value.
FUNCTIONS: list[tuple[str, Any]] = [
    ("ABS(-2)", 2.0), ("CEILING(-1.5)", -1.0), ("FLOOR(-1.5)", -2.0), ("EXP(1)", math.e),
    ("LOG(EXP(2))", 2.0), ("LOG10(1000)", 3.0), ("SQRT(2)", math.sqrt(2)), ("POWER(2, 0.5)", math.sqrt(2)),
    ("PI()", math.pi), ("DEGREES(PI())", 180.0), ("RADIANS(180)", math.pi),
    ("MOD(7, 3)", 1.0), ("MOD(-7, 3)", -1.0), ("MOD(7.5, -2)", 1.5), ("MOD(0.3, 0.1)", 0.0),
    ("ROUND(2.5)", 3.0), ("ROUND(-2.5)", -3.0), ("ROUND(1234.567, 2)", 1234.57), ("ROUND(1234.567, -2)", 1200.0),
    ("TRUNCATE(-1.9)", -1.0), ("TRUNCATE(1234.567, 1)", 1234.5), ("TRUNCATE(1299, -2)", 1200.0),
    ("ACOS(-1)", math.pi), ("ASIN(-1)", -math.pi / 2), ("ATAN(1)", math.pi / 4), ("ATAN2(-1, -1)", -3 * math.pi / 4),
    ("COS(PI())", -1.0), ("SIN(PI()/2)", 1.0), ("TAN(PI()/4)", 1.0), ("COT(PI()/4)", 1.0),
    ("LOWER('ÀB')", "àb"), ("UPPER('x1')", "X1"), ("COALESCE(NULL, 'a')", "a"), ("12.", 12.0), (".5E+1", 5.0), ("+5", 5),
    ("-2147483648", -2147483648), ("2147483647 + 1", 2147483648), ("CAST(2.5 AS INTEGER) + CAST(' 4 ' AS BIGINT)", 6),
    ("CAST(1.5 AS VARCHAR)", "1.5"), ("CAST('abcdef' AS VARCHAR(3))", "abc"), ("CAST('2000-01-01T12:00:00.25Z' AS TIMESTAMP)", "2000-01-01T12:00:00.25"),
    ("'' || NULL", None), ("1 + NULL", None),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "value"), FUNCTIONS, ids=[e for e, _ in FUNCTIONS])
def test_function_has_value(sky: Sky, expression: str, value: Any) -> None:
    found = sky.value(expression)
    assert found == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value)


@pytest.mark.parametrize("expression", [e for e, v in FUNCTIONS if isinstance(v, float)])
def test_function_of_a_column_is_that_of_constants(sky: Sky, expression: str) -> None:
    """With a zero that only the database knows in it, nothing is worked out beforehand."""
    zero = "(id - 1)"
    head, _, tail = expression.partition("(")
    text = f"{head}({zero} + {tail}" if tail and tail != ")" else f"{zero} + {expression}"
    (found,) = sky.column(f"SELECT {text} FROM test.stars WHERE id = 1")
    assert found == pytest.approx(sky.value(expression), abs=1e-12)


def test_rand_lies_between_zero_and_one(sky: Sky) -> None:
    found = sky.column("SELECT RAND() FROM test.frames") + sky.column(
        "SELECT RAND(42) FROM test.bands"
    )
    assert all(0 <= number < 1 for number in found)
    assert len(set(found)) > 400


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_string_comes_back_as_it_was(sky: Sky, text: str) -> None:
    quoted = text.replace("'", "''")
    assert sky.value(f"'{quoted}'") == text
    name = text.replace('"', '""') or "x"
    assert sky.column(
        f'SELECT "{name}" FROM (SELECT band AS "{name}" FROM test.bands WHERE band = \'B\') AS q'
    ) == ["B"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    number=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63) + 1, 2**63 - 1)
    )
)
def test_any_number_comes_back_as_it_was(sky: Sky, number: float) -> None:
    assert sky.value(repr(number)) == number


#: One query for each declared feature that is no function.
FORMS = {
    "ILIKE": "SELECT band FROM test.bands WHERE band ILIKE 'b'",
    "WITH": "WITH x AS (SELECT band FROM test.bands WHERE band = 'B') SELECT band FROM x",
    "UNION": "SELECT band FROM test.bands WHERE band = 'B' UNION SELECT 'B' FROM test.bands",
    "EXCEPT": "SELECT band FROM test.bands EXCEPT SELECT band FROM test.bands WHERE band > 'B'",
    "INTERSECT": "SELECT band FROM test.bands INTERSECT SELECT 'B' FROM test.bands",
    "CAST": "SELECT CAST('B' AS CHAR) FROM test.bands WHERE wavelength = 440",
    "OFFSET": "SELECT band FROM test.bands ORDER BY band DESC OFFSET 2",
}


@pytest.mark.parametrize("form", [f.form for f in FEATURES if f.form in FORMS])
def test_declared_form_works(sky: Sky, form: str) -> None:
    assert sky.column(FORMS[form]) == ["B"]
