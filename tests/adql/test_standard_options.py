"""ADQL 2.1, section 7 of the checklist: strings, WITH, sets, CAST, COALESCE, IN_UNIT, OFFSET, UDFs."""
# ruff: noqa: E501 - a query and its rows read best on one line

from __future__ import annotations

import re

import psycopg
import pytest

from tests.adql.sky import Sky
from tests.adql.standard import Case, Refused, Typed, check, refused, rows_of_section, value
from vo_service.adql import FEATURES
from vo_service.adql.udf import USER_FUNCTIONS

B, V, Z = ("B",), ("V",), ("z",)
S, T = "SELECT band FROM test.bands", "SELECT band FROM test.stars WHERE id < 4"

CASES = [
    # 7.01; outside ASCII too
    value("7.01", "LOWER('AbC1_É')", "abc1_é"),
    value("7.01", "UPPER('AbC1_é')", "ABC1_É"),
    value("7.01", "LOWER(NULL)", None),
    refused("7.01", "UPPER(1)", 1, "expected a string, found a number"),
    # 7.02
    value("7.02", "ivo_nocasematch('AbC', 'a%c')", 1),
    Case("7.02", "SELECT band FROM test.bands WHERE 'Éa' ILIKE 'éA' AND band ILIKE 'v'", [V]),
    Case("7.02", "SELECT band FROM test.bands WHERE wavelength ILIKE 'v'", Refused(35, "expected a string")),
    # 7.03
    Case("7.03", f"WITH a AS ({S}), b AS (SELECT band FROM a WHERE band > 'B') SELECT band FROM b", [V, Z]),
    Case("7.03", f"WITH a AS ({S}) SELECT x.band FROM a AS x, a AS y WHERE x.band = y.band AND y.band = 'B'", [B]),
    Case("7.03", f"WITH a AS ({S} ORDER BY band OFFSET 2) SELECT band FROM a", [Z]),
    Case("7.03", f"WITH a AS (SELECT * FROM b), b AS ({S}) SELECT * FROM a", Refused(26, "no table b")),
    Case("7.03", "WITH a AS (SELECT * FROM a) SELECT * FROM a", Refused(26, "no table a")),
    Case("7.03", f"SELECT * FROM (WITH a AS ({S}) SELECT * FROM a) AS q", Refused(16, "found WITH")),
    Case("7.03", f"WITH a AS (WITH b AS ({S}) SELECT * FROM b) SELECT * FROM a", Refused(12, "found WITH")),
    Case("7.03", f"{S} UNION (WITH a AS ({S}) SELECT * FROM a)", Refused(36, "found WITH")),
    Case("7.03", f"WITH a (x) AS ({S}) SELECT x FROM a", Refused(8, "found (, expected AS")),
    Case("7.03", f"WITH a AS ({S}), A AS ({S}) SELECT * FROM a", Refused(42, "two tables of WITH")),
    # 7.04
    Case("7.04", f"{T} UNION ALL {T}", [V, B, V, V, B, V]),
    Case("7.04", f"{T} UNION {T}", [V, B]),
    Case("7.04", f"{T} EXCEPT {S} WHERE band = 'B'", [V]),
    Case("7.04", f"{T} EXCEPT ALL {S}", [V]),
    Case("7.04", f"{T} INTERSECT {S}", [B, V]),
    Case("7.04", f"{T} INTERSECT ALL {T}", [V, B, V]),
    Case("7.04", "SELECT id FROM test.stars WHERE id = 1 UNION SELECT wavelength FROM test.bands WHERE band = 'B'", [(1.0,), (440.0,)]),
    Case("7.04", f"{S} UNION SELECT band, id FROM test.stars", Refused(35, "found 1 and 2")),
    Case("7.04", f"{S} UNION SELECT id FROM test.stars", Refused(35, "a string on the left and a number on the right")),
    Case("7.04", "SELECT ra AS x FROM test.frames UNION SELECT wavelength FROM test.bands", Typed("double")),
    # 7.05
    Case("7.05", f"({S} ORDER BY band OFFSET 2) UNION (SELECT TOP 1 band FROM test.bands ORDER BY band) ORDER BY band DESC", [Z, B]),
    Case("7.05", f"SELECT TOP 1 band FROM test.bands WHERE band = 'z' UNION {S} WHERE band = 'B' ORDER BY band", [B, Z]),
    Case("7.05", f"{S} ORDER BY band UNION {S}", Refused(43, "found UNION")),
    Case("7.05", f"{S} OFFSET 1 UNION {S}", Refused(38, "found UNION")),
    # 7.06: stars have B and V; the second and third would differ from the left to the right
    Case("7.06", f"{S} EXCEPT {T} UNION SELECT 'B' FROM test.bands", [Z, B]),
    Case("7.06", f"{S} UNION {T} INTERSECT SELECT 'B' FROM test.bands", [B, V, Z]),
    Case("7.06", f"({S} UNION {T}) INTERSECT SELECT 'B' FROM test.bands", [B]),
    Case("7.06", f"{S} EXCEPT {S} WHERE band = 'B' EXCEPT {S} WHERE band = 'V'", [Z]),
    # 7.07
    value("7.07", "CAST('-7' AS SMALLINT)", -7), value("7.07", "CAST('7' AS INTEGER)", 7),
    value("7.07", "CAST('12345678901' AS BIGINT)", 12345678901), value("7.07", "CAST('2.5' AS REAL)", 2.5),
    value("7.07", "CAST('1e-3' AS DOUBLE PRECISION)", 0.001), value("7.07", "CAST('abc' AS CHAR(2))", "ab"),
    value("7.07", "CAST('abc' AS VARCHAR(2))", "ab"), value("7.07", "CAST('abc' AS VARCHAR)", "abc"),
    value("7.07", "CAST('2000-01-01' AS TIMESTAMP)", "2000-01-01T00:00:00"),
    value("7.07", "CAST('10 20' AS POINT)", [10.0, 20.0]), value("7.07", "CAST('10 20 1' AS CIRCLE)", [10.0, 20.0, 1.0]),
    value("7.07", "CAST('0 0 2 0 2 2' AS POLYGON)", [0.0, 0.0, 2.0, 0.0, 2.0, 2.0]),
    refused("7.07", "CAST(band AS FLOAT)", 14, "found FLOAT"),
    refused("7.07", "CAST(band AS NUMERIC)", 14, "found NUMERIC"),
    refused("7.07", "CAST(band AS DATE)", 14, "found DATE"),
    # 7.08
    value("7.08", "CAST(5 AS REAL)", 5.0), value("7.08", "CAST(5 AS VARCHAR)", "5"),
    value("7.08", "CAST(wavelength AS INTEGER)", 440), value("7.08", "CAST(0.5 AS VARCHAR)", "0.5"),
    Case("7.08", "SELECT CAST(started AS VARCHAR(10)), CAST(started AS TIMESTAMP) FROM test.frames WHERE id = 0", [("2024-01-01", "2024-01-01T12:34:56.5")]),
    Case("7.08", "SELECT CAST(started AS INTEGER) FROM test.frames", Refused(8, "a timestamp cannot be cast to INTEGER")),
    refused("7.08", "CAST(1 AS TIMESTAMP)", 1, "a number cannot be cast to TIMESTAMP"),
    # 7.09: what is too large is an error of the database, below
    value("7.09", "CAST('abc' AS CHAR)", "abc"),
    refused("7.09", "CAST(band AS CHAR(0))", 1, "1 to 10485760"),
    # 7.10
    value("7.10", "CAST('2000-01-02T03:04:05' AS TIMESTAMP)", "2000-01-02T03:04:05"),
    value("7.10", "CAST('2000-01-02T03:04:05.678Z' AS TIMESTAMP)", "2000-01-02T03:04:05.678"),
    # 7.11
    value("7.11", "COALESCE(NULL, 'a', 'b')", "a"), value("7.11", "COALESCE(1)", 1),
    Case("7.11", "SELECT COALESCE(lon, -1) FROM test.stars WHERE id > 2", [(200.0,), (-1.0,)]),
    refused("7.11", "COALESCE()", 1, "at least 1 argument"),
    refused("7.11", "COALESCE(1, 'a')", 1, "one type"),
    # 7.12
    value("7.12", "IN_UNIT(wavelength, 'm')", 4.4e-7), value("7.12", "IN_UNIT(wavelength, 'THz.nm/THz')", 440.0),
    Case("7.12", "SELECT IN_UNIT(ra, 'rad') FROM test.frames WHERE ra IS NULL", [(None,)]),
    value("7.12", "IN_UNIT(2 * wavelength, 'um')", 0.88),
    # 7.13
    refused("7.13", "IN_UNIT(wavelength, 'furlong')", 1, "is no unit"),
    refused("7.13", "IN_UNIT(wavelength, 'kg')", 1, "'nm' cannot be converted to 'kg'"),
    refused("7.13", "IN_UNIT(wavelength, '')", 1, "cannot be converted"),
    refused("7.13", "IN_UNIT(5, 'm')", 1, "no unit to convert from"),
    refused("7.13", "IN_UNIT(wavelength / wavelength, 'm')", 1, "no unit to convert from"),
    refused("7.13", "IN_UNIT(wavelength, band)", 1, "string literal"),
    refused("7.13", "IN_UNIT(band, 'm')", 1, "IN_UNIT"),
    # 7.14
    Case("7.14", f"{S} ORDER BY band OFFSET 2", [Z]), Case("7.14", f"{S} ORDER BY band OFFSET 0", [B, V, Z]),
    Case("7.14", f"{S} OFFSET 7", []),
    Case("7.14", "SELECT TOP 1 band FROM test.bands ORDER BY band OFFSET 1", [V]),
    Case("7.14", f"{S} OFFSET -1", Refused(36, "found -")), Case("7.14", f"{S} OFFSET 1.5", Refused(36, "whole number of rows")),
    Case("7.14", f"{S} OFFSET 1 ORDER BY band", Refused(38, "found ORDER")),
    # 7.15: of numbers, strings, geometries and points, in all places
    value("7.15", "ivo_to_mjd('2000-01-02T12:00:00') + 0.5", 51546.0),
    value("7.15", "COORD1(ivo_healpix_center(0, ivo_healpix_index(0, POINT(180, 1))))", 180.0),
    Case("7.15", "SELECT band FROM test.bands WHERE ivo_hasword(band || ' x', 'X') = 1 ORDER BY ivo_hms_to_degrees('1:0:0'), band", [B, V, Z]),
    Case("7.15", "SELECT ivo_string_agg(band, '-') FROM (SELECT TOP 3 band FROM test.bands ORDER BY band) AS q", [("B-V-z",)]),
    refused("7.15", "ivo_to_mjd()", 1, "expected 1 argument, found 0"),
    # 7.18
    refused("7.18", "gavo_match('a', band)", 1, "no function GAVO_MATCH"),
    refused("7.18", "pg_sleep(1)", 1, "no function PG_SLEEP"),
    refused("7.18", "ivo_healpix_indx(1, 2, 3)", 1, "did you mean ivo_healpix_index?"),
]  # fmt: skip

