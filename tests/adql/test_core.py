"""SELECT, WHERE, joins, grouping, ordering: rows out of a real database."""
# ruff: noqa: E501 - a query and its rows read best on one line

from __future__ import annotations

from typing import Any

import pytest

from tests.adql.sky import FRAMES, STARS, Sky

N = len(FRAMES)
BANDS = "test.bands"

#: Query and the rows it gives, in order.
ROWS: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("SELECT band FROM test.bands ORDER BY band", [("B",), ("V",), ("z",)]),
    ("SELECT TOP 2 band FROM test.bands ORDER BY band DESC", [("z",), ("V",)]),
    ("SELECT TOP 0 band FROM test.bands", []),
    ("select BAND from TEST.Bands order by Band offset 2", [("z",)]),
    ("SELECT band FROM test.bands ORDER BY 1 OFFSET 99", []),
    ("SELECT TOP 1 band FROM test.bands ORDER BY 1 OFFSET 1", [("V",)]),
    ("SELECT b.band FROM test.bands AS b WHERE b.wavelength > 500 ORDER BY b.wavelength", [("V",), ("z",)]),
    ("SELECT bands.band FROM test.bands WHERE test.bands.wavelength = 440", [("B",)]),
    ("SELECT test . bands . band FROM test . bands WHERE band='B' -- the end", [("B",)]),
    ('SELECT "Mixed Case" FROM test.bands WHERE "band" = \'V\'', [(2,)]),
    ('SELECT "size" FROM tap_schema.columns ORDER BY column_name', [(20,), (None,)]),
    ('SELECT band AS "a ""b" FROM test.bands ORDER BY "a ""b" DESC', [("z",), ("V",), ("B",)]),
    ("SELECT * FROM test.bands WHERE band='B'", [("B", 440.0, 1)]),
    ("SELECT b.*, b.band AS again FROM test.bands b WHERE band='B'", [("B", 440.0, 1, "B")]),
    ("SELECT band FROM test.bands WHERE wavelength BETWEEN 440 AND 550 ORDER BY 1", [("B",), ("V",)]),
    ("SELECT band FROM test.bands WHERE wavelength NOT BETWEEN 440 AND 550", [("z",)]),
    ("SELECT band FROM test.bands WHERE band IN ('B', 'z') ORDER BY 1", [("B",), ("z",)]),
    ("SELECT band FROM test.bands WHERE band NOT IN ('B')  ORDER BY 1", [("V",), ("z",)]),
    ("SELECT band FROM test.bands WHERE band LIKE '_' AND band NOT LIKE 'b' AND band ILIKE 'b'", [("B",)]),
    ("SELECT band FROM test.bands WHERE NOT (wavelength < 500 OR band = 'z')", [("V",)]),
    ("SELECT band FROM test.bands WHERE wavelength < 500 OR wavelength > 800 AND band = 'q'", [("B",)]),
    ("SELECT band FROM test.bands WHERE band <> 'B' AND band != 'z'", [("V",)]),
    ("SELECT id FROM test.stars WHERE lon IS NULL", [(4,)]),
    ("SELECT id FROM test.stars WHERE lon IS NOT NULL AND lat > 0 ORDER BY id", [(1,), (2,)]),
    ("SELECT id FROM test.stars WHERE NOT (lon > 100)  ORDER BY id", [(1,), (2,)]),
    ("SELECT id FROM test.stars WHERE lon = NULL", []),
    ("SELECT DISTINCT band FROM test.stars WHERE band IS NOT NULL ORDER BY band", [("B",), ("V",)]),
    ("SELECT ALL band FROM test.stars WHERE band = 'V'", [("V",), ("V",)]),
    ("SELECT COUNT(*), COUNT(band), COUNT(DISTINCT band) FROM test.stars", [(4, 3, 2)]),
    ("SELECT MIN(lon), MAX(lon), SUM(id), AVG(id) FROM test.stars", [(10.0, 200.0, 10, 2.5)]),
    ("SELECT band, COUNT(*) AS n FROM test.stars GROUP BY band HAVING COUNT(*) > 1", [("V", 2)]),
    ("SELECT band, COUNT(*) AS n FROM test.stars WHERE band > '' GROUP BY band ORDER BY n DESC, 1", [("V", 2), ("B", 1)]),
    ("SELECT MOD(id, 2) AS odd, COUNT(*) FROM test.stars GROUP BY odd ORDER BY odd", [(0.0, 2), (1.0, 2)]),
    ("SELECT id / 2 + 1 FROM test.stars GROUP BY id / 2 ORDER BY id / 2", [(1,), (2,), (3,)]),
    ("SELECT MAX(id) FROM test.stars HAVING COUNT(*) > 10", []),
    ("SELECT id FROM test.stars ORDER BY lat, id DESC", [(3,), (2,), (1,), (4,)]),
    ("SELECT id FROM test.stars ORDER BY -id", [(4,), (3,), (2,), (1,)]),
    ("SELECT DISTINCT id AS x FROM test.stars ORDER BY id DESC", [(4,), (3,), (2,), (1,)]),
    ("SELECT id, 'a''b' || band FROM test.stars WHERE id < 3 ORDER BY id", [(1, "a'bV"), (2, "a'bB")]),
    ("SELECT 7 / 2, 7 / 2., -7 / 2, 2 + 3 * 4 - 1, (2 + 3) * 4 FROM test.bands WHERE band='B'", [(3, 3.5, -3, 13, 20)]),
    ("SELECT id - (2 - 1), 8 / (id / 1), -(-id), id - -1 FROM test.stars WHERE id = 2", [(1, 4, 2, 3)]),
    ("SELECT s.id, b.wavelength FROM test.stars AS s JOIN test.bands AS b ON s.band = b.band ORDER BY 1", [(1, 550.0), (2, 440.0), (3, 550.0)]),
    ("SELECT s.id, b.band FROM test.stars s LEFT OUTER JOIN test.bands b ON s.band = b.band ORDER BY id", [(1, "V"), (2, "B"), (3, "V"), (4, None)]),
    ("SELECT band, id FROM test.stars RIGHT JOIN test.bands USING (band) ORDER BY band, id", [("B", 2), ("V", 1), ("V", 3), ("z", None)]),
    ("SELECT band, id FROM test.stars FULL JOIN test.bands USING (band) ORDER BY band, id", [("B", 2), ("V", 1), ("V", 3), ("z", None), (None, 4)]),
    ("SELECT band, wavelength, id FROM test.stars NATURAL JOIN test.bands WHERE id = 1", [("V", 550.0, 1)]),
    ("SELECT * FROM (SELECT id, band FROM test.stars) AS s NATURAL JOIN (SELECT band, wavelength AS w FROM test.bands) AS b WHERE id=2", [("B", 2, 440.0)]),
    ("SELECT s.id, t.id FROM test.stars s, test.stars t WHERE s.id = t.id + 3", [(4, 1)]),
    ("SELECT s.id FROM (test.stars s JOIN test.bands b ON s.band = b.band) INNER JOIN test.stars t ON t.id = s.id AND t.id = 1", [(1,)]),
    ("SELECT q.n FROM (SELECT COUNT(*) AS n FROM test.stars) AS q", [(4,)]),
    ("SELECT id FROM test.stars WHERE band IN (SELECT band FROM test.bands WHERE wavelength < 500)", [(2,)]),
    ("SELECT id FROM test.stars WHERE id NOT IN (SELECT id FROM test.stars WHERE id > 1)", [(1,)]),
    ("SELECT band FROM test.bands b WHERE NOT EXISTS (SELECT * FROM test.stars s WHERE s.band = b.band)", [("z",)]),
    ("SELECT band FROM test.bands b WHERE EXISTS (SELECT 1 FROM test.stars s WHERE EXISTS (SELECT 1 FROM test.stars t WHERE t.id = s.id AND t.band = b.band AND t.id = 2))", [("B",)]),
    ("WITH x AS (SELECT band, id FROM test.stars), y AS (SELECT band AS c FROM x WHERE id = 2) SELECT a.id FROM x AS a JOIN y ON a.band = y.c", [(2,)]),
    ("SELECT band FROM test.stars UNION SELECT band FROM test.bands ORDER BY band", [("B",), ("V",), ("z",), (None,)]),
    ("SELECT band FROM test.bands EXCEPT SELECT band FROM test.stars", [("z",)]),
    ("SELECT band FROM test.bands INTERSECT SELECT band FROM test.stars ORDER BY 1", [("B",), ("V",)]),
    ("SELECT 1 AS a FROM test.bands UNION ALL SELECT 2 FROM test.bands WHERE band='B' ORDER BY a DESC", [(2,), (1,), (1,), (1,)]),
    # INTERSECT first: B, V, z without (B, V of stars) is z; from the left it would be nothing.
    ("SELECT band FROM test.bands EXCEPT SELECT band FROM test.stars INTERSECT SELECT band FROM test.bands", [("z",)]),
    ("SELECT band FROM test.bands UNION (SELECT band FROM test.stars EXCEPT SELECT band FROM test.stars) ORDER BY 1 OFFSET 1", [("V",), ("z",)]),
    ("(SELECT TOP 1 band FROM test.bands ORDER BY band) UNION (SELECT TOP 1 band FROM test.bands ORDER BY band DESC) ORDER BY 1", [("B",), ("z",)]),
    ("SELECT TOP 1 band FROM test.bands WHERE band='z' UNION SELECT TOP 1 band FROM test.bands WHERE band='B' ORDER BY band", [("B",), ("z",)]),
    ("SELECT id FROM test.stars WHERE id < 2 UNION SELECT wavelength FROM test.bands WHERE band='B' ORDER BY id", [(1.0,), (440.0,)]),
    ("SELECT NULL AS a FROM test.bands WHERE band='B' UNION SELECT 5 FROM test.bands", [(5,), (None,)]),
    ("SELECT a.band FROM (SELECT band FROM test.bands UNION SELECT band FROM test.stars) AS a WHERE a.band = 'z'", [("z",)]),
    ("SELECT CAST(lon AS INTEGER), CAST('12' AS SMALLINT), CAST(id AS VARCHAR), CAST(id AS REAL), CAST('abc' AS CHAR(2)) FROM test.stars WHERE id=2", [(10, 12, "2", 2.0, "ab")]),
    ("SELECT COALESCE(lon, -1), COALESCE(band, 'none'), COALESCE(NULL, id) FROM test.stars WHERE id = 4", [(-1.0, "none", 4)]),
    ("SELECT LOWER(band), UPPER(band) FROM test.bands WHERE LOWER(band) = 'v'", [("v", "V")]),
    ("SELECT IN_UNIT(wavelength, 'um'), IN_UNIT(wavelength * 2, 'Angstrom') FROM test.bands WHERE band='V'", [(pytest.approx(0.55), pytest.approx(11000.0))]),
    ("SELECT started FROM test.frames WHERE id = 3", [("2024-01-04T12:34:56.5",)]),
    ("SELECT CAST('2024-01-04' AS TIMESTAMP) FROM test.bands WHERE band='B'", [("2024-01-04T00:00:00",)]),
    ("SELECT COUNT(*) FROM test.frames WHERE started < '2024-01-02T00:00:00'", [(len([f for f in FRAMES if f.id % 28 == 0]),)]),
    ("SELECT samples FROM test.stars WHERE id = 1", [([1.0, 2.5],)]),
    ("SELECT good FROM test.frames WHERE id = 2", [(True,)]),
    ("SELECT id FROM test.frames WHERE good = 1 AND id < 3 ORDER BY id", [(0,), (2,)]),
    ("SELECT outline FROM test.frames WHERE id = 2", [("POLYGON ICRS 2",)]),
    ("SELECT band FROM test.bands WHERE band LIKE '\\_' OR band LIKE 'B%';", [("B",)]),
    ("SELECT band FROM test.bands WHERE band = 'it''s 100%' OR band = '--' OR band = 'B' -- 'x", [("B",)]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "rows"), ROWS, ids=[query for query, _ in ROWS])
