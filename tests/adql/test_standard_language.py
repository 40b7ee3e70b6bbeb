"""ADQL 2.1, sections 1 to 3 of the checklist: words, queries, mathematical functions."""
# ruff: noqa: E501 - a query and its rows read best on one line

from __future__ import annotations

import math

import pytest

from tests.adql.sky import CATALOG, Sky
from tests.adql.standard import Case, Refused, check, refused, rows_of_section, value
from vo_service.adql import translate
from vo_service.adql.words import RESERVED
from vo_service.errors import QueryError
from vo_service.model.published import PUBLISHED

B, V, Z = ("B",), ("V",), ("z",)

CASES = [
    # 1.01 characters
    value("1.01", "'!@é漢\U0001f52d'", "!@é漢\U0001f52d"),
    Case("1.01", 'SELECT "é" FROM (SELECT band AS "é" FROM test.bands) AS q -- ü@', [B, V, Z]),
    refused("1.01", "band @", 6, "@ has no meaning"),
    refused("1.01", "bänd", 2, "ä has no meaning"),
    refused("1.01", "5 % 2", 3, "% has no meaning"),
    refused("1.01", "5 ^ 2", 3, "^ has no meaning"),
    refused("1.01", "band & band", 6, "& has no meaning"),
    refused("1.01", "~1", 1, "~ has no meaning"),
    # 1.02 keywords
    Case("1.02", "sElEcT BAND fRoM Test.BANDS wHeRe bAnD = 'B'", [B]),
    refused("1.02", "date", 1, '"date"'),
    Case("1.02", "SELECT band AS select FROM test.bands", Refused(16, '"select"')),
    Case("1.02", 'SELECT "date" FROM (SELECT band AS "date" FROM test.bands) AS q', [B, V, Z]),
    # 1.03 regular identifiers
    Case("1.03", "SELECT a_1 FROM (SELECT band AS a_1 FROM test.bands) AS Q_2z", [B, V, Z]),
    refused("1.03", "_band", 1, "starts with a letter"),
    refused("1.03", "1band", 1, "followed by a letter"),
    refused("1.03", "band$", 5, "$ has no meaning"),
    # 1.04 delimited identifiers
    Case("1.04", 'SELECT "a ""b"".c;" FROM (SELECT band AS "a ""b"".c;" FROM test.bands) AS q', [B, V, Z]),
    Case("1.04", 'SELECT "WHERE" FROM (SELECT band AS "WHERE" FROM test.bands) AS "FROM"', [B, V, Z]),
    refused("1.04", '"band', 1, "not closed"),
    refused("1.04", '""', 1, "empty"),
    # 1.05 case
    Case("1.05", "SELECT BaNd FROM TEST.bAnDs", [B, V, Z]),
    Case("1.05", 'SELECT "band" FROM "test"."bands"', [B, V, Z]),
    refused("1.05", '"Band"', 1, 'no column "Band"'),
    Case("1.05", 'SELECT band FROM test."Bands"', Refused(18, "no table")),
    Case("1.05", 'SELECT "Mixed Case" FROM test.bands ORDER BY 1', [(1,), (2,), (3,)]),
    refused("1.05", '"mixed case"', 1, 'did you mean "Mixed Case"?'),
    Case("1.05", 'SELECT x FROM (SELECT band AS "X" FROM test.bands) AS q', Refused(8, 'did you mean "X"?')),
    # 1.07 strings
    value("1.07", "'it''s'", "it's"),
    value("1.07", "''", ""),
    value("1.07", "''''", "'"),
    value("1.07", "'a\\n\"b--c'", "a\\n\"b--c"),
    refused("1.07", "'band", 1, "not closed"),
    # 1.08 numbers
    value("1.08", "12", 12),
    value("1.08", "12.", 12.0),
    value("1.08", "12.3", 12.3),
    value("1.08", ".5", 0.5),
    value("1.08", "1E3", 1000.0),
    value("1.08", "1.e-2", 0.01),
    value("1.08", ".5e+1", 5.0),
    value("1.08", "- 5", -5),
    value("1.08", "2 - -5", 7),
    refused("1.08", "0x1F", 1, "followed by a letter"),
    refused("1.08", "TRUE", 1, "found TRUE"),
    refused("1.08", ".", 1, "expected an expression"),
    # 1.09 comments
    Case("1.09", "SELECT--x\nband --'\"(\nFROM test.--DROP\nbands", [B, V, Z]),
    value("1.09", "1--2\n+3", 4),
    refused("1.09", "/* x */ band", 1, "expected an expression"),
    # 1.10 separators
    Case("1.10", "SELECT test\n.\tbands . band FROM test --c\n . bands", [B, V, Z]),
    value("1.10", "ABS ( -2 )", 2.0),
    Case("1.10", "SELECT(band)FROM(SELECT\"band\"FROM test.bands)AS q", [B, V, Z]),
    Case("1.10", "SELECTband FROM test.bands", Refused(1, "expected")),
    # 1.11 terminator
    Case("1.11", "SELECT band FROM test.bands ;", [B, V, Z]),
    Case("1.11", "SELECT band FROM test.bands;;", Refused(29, "expected the end")),
    Case("1.11", "SELECT band FROM test.bands; SELECT 1 FROM test.bands", Refused(30, "expected the end")),
    # 2.01 the whole
    Case("2.01", "WITH q AS (SELECT band FROM test.bands) SELECT band FROM q UNION SELECT band FROM q ORDER BY band OFFSET 1", [V, Z]),
    Case("2.01", "SELECT band FROM test.bands OFFSET 1 ORDER BY band", Refused(38, "found ORDER")),
    # 2.02 SELECT
    Case("2.02", "SELECT DISTINCT TOP 5 band FROM test.stars WHERE id < 4 GROUP BY band HAVING COUNT(*) > 0 ORDER BY band", [B, V]),
    Case("2.02", "SELECT ALL TOP 2 band FROM test.bands ORDER BY band", [B, V]),
    Case("2.02", "SELECT TOP 2 DISTINCT band FROM test.bands", Refused(14, "found DISTINCT")),
    Case("2.02", "SELECT DISTINCT band FROM test.stars WHERE band IS NOT NULL", [B, V]),
    # 2.03 FROM
    Case("2.03", "SELECT 1", Refused(9, "FROM")),
    Case("2.03", "SELECT band WHERE 1 = 1", Refused(13, "found WHERE")),
    # 2.04 list
    Case("2.04", "SELECT * FROM test.bands WHERE band = 'B'", [("B", 440.0, 1)]),
    Case("2.04", "SELECT bands.*, wavelength / 2 FROM test.bands WHERE band = 'B'", [("B", 440.0, 1, 220.0)]),
    Case("2.04", "SELECT test.bands.* FROM test.bands WHERE band = 'B'", [("B", 440.0, 1)]),
    refused("2.04", "band, *", 7, "found *"),
    refused("2.04", "*, band", 2, "found ,"),
    # 2.05 alias
    Case("2.05", "SELECT band AS x, wavelength y FROM test.bands b WHERE b.band = 'B'", [("B", 440.0)]),
    # 2.06 TOP
    Case("2.06", "SELECT TOP 0 band FROM test.bands", []),
    Case("2.06", "SELECT band FROM (SELECT TOP 1 band FROM test.bands ORDER BY band DESC) AS q", [Z]),
    Case("2.06", "SELECT TOP 1 band FROM test.bands WHERE band = 'z' UNION SELECT TOP 1 band FROM test.bands WHERE band = 'B'", [B, Z]),
    Case("2.06", "SELECT TOP -1 band FROM test.bands", Refused(12, "found -")),
    Case("2.06", "SELECT TOP 1.5 band FROM test.bands", Refused(12, "whole number of rows")),
    # 2.07, 2.08 order
    Case("2.07", "SELECT wavelength, band, wavelength AS w FROM test.bands WHERE band = 'B'", [(440.0, "B", 440.0)]),
    Case("2.08", "SELECT band FROM test.bands", [Z, V, B]),
    # 2.09 table names
    Case("2.09", "SELECT band FROM test.bands AS b WHERE b.band = 'B'", [B]),
    Case("2.09", "SELECT band FROM test.bands b WHERE test.bands.band = 'B'", Refused(37, "no table test.bands")),
    Case("2.09", "SELECT band FROM here.test.bands", Refused(18, "no table")),
    Case("2.09", "SELECT band FROM bands", Refused(18, "did you mean test.bands?")),
    # 2.10 derived tables
    Case("2.10", "SELECT q.band FROM (SELECT band FROM test.bands) q WHERE band < 'Z'", [B, V]),
    Case("2.10", "SELECT band FROM (SELECT band FROM test.bands)", Refused(47, "expected")),
    # 2.11 subqueries
    Case("2.11", "SELECT id FROM test.stars WHERE band IN (SELECT band FROM test.bands WHERE wavelength < 500)", [(2,)]),
    Case("2.11", "SELECT id FROM test.stars WHERE id = (SELECT 1 FROM test.bands)", Refused(39, "found SELECT")),
    refused("2.11", "(SELECT 1 FROM test.bands)", 2, "found SELECT"),
    # 2.12 joins
    Case("2.12", "SELECT id FROM test.stars NATURAL JOIN test.bands", [(1,), (2,), (3,)]),
    Case("2.12", "SELECT id FROM test.stars NATURAL LEFT OUTER JOIN test.bands", [(1,), (2,), (3,), (4,)]),
    Case("2.12", "SELECT s.id FROM test.stars AS s INNER JOIN test.bands AS b ON s.band = b.band AND b.wavelength > 500", [(1,), (3,)]),
    Case("2.12", "SELECT band, id FROM test.stars RIGHT OUTER JOIN test.bands USING (band) WHERE band = 'z'", [("z", None)]),
    Case("2.12", "SELECT id, band FROM test.stars FULL JOIN test.bands USING (band) WHERE id IS NULL OR band IS NULL", [(None, "z"), (4, None)]),
    Case("2.12", "SELECT COUNT(*) FROM test.stars, test.bands", [(12,)]),
    Case("2.12", "SELECT t.id FROM test.stars AS t JOIN (test.stars AS s JOIN test.bands AS b ON s.band = b.band) ON t.id = s.id WHERE b.band = 'B'", [(2,)]),
    Case("2.12", "SELECT band FROM test.bands CROSS JOIN test.stars", Refused(29, "found CROSS")),
    # 2.13 join condition
    Case("2.13", "SELECT id FROM test.stars JOIN test.bands", Refused(27, "expected ON or USING")),
    # 2.14 conditions
    Case("2.14", "SELECT id FROM test.stars WHERE NOT (id = 1 OR id = 2) AND (id < 4)", [(3,)]),
    Case("2.14", "SELECT id FROM test.stars WHERE id = 1 OR id = 2 AND id = 3", [(1,)]),
    Case("2.14", "SELECT band FROM test.stars GROUP BY band HAVING NOT COUNT(*) = 1", [V]),
    Case("2.14", "SELECT id FROM test.stars WHERE NOT lon > 100", [(1,), (2,)]),
    # 2.15 GROUP BY
    Case("2.15", "SELECT band, MAX(id) FROM test.stars GROUP BY band", [("B", 2), ("V", 3), (None, 4)]),
    Case("2.15", "SELECT id / 2, COUNT(*) FROM test.stars GROUP BY id / 2", [(0, 1), (1, 2), (2, 1)]),
    Case("2.15", "SELECT id FROM test.stars GROUP BY band", Refused(8, "expected id in GROUP BY")),
    # 2.16 ORDER BY
    Case("2.16", "SELECT band, wavelength FROM test.bands ORDER BY 2 DESC", [("z", 900.0), ("V", 550.0), ("B", 440.0)]),
    Case("2.16", "SELECT b.band FROM test.bands b ORDER BY b.wavelength DESC, b.band ASC", [Z, V, B]),
    Case("2.16", "SELECT band FROM test.bands ORDER BY ABS(wavelength - 550), band", [V, B, Z]),
    Case("2.16", "SELECT band FROM test.bands ORDER BY band NULLS LAST", Refused(43, "found NULLS")),
    Case("2.16", "SELECT band FROM test.bands ORDER BY 2", Refused(38, "position of 1 to 1")),
    # 2.17 column references
    Case("2.17", "SELECT test.bands.band, bands.wavelength FROM test.bands WHERE band = 'B'", [("B", 440.0)]),
    Case("2.17", "SELECT a.id FROM test.stars AS a, test.stars AS b WHERE a.id = b.id AND b.id = 1", [(1,)]),
    Case("2.17", "SELECT band FROM test.stars, test.bands", Refused(8, "ambiguous")),
    # 2.18 comparison
    *(Case("2.18", f"SELECT id FROM test.stars WHERE id {op} 2 AND id < 4", [(i,) for i in found])
      for op, found in (("=", [2]), ("!=", [1, 3]), ("<>", [1, 3]), ("<", [1]), (">", [3]), ("<=", [1, 2]), (">=", [2, 3]))),
    Case("2.18", "SELECT band FROM test.bands WHERE band < 'a'", [B, V]),
    Case("2.18", "SELECT id FROM test.frames WHERE started = '2024-01-03T12:34:56.5' AND id < 28", [(2,)]),
    Case("2.18", "SELECT id FROM test.stars WHERE id = 'a'", Refused(33, "cannot compare")),
    # 2.19 BETWEEN
    Case("2.19", "SELECT id FROM test.stars WHERE id BETWEEN 2 AND 3", [(2,), (3,)]),
    Case("2.19", "SELECT id FROM test.stars WHERE id NOT BETWEEN id - 1 AND 5 - id", [(3,), (4,)]),
    Case("2.19", "SELECT id FROM test.stars WHERE id BETWEEN 3 AND 2", []),
    # 2.20 IN
    Case("2.20", "SELECT id FROM test.stars WHERE id IN (4)", [(4,)]),
    Case("2.20", "SELECT id FROM test.stars WHERE id NOT IN (4, 1 + 1)", [(1,), (3,)]),
    Case("2.20", "SELECT band FROM test.bands WHERE band NOT IN (SELECT band FROM test.stars WHERE id < 4)", [Z]),
    Case("2.20", "SELECT id FROM test.stars WHERE id IN ()", Refused(40, "found )")),
    # 2.21 LIKE
    Case("2.21", "SELECT id FROM test.frames WHERE name LIKE 'frame_07'", [(7,), (107,), (207,), (307,), (407,)]),
    Case("2.21", "SELECT id FROM test.frames WHERE name LIKE '%e007'", [(7,)]),
    Case("2.21", "SELECT band FROM test.bands WHERE band LIKE 'b'", []),
    Case("2.21", "SELECT band FROM test.bands WHERE band NOT LIKE '%'", []),
    Case("2.21", "SELECT band FROM test.bands WHERE 'a\\b' LIKE 'a\\b' AND band = 'B'", [B]),
    Case("2.21", "SELECT band FROM test.bands WHERE band LIKE 'B' ESCAPE '!'", Refused(49, "found ESCAPE")),
    # 2.22 ILIKE
    Case("2.22", "SELECT band FROM test.bands WHERE band ILIKE 'b'", [B]),
    Case("2.22", "SELECT band FROM test.bands WHERE band NOT ILIKE '_' OR band ILIKE 'Z%'", [Z]),
    # 2.23 IS NULL
    Case("2.23", "SELECT id FROM test.stars WHERE band IS NULL", [(4,)]),
    Case("2.23", "SELECT id FROM test.stars AS s WHERE s.band IS NOT NULL", [(1,), (2,), (3,)]),
    Case("2.23", "SELECT id FROM test.stars WHERE lon + lat IS NULL", [(4,)]),
    # 2.24 EXISTS
    Case("2.24", "SELECT band FROM test.bands b WHERE NOT EXISTS (SELECT * FROM test.stars s WHERE s.band = b.band)", [Z]),
    # 2.25 arithmetic
    value("2.25", "2 + 3 * 4 - 6 / 2", 11),
    value("2.25", "-(2 + 3) * +4", -20),
    value("2.25", "2 - 3 - 4", -5),
    value("2.25", "8 / 4 / 2.0", 1.0),
    refused("2.25", "7 % 2", 3, "% has no meaning"),
    refused("2.25", "1 + 'a'", 5, "expected a number, found a string"),
    # 2.26 concatenation
    value("2.26", "'a' || 'b' || band", "abB"),
    refused("2.26", "'a' || 1", 8, "expected a string, found a number"),
    # 2.27 NULL
    value("2.27", "NULL", None),
    value("2.27", "COALESCE(NULL, 1 + NULL, 3)", 3.0),
    Case("2.27", "SELECT band FROM test.bands WHERE band = NULL", []),
    # 2.28 what is absent
    refused("2.28", "CASE WHEN 1 = 1 THEN 2 END", 1, "found CASE"),
    Case("2.28", "SELECT band FROM test.bands WHERE 1 = 1 IS TRUE", Refused(41, "found IS")),
    refused("2.28", "1 | 2", 3, "| has no meaning"),
    refused("2.28", "MAX(band) OVER (ORDER BY band)", 16, "found ("),
    Case("2.28", "SELECT band FROM test.bands LIMIT 5", Refused(35, "found 5")),
    Case("2.28", "SELECT id FROM test.stars WHERE id = ANY (SELECT id FROM test.stars)", Refused(38, "found ANY")),
    Case("2.28", "SELECT id FROM test.stars WHERE (id, 1) = (1, 1)", Refused(36, "found ,")),
    # 2.29 aggregates
    Case("2.29", "SELECT COUNT(*), COUNT(lon), COUNT(ALL band), COUNT(DISTINCT band) FROM test.stars", [(4, 3, 3, 2)]),
    Case("2.29", "SELECT AVG(id), MAX(id), MIN(id), SUM(id), SUM(DISTINCT id / 2), AVG(DISTINCT id / 2) FROM test.stars", [(2.5, 4, 1, 10, 3, 1.0)]),
    Case("2.29", "SELECT SUM(lon), COUNT(*) FROM test.stars WHERE id > 4", [(None, 0)]),
    # 3.01
    value("3.01", "ABS(-2.5)", 2.5), value("3.01", "CEILING(1.2)", 2.0), value("3.01", "FLOOR(-1.2)", -2.0),
    value("3.01", "EXP(0)", 1.0), value("3.01", "SQRT(9)", 3.0), value("3.01", "DEGREES(PI())", 180.0),
    value("3.01", "RADIANS(90)", math.pi / 2),
    # 3.02
    value("3.02", "LOG(EXP(2))", 2.0), value("3.02", "LOG10(0.01)", -2.0),
    refused("3.02", "LOG(2, 8)", 1, "expected 1 argument, found 2"),
    # 3.03: 7 - 3*2, -7 + 3*2, 7.5 - 2*3
    value("3.03", "MOD(7, 3)", 1.0), value("3.03", "MOD(-7, 3)", -1.0), value("3.03", "MOD(7.5, -2)", 1.5),
    # 3.04
    value("3.04", "POWER(2, -1)", 0.5), value("3.04", "PI()", math.pi),
    # 3.05
    Case("3.05", "SELECT band FROM test.bands WHERE RAND() >= 0 AND RAND(3) < 1", [B, V, Z]),
    # 3.06
    value("3.06", "ROUND(2.4)", 2.0), value("3.06", "ROUND(-1.26, 1)", -1.3), value("3.06", "ROUND(1250, -3)", 1000.0),
    value("3.06", "TRUNCATE(-1.9)", -1.0), value("3.06", "TRUNCATE(1.29, 1)", 1.2), value("3.06", "TRUNCATE(1999, -3)", 1000.0),
    # 3.07
    value("3.07", "ACOS(-1)", math.pi), value("3.07", "ASIN(-1)", -math.pi / 2), value("3.07", "ATAN(-1)", -math.pi / 4),
    value("3.07", "ATAN2(1, -1)", 3 * math.pi / 4), value("3.07", "ATAN2(-1, 0)", -math.pi / 2),
    value("3.07", "COS(PI())", -1.0), value("3.07", "SIN(PI() / 6)", 0.5), value("3.07", "TAN(PI() / 4)", 1.0),
    # 3.08
    value("3.08", "COT(PI() / 4)", 1.0), refused("3.08", "cot", 5, "cot is a reserved word"),
]  # fmt: skip

#: Rows that a test of its own shows.
ELSEWHERE = {"1.06": "test_published_names_need_no_quotes"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_row(sky: Sky, case: Case) -> None:
    check(sky, case)


@pytest.mark.parametrize("section", [1, 2, 3])
def test_every_row_of_a_section_has_a_case(section: int) -> None:
    rows = {case.row for case in CASES} | set(ELSEWHERE)
    assert set(rows_of_section(section)) == {r for r in rows if r.startswith(f"{section}.")}


def test_published_names_need_no_quotes() -> None:
    """1.06; the exceptions are names that TAP prescribes."""
    for table in PUBLISHED.tables:
        for column in table.columns:
            if table.name.startswith("tap_schema."):
                continue
            assert column.name == column.name.lower()
            assert column.name.upper() not in RESERVED


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_a_reserved_word_is_no_name_without_quotes(sky: Sky, word: str) -> None:
    with pytest.raises(QueryError):
        translate(f"SELECT band AS {word} FROM test.bands", CATALOG)
    assert sky.column(
        f'SELECT "{word}" FROM (SELECT band AS "{word}" FROM test.bands WHERE band = \'B\') AS q'
    ) == ["B"]