#: Rows that a test of its own shows.
ELSEWHERE = {
    "7.16": "test_names_of_functions_are_regular_and_of_the_ivoa_or_moc",
    "7.17": "test_declared_signatures_have_the_form_of_tapregext",
    "7.19": "tests/adql/test_udf.py: the vectors of the catalogue",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_row(sky: Sky, case: Case) -> None:
    check(sky, case)


def test_every_row_of_the_section_has_a_case() -> None:
    assert set(rows_of_section(7)) == {case.row for case in CASES} | set(ELSEWHERE)


@pytest.mark.parametrize(
    "cast", ["CAST(99999 AS SMALLINT)", "CAST('x' AS INTEGER)", "CAST('2000-13-01' AS TIMESTAMP)"]
)
def test_a_value_that_does_not_fit_is_an_error_of_data(sky: Sky, cast: str) -> None:
    """7.09: SQLSTATE 22, which clients see as an error of their query."""
    with pytest.raises(psycopg.DataError):
        sky.value(cast)


def test_metadata_of_a_set_is_that_of_its_left_side(sky: Sky) -> None:
    """7.04."""
    field = sky.field("SELECT ra AS x FROM test.frames UNION SELECT wavelength FROM test.bands")
    assert (field.name, field.unit, field.ucd) == ("x", "deg", "pos.eq.ra")
    assert field.description == "Right ascension"


def test_names_of_functions_are_regular_and_of_the_ivoa_or_moc() -> None:
    """7.16; MOC is the name that the MOC standard and VizieR give it."""
    for name in USER_FUNCTIONS:
        assert re.fullmatch(r"IVO_[A-Z0-9_]+|MOC", name)


def test_declared_signatures_have_the_form_of_tapregext() -> None:
    """7.17."""
    kind = r"(VARCHAR|INTEGER|BIGINT|DOUBLE PRECISION|TIMESTAMP|INTERVAL|POINT|CIRCLE|POLYGON|REGION)(\[\])?"
    argument = rf"[A-Za-z]\w* {kind}"
    form = re.compile(rf"[A-Za-z]\w*\({argument}(, {argument})*\) -> {kind}")
    declared = [f.form for f in FEATURES if f.type.endswith("#features-udf")]
    assert len(declared) == 21
    for signature in declared:
        assert form.fullmatch(signature), signature


#: A value of each type that a signature names; some arguments must be literals, others columns.
SAMPLES = {
    "VARCHAR": "'1:2:3'", "INTEGER": "3", "BIGINT": "3", "DOUBLE PRECISION": "2.5", "TIMESTAMP": "started",
    "INTERVAL": "span", "POINT": "POINT(1, 2)", "CIRCLE": "CIRCLE(1, 2, 3)", "POLYGON": "POLYGON(1, 2, 3, 2, 3, 4)",
    "REGION": "CIRCLE(1, 2, 3)",
}  # fmt: skip
SPECIAL = {
    "from_sys": "'ICRS'", "to_sys": "'GALACTIC'", "moc": "'3/1-4'", "val": "f.ra", "expression": "f.name",
    "lower": "0", "upper": "360",
}  # fmt: skip
RESULTS = {
    "VARCHAR": Typed("char", "*"), "INTEGER": Typed("int"), "BIGINT": Typed("long"), "DOUBLE PRECISION": Typed("double"),
    "POINT": Typed("double", "2", "point"), "CIRCLE": Typed("double", "3", "circle"), "POLYGON": Typed("double", "*", "polygon"),
    "REGION": Typed("char", "*", "moc"), "INTEGER[]": Typed("int", "*"),
}  # fmt: skip


@pytest.mark.parametrize("signature", [f.form for f in FEATURES if f.type.endswith("-udf")])
def test_a_function_takes_and_gives_what_its_signature_declares(sky: Sky, signature: str) -> None:
    """7.17: declared and working are one."""
    name, arguments, result = re.fullmatch(r"(\w+)\((.*)\) -> (.*)", signature).groups()  # type: ignore[union-attr]  # it fits
    named = [argument.split(" ", 1) for argument in arguments.split(", ")]
    values = ", ".join(SPECIAL.get(word, SAMPLES[kind]) for word, kind in named)
    row = "SELECT {} FROM test.frames AS f, test.stars AS s WHERE f.id = 1 AND s.id = 1"
    check(sky, Case("7.17", row.format(f"{name}({values})"), RESULTS[result]))