def test_query_gives_rows(sky: Sky, query: str, rows: list[tuple[Any, ...]]) -> None:
    if "ORDER BY" in query.upper():
        assert sky.rows(query) == rows
    else:
        assert (
            sorted(map(repr, sky.rows(query))) == sorted(map(repr, rows)) or sky.rows(query) == rows
        )


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT band FROM test.bands", 2),
        ("SELECT TOP 1 band FROM test.bands", 1),
        ("SELECT band FROM test.bands UNION SELECT band FROM test.stars", 2),
        ("(SELECT TOP 3 band FROM test.bands)", 2),
        ("SELECT band FROM (SELECT band FROM test.bands) AS b", 2),
    ],
)
def test_limit_holds_for_the_outermost_query(sky: Sky, query: str, rows: int) -> None:
    assert len(sky.rows(query, limit=2)) == rows


def test_limit_does_not_reach_into_subqueries(sky: Sky) -> None:
    query = "SELECT COUNT(*) FROM (SELECT band FROM test.bands) AS b"
    assert sky.rows(query, limit=1) == [(3,)]


def test_star_shows_published_columns_only(sky: Sky) -> None:
    fields = sky.translated("SELECT * FROM test.frames").fields
    assert [field.name for field in fields][-2:] == ["outline", "size"]
    assert len(fields) == 13


def test_tables_read_are_named_once(sky: Sky) -> None:
    query = "WITH x AS (SELECT * FROM test.bands) SELECT x.band FROM x, test.stars AS a, test.stars AS b"
    assert sky.translated(query).tables == ("test.bands", "test.stars")


def test_null_position_is_neither_inside_nor_outside(sky: Sky) -> None:
    cone = "CONTAINS(POINT(lon, lat), CIRCLE(10, 20, 1))"
    for test in (f"{cone} = 1", f"{cone} = 0", f"NOT (1 = {cone})"):
        assert STARS[3][0] not in sky.column(f"SELECT id FROM test.stars WHERE {test}")
