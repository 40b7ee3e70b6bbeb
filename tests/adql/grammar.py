"""Random queries from the grammar of ADQL, for hypothesis: right, slightly wrong, or forbidden.

Types fit more often than not. Tables are ``ivoa.obscore`` as o and p, and some that nobody may
read.
"""
# ruff: noqa: E501 - a rule reads best on one line

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["CONDITIONS", "QUERIES", "mutated"]


def rule(template: str, **parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(template.format, **parts)


def one(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


_TEXT = one(
    "o.obs_id", "p.dataproduct_type", "o.target_name", "'a%'", "'3:4:5'", "''", "o.s_region"
)
_NUMBER = one(
    "o.s_ra",
    "o.s_dec",
    "p.s_fov",
    "o.calib_level",
    "p.t_min",
    "p.s_ra",
    "0",
    "1",
    "2.5",
    "-3",
    "89.9",
    "NULL",
)
# What follows refers to itself, as the grammar does.
_inner_points: st.SearchStrategy[str] = st.deferred(lambda: _points)
_inner_shapes: st.SearchStrategy[str] = st.deferred(lambda: _shapes)
_numbers: st.SearchStrategy[str] = st.recursive(
    _NUMBER,
    lambda inner: st.one_of(
        rule("({a} {op} {b})", a=inner, op=one("+", "-", "*", "/"), b=inner),
        rule(
            "{f}({a})", f=one("ABS", "SIN", "SQRT", "LOG", "FLOOR", "EXP", "ACOS", "ROUND"), a=inner
        ),
        rule(
            "{f}({a}, {b})",
            f=one("MOD", "POWER", "ATAN2", "COALESCE", "ivo_normal_random"),
            a=inner,
            b=inner,
        ),
        rule("CAST({a} AS {t})", a=inner, t=one("INTEGER", "REAL", "DOUBLE PRECISION", "BIGINT")),
        rule("ivo_healpix_index({o}, {p})", o=one("0", "12", "29", "30"), p=_inner_points),
        rule("ivo_interval_overlaps({a}, {b}, {a}, 1)", a=inner, b=inner),
        rule("ivo_{f}({t})", f=one("hms_to_degrees", "dms_to_degrees"), t=_TEXT),
        rule("ivo_{f}({t}, {t})", f=one("hasword", "nocasematch", "hashlist_has"), t=_TEXT),
        rule("{f}({s})", f=one("AREA", "COORD1", "COORD2"), s=_inner_shapes),
        one("IN_UNIT(o.s_ra, 'rad')", "ivo_to_mjd('2000-01-01')", "1e300", "PI()", "RAND()"),
    ),
    max_leaves=3,
)
_points: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        one(
            "POINT(o.s_ra, o.s_dec)",
            "POINT(p.s_ra, p.s_dec)",
            "CENTROID(o.s_region)",
            "POINT(10, 20)",
            "CAST('10 20' AS POINT)",
        ),
        rule("POINT({s}{a}, {b})", s=one("", "'ICRS', "), a=_numbers, b=_numbers),
        rule("ivo_healpix_center({o}, {n})", o=one("0", "3"), n=one("5", "o.calib_level")),
        rule(
            "ivo_epoch_prop_pos({a}, {b}, 10, 3, {a}, NULL, 2000, {b})",
            a=one("o.s_ra", "1"),
            b=one("o.s_dec", "2"),
        ),
        rule(
            "ivo_geom_transform('{a}', '{b}', {p})",
            a=one("ICRS", "FK5", "GALACTIC"),
            b=one("ICRS", "ECLIPTIC", "FK4"),
            p=_points,
        ),
    )
)
_regions = st.one_of(
    rule(
        "CIRCLE({p}, {r})",
        p=_points,
        r=st.one_of(one("0.5", "1", "89", "91", "180", "p.s_fov", "-1"), _numbers),
    ),
    rule("CIRCLE({a}, {b}, {r})", a=_numbers, b=_numbers, r=one("0.1", "120", "o.s_fov")),
    rule("BOX({p}, {a}, {b})", p=_points, a=one("1", "20"), b=one("1", "o.s_fov")),
    rule("POLYGON({p}, POINT(1, 2), {q})", p=_points, q=_points),
    one(
        "o.s_region",
        "p.s_region",
        "REGION('CIRCLE ICRS 10 20 1')",
        "POLYGON(9, 19, 11, 19, 10, 21)",
    ),
    one(
        "MOC('4/30-33 5/12')",
        "MOC('3/')",
        "MOC(6, CIRCLE(o.s_ra, o.s_dec, 1))",
        "MOC(8, o.s_region)",
        "MOC('29/9999')",
    ),
    one("ivo_geom_transform('ICRS', 'GALACTIC', o.s_region)"),
)
_shapes: st.SearchStrategy[str] = st.one_of(_points, _regions)
_tests = rule("{f}({a}, {b})", f=one("CONTAINS", "INTERSECTS"), a=_shapes, b=_regions)
_distances = rule("DISTANCE({a}, {b})", a=_points, b=_points)
_measures = st.one_of(_numbers, _tests, _distances)
_strings = st.one_of(
    _TEXT,
    rule("{f}({t})", f=one("LOWER", "UPPER"), t=_TEXT),
    rule("({a} || {b})", a=_TEXT, b=_TEXT),
    rule("CAST({a} AS {t})", a=_numbers, t=one("VARCHAR", "CHAR(3)")),
    rule("COORDSYS({s})", s=_shapes),
)
_values = st.one_of(_measures, _strings, _shapes)
_aggregates = st.one_of(
    one("COUNT(*)", "COUNT(DISTINCT o.obs_id)"),
    rule("{f}({a})", f=one("MAX", "MIN", "AVG", "SUM", "COUNT"), a=_measures),
    rule("ivo_histogram({a}, 0, 360, 4)", a=_numbers),
    rule("ivo_string_agg({a}, '-')", a=_strings),
)
_FROM = st.one_of(
    one(
        "ivoa.obscore AS o, ivoa.obscore AS p",
        "ivoa.obscore AS o JOIN ivoa.obscore AS p ON o.obs_id = p.obs_id",
        "ivoa.obscore o LEFT JOIN ivoa.obscore p ON o.calib_level < p.calib_level",
        "ivoa.obscore o NATURAL JOIN ivoa.obscore p",
        "(SELECT * FROM ivoa.obscore) AS o, (ivoa.obscore p JOIN tap_schema.tables t ON t.table_index = p.calib_level)",
        "ivoa.obscore p, (SELECT * FROM ivoa.obscore UNION ALL SELECT * FROM ivoa.obscore) AS o",
        "x AS o, ivoa.obscore p",
    ),
    one(
        "ivoa.obscore o",
        "archive.observation o, ivoa.obscore p",
        "pg_catalog.pg_class",
        "tap_upload.t",
    ),
    rule("ivoa.obscore AS o JOIN ivoa.obscore AS p ON {c}", c=st.deferred(lambda: _conditions)),
)
_conditions: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        rule("{a} {op} {b}", a=_measures, op=one("=", "<", "<=", ">", "<>"), b=_measures),
        rule("{n} {op} {t}", n=one("0", "1"), op=one("=", "<>", "<", ">"), t=_tests),
        rule(
            "{d} {op} {r}",
            d=_distances,
            op=one("<", ">", "=", "<="),
            r=one("1", "o.s_fov", "p.s_fov", "100"),
        ),
        rule("{a} {n}BETWEEN {b} AND {b}", a=_measures, n=one("", "NOT "), b=_numbers),
        rule("{a} {n} {b}", a=_strings, n=one("LIKE", "NOT LIKE", "ILIKE", ">", "="), b=_strings),
        rule("{a} IN ({b}, {b})", a=_numbers, b=_numbers),
        rule("{a} IS {n}NULL", a=_values, n=one("", "NOT ")),
        rule(
            "o.obs_id {n}IN (SELECT p.obs_id FROM ivoa.obscore AS p WHERE {c})",
            n=one("", "NOT "),
            c=_conditions,
        ),
        rule("EXISTS (SELECT 1 FROM ivoa.obscore AS p WHERE {c})", c=_conditions),
        rule("({a} {op} {b})", a=_conditions, op=one("AND", "OR"), b=_conditions),
        rule("NOT ({a})", a=_conditions),
    )
)
CONDITIONS = _conditions
_where = st.one_of(st.just(""), _conditions.map(" WHERE {}".format))
_items = st.one_of(
    one("*", "o.*", "o.s_ra, p.s_dec"),
    st.lists(
        rule("{v}{a}", v=_values, a=one("", " AS v", ' AS "a b"')), min_size=1, max_size=3
    ).map(", ".join),
)
_selects = st.one_of(
    rule(
        "SELECT {q}{t}{i} FROM {f}{w}",
        q=one("", "", "DISTINCT ", "ALL "),
        t=one("", "TOP 3 "),
        i=_items,
        f=_FROM,
        w=_where,
    ),
    rule(
        "SELECT {k}, {a} FROM {f}{w} GROUP BY {k}{h}",
        k=st.one_of(one("o.s_ra", "o.obs_id"), _measures),
        a=_aggregates,
        f=_FROM,
        w=_where,
        h=st.one_of(st.just(""), rule(" HAVING {a} > 1", a=_aggregates)),
    ),
    rule("SELECT {a}, {b} FROM {f}{w}", a=_aggregates, b=_aggregates, f=_FROM, w=_where),
)
_pairs = rule(
    "SELECT {a}, {b} FROM {f}{w} {op} SELECT {a}, {b} FROM {g}{w}",
    a=_measures,
    b=_strings,
    f=_FROM,
    g=_FROM,
    w=_where,
    op=one("UNION", "UNION ALL", "EXCEPT", "INTERSECT ALL"),
)
QUERIES = rule(
    "{w}{s}{o}",
    w=one(
        "",
        "WITH x AS (SELECT * FROM ivoa.obscore) ",
        "WITH x AS (SELECT * FROM ivoa.obscore), y AS (SELECT s_ra FROM x) ",
    ),
    s=st.one_of(_selects, _selects, _pairs),
    o=st.one_of(one("", "", " ORDER BY 1", " OFFSET 1"), _measures.map(" ORDER BY {}".format)),
)


def mutated(queries: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Queries in which a few characters are taken out, and others put in their place."""
    pieces = one(
        "", " ", "'", '"', "(", ")", ",", ";", "--", ".", "*", "NULL", "SELECT", "1e999", "\0", "\n",
        "é", "%s", "{}", "\\", "' OR '1'='1", "); DROP TABLE x; --", "$1", ":a", "\ud800",
    )  # fmt: skip

    def mutate(query: str, place: int, length: int, piece: str) -> str:
        place %= len(query) + 1
        return query[:place] + piece + query[place + length :]

    return st.builds(mutate, queries, st.integers(0, 10_000), st.integers(0, 9), pieces)
