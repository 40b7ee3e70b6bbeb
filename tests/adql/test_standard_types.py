"""ADQL 2.1, sections 4 and 5 of the checklist: types, and the optional features as declared."""
# ruff: noqa: E501 - a query and its rows read best on one line

from __future__ import annotations

import re

import pytest

from tests.adql.sky import Sky
from tests.adql.standard import (
    CHECKLIST,
    Case,
    Refused,
    Typed,
    check,
    refused,
    rows_of_section,
    value,
)
from vo_service.adql import FEATURES

STRING = Typed("char", "*")
POINT, CIRCLE = Typed("double", "2", "point"), Typed("double", "3", "circle")
POLYGON = Typed("double", "*", "polygon")
BASE = "ivo://ivoa.net/std/tapregext#"


def typed(row: str, expression: str, expected: Typed, table: str = "test.bands") -> Case:
    return Case(row, f"SELECT {expression} FROM {table}", expected)


CASES = [
    # 4.01: no table has bits; the nearest, boolean, is published and compares with 0 and 1.
    refused("4.01", "CAST(1 AS BIT)", 11, "found BIT"),
    typed("4.01", "good", Typed("boolean"), "test.frames"),
    Case("4.01", "SELECT id FROM test.frames WHERE good = 0 AND id < 4", [(1,), (3,)]),
    # 4.02, 4.03
    typed("4.02", "chips", Typed("short"), "test.frames"),
    typed("4.02", "id", Typed("int"), "test.frames"),
    typed("4.02", "bytes", Typed("long"), "test.frames"),
    typed("4.02", "CAST(1 AS SMALLINT)", Typed("short")),
    typed("4.02", "CAST(1 AS INTEGER)", Typed("int")),
    typed("4.02", "CAST(1 AS BIGINT)", Typed("long")),
    typed("4.03", "mag", Typed("float"), "test.frames"),
    typed("4.03", "ra", Typed("double"), "test.frames"),
    typed("4.03", "CAST(1 AS REAL)", Typed("float")),
    typed("4.03", "CAST(1 AS DOUBLE PRECISION)", Typed("double")),
    # 4.04 interval: published, passed on, and no operator
    typed("4.04", "span", Typed("double", "2", "interval"), "test.stars"),
    Case("4.04", "SELECT span FROM test.stars WHERE id = 1", [([1.0, 2.5],)]),
    Case("4.04", "SELECT span + 1 FROM test.stars", Refused(8, "expected a number, found an array")),
    Case("4.04", "SELECT id FROM test.stars WHERE span = span", Refused(33, "cannot compare")),
    # 4.05 timestamps compare as times, whatever the text looks like
    typed("4.05", "started", Typed("char", "*", "timestamp"), "test.frames"),
    Case("4.05", "SELECT id FROM test.frames WHERE started < '2024-01-02' AND id < 56", [(0,), (28,)]),
    Case("4.05", "SELECT id FROM test.frames WHERE started BETWEEN '2024-01-03' AND '2024-01-04T00:00:00.000Z' AND id < 28", [(2,)]),
    Case("4.05", "SELECT started FROM test.frames WHERE id = 0", [("2024-01-01T12:34:56.5",)]),
    Case("4.05", "SELECT id FROM test.frames WHERE started < 5", Refused(34, "cannot compare")),
    # 4.06, 4.07
    typed("4.06", "band", STRING),
    typed("4.06", "CAST(band AS CHAR(3))", STRING),
    typed("4.06", "CAST(band AS VARCHAR(3))", STRING),
    typed("4.07", "band || band", STRING),
    # 4.08, 4.09: no table has bytes, and no expression makes them
    refused("4.08", "CAST(band AS VARBINARY)", 14, "found VARBINARY, expected a type (SMALLINT"),
    refused("4.09", "CAST(band AS BLOB)", 14, "found BLOB, expected a type (SMALLINT"),
    # 4.10 to 4.13
    typed("4.10", "POINT(1, 2)", POINT),
    typed("4.10", "place", POINT, "test.stars"),
    value("4.10", "POINT(1, 2)", [1.0, 2.0]),
    typed("4.11", "CIRCLE(1, 2, 3)", CIRCLE),
    typed("4.11", "disc", CIRCLE, "test.stars"),
    value("4.11", "CIRCLE(1, 2, 3)", [1.0, 2.0, 3.0]),
    typed("4.12", "POLYGON(1, 2, 3, 2, 3, 4)", POLYGON),
    value("4.12", "POLYGON(1, 2, 3, 2, 3, 4)", [1.0, 2.0, 3.0, 2.0, 3.0, 4.0]),
    typed("4.13", "outline", Typed("char", "*", "adql:REGION"), "test.frames"),
    Case("4.13", "SELECT outline FROM test.frames WHERE id = 7", [("POLYGON ICRS 7",)]),
    # 5: one query for each form that is declared
    value("5.01", "AREA(CIRCLE(0, 0, 180))", 41252.96124941928),  # 4 pi (180 / pi)^2
    value("5.01", "CONTAINS(POINT(10, 0.9), BOX(10, 0, 4, 2))", 1),
    value("5.01", "CENTROID(CIRCLE(1, 2, 3))", [1.0, 2.0]),
    value("5.01", "COORD1(POINT(1, 2)) + COORD2(POINT(1, 2))", 3.0),
    value("5.01", "COORDSYS(POINT(1, 2))", "ICRS"),
    value("5.01", "DISTANCE(POINT(0, 0), POINT(0, 90))", 90.0),
    value("5.01", "INTERSECTS(REGION('CIRCLE ICRS 1 2 3'), POLYGON(1, 2, 3, 2, 3, 4))", 1),
    value("5.02", "ivo_healpix_index(0, 1, 1)", 4),
    value("5.03", "LOWER('Ab') || UPPER('Ab')", "abAB"),
    Case("5.03", "SELECT band FROM test.bands WHERE band ILIKE 'b'", [("B",)]),
    Case("5.04", "WITH q AS (SELECT band FROM test.bands) SELECT COUNT(*) FROM q", [(3,)]),
    Case("5.05", "SELECT band FROM test.bands UNION SELECT 'q' FROM test.bands", [("B",), ("V",), ("z",), ("q",)]),
    Case("5.05", "SELECT band FROM test.bands EXCEPT SELECT 'B' FROM test.bands", [("V",), ("z",)]),
    Case("5.05", "SELECT band FROM test.bands INTERSECT SELECT 'B' FROM test.bands", [("B",)]),
    value("5.06", "CAST('5' AS INTEGER)", 5),
    value("5.07", "COALESCE(NULL, 5)", 5),
    value("5.08", "IN_UNIT(wavelength, 'um')", 0.44),
    Case("5.09", "SELECT band FROM test.bands ORDER BY band OFFSET 2", [("z",)]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_row(sky: Sky, case: Case) -> None:
    check(sky, case)


@pytest.mark.parametrize("section", [4, 5])
def test_every_row_of_a_section_has_a_case(section: int) -> None:
    assert set(rows_of_section(section)) == {
        case.row for case in CASES if case.row.startswith(f"{section}.")
    }


def test_what_is_declared_is_what_the_standard_lists() -> None:
    """5: types in lower case, and all forms of them."""
    if not CHECKLIST.is_file():
        pytest.skip(f"no checklist: {CHECKLIST} is not there")
    listed = {
        (BASE + kind, form)
        for kind, forms in re.findall(
            r"^\| \w+ \| `(features-[a-z-]+)`[^|]*\| ([A-Z0-9_ ]+) \|", CHECKLIST.read_text(), re.M
        )
        for form in forms.split()
    }
    declared = {
        (f.type, f.form)
        for f in FEATURES
        if f.type.startswith(BASE) and f.type != BASE + "features-udf"
    }
    assert declared == listed
    assert len(listed) == 24
