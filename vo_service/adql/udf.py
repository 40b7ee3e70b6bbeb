"""Functions beyond ADQL, as one table: what is declared, what it means, what it becomes.

A new function is one entry. The ``ivo_`` ones mean what the catalogue says; none needs
anything in the database but PostgreSQL and pgSphere. Source: Catalogue of ADQL User Defined
Functions 1.2 (EN, 2024-11-07); ADQL 2.1, "User Defined Functions".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Integer,
    Text,
    and_,
    any_,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from vo_service.adql import frames, geometry, moc
from vo_service.adql import nodes as n
from vo_service.adql.calls import Arguments, Function, shape_value
from vo_service.adql.predicates import as_number
from vo_service.adql.sexagesimal import to_degrees
from vo_service.adql.values import DOUBLE, SQL_TYPES, Shape, Sql, Test, Value, typed

__all__ = ["USER_FUNCTIONS", "UserFunction", "is_aggregate"]

#: Days from JD 0 and from MJD 0 to 1970-01-01T00:00:00.
_JD_1970, _MJD_1970 = 2440587.5, 40587.0

#: km/s in an astronomical unit a Julian year.
_AU_PER_YEAR = 4.740470446

_MAX_BINS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFunction:
    """An entry of the table.

    *signatures* are in the form that TAPRegExt declares; an *aggregate* works on many rows.
    """

    signatures: tuple[str, ...]
    description: str
    call: Function
    aggregate: bool = False

    @property
    def name(self) -> str:
        """As it is declared."""
        return self.signatures[0].partition("(")[0]


def is_aggregate(node: n.Node) -> bool:
    """Whether a node is a function that makes one value of many rows."""
    if isinstance(node, n.Call):
        entry = USER_FUNCTIONS.get(node.name)
        return entry is not None and entry.aggregate
    return isinstance(node, n.Aggregate)


def _number(value: float) -> Sql:
    return literal(value, DOUBLE)


def _healpix_index(arguments: Arguments) -> Value:
    place, rest = Arguments(arguments.name, arguments.values[1:], arguments.at).position()
    if len(rest):
        arguments.fail("expected an order and a point, or an order, a longitude and a latitude")
    order = cast(arguments.number(0).sql, Integer())
    return typed(moc.cell(order, place.sql), "long", ucd="pos.healpix")


def _healpix_center(arguments: Arguments) -> Value:
    order, index = arguments.number(0), arguments.number(1)
    if arguments.values[1].kind in ("float", "double"):
        arguments.fail("expected an integer as index, as a float it would lose digits")
    sql = func.centre_of_healpix_nest(
        cast(order.sql, Integer()), cast(index.sql, SQL_TYPES["long"])
    )
    return shape_value(Shape(kind="point", sql=sql), ucd="pos.eq")


def _days(zero: float) -> Function:
    def build(arguments: Arguments) -> Value:
        value = arguments.values[0]
        if value.kind not in ("timestamp", "char", "null"):
            arguments.fail("expected a timestamp")
        seconds = func.extract("epoch", cast(value.sql, SQL_TYPES["timestamp"]))
        days: Sql = cast(seconds, DOUBLE) / _number(86400.0) + _number(zero)
        return typed(days, "double", unit="d", ucd="time.epoch")

    return Function(build, 1, 1)


def _epoch_prop_pos(arguments: Arguments) -> Value:
    """Linear motion in space seen from the origin: Gaia DR2 documentation, "Epoch propagation"."""
    if any(arguments.values[index].kind == "null" for index in (0, 1, 6, 7)):
        arguments.fail("ra, dec, ref_epoch and out_epoch must not be NULL")
    ra, dec, parallax, pmra, pmdec, velocity, start, end = (arguments.double(i) for i in range(8))
    zero, mas = _number(0.0), _number(math.radians(1 / 3.6e6))
    given = geometry.once(
        a=func.radians(ra),
        d=func.radians(dec),
        east=func.coalesce(pmra, zero) * mas,
        north=func.coalesce(pmdec, zero) * mas,
        away=func.coalesce(velocity * parallax, zero) / _number(_AU_PER_YEAR) * mas,
        t=end - start,
    ).c
    sin_a, cos_a, sin_d, cos_d = (f(x) for x in (given.a, given.d) for f in (func.sin, func.cos))
    grown, east, north = 1 + given.away * given.t, given.east * given.t, given.north * given.t
    moved = geometry.once(
        x=cos_d * cos_a * grown - sin_a * east - sin_d * cos_a * north,
        y=cos_d * sin_a * grown + cos_a * east - sin_d * sin_a * north,
        z=sin_d * grown + cos_d * north,
    ).c
    across = func.sqrt(moved.x * moved.x + moved.y * moved.y)
    place = func.spoint(func.atan2(moved.y, moved.x), func.atan2(moved.z, across))
    sql = select(place).scalar_subquery()
    return shape_value(Shape(kind="point", sql=sql), ucd="pos.eq")


def _string_agg(arguments: Arguments) -> Value:
    value, delimiter = arguments.text(0), arguments.text(1)
    joined = func.string_agg(value.sql, delimiter.sql, type_=Text())
    # RegTAP 1.2, "User Defined Functions required for RegTAP": empty, not NULL.
    return typed(func.coalesce(joined, literal("", Text())), "char", value)


def _nocasematch(arguments: Arguments) -> Value:
    value, pattern = arguments.text(0), arguments.text(1)
    return as_number(Test(value.sql.ilike(pattern.sql, escape="")))


def _hasword(arguments: Arguments) -> Value:
    haystack, needle = arguments.text(0), arguments.text(1)
    words = func.to_tsvector("simple", haystack.sql)
    return as_number(Test(words.bool_op("@@")(func.plainto_tsquery("simple", needle.sql))))


def _hashlist_has(arguments: Arguments) -> Value:
    hashlist, item = arguments.text(0), arguments.text(1)
    words = func.string_to_array(func.lower(hashlist.sql), "#")
    return as_number(Test(func.lower(item.sql) == any_(words)))


def _histogram(arguments: Arguments) -> Value:
    """Counts below, in and above bins; made of the bin numbers of all rows."""
    lower, upper, bins = (arguments.number(index).constant for index in (1, 2, 3))
    if lower is None or upper is None or not isinstance(bins, int):
        arguments.fail("expected numbers as limits, and a whole number of bins")
    if not (lower < upper and 1 <= bins <= _MAX_BINS):
        arguments.fail(f"expected lower < upper, and 1 to {_MAX_BINS} bins")
    value = arguments.double(0)
    place = func.width_bucket(value, _number(lower), _number(upper), literal(bins, Integer()))
    numbers = func.array_agg(func.coalesce(place, literal(0, Integer())))
    # No subquery: an aggregate of something constant would belong to it, not to the query.
    # PostgreSQL works the one aggregate out once, however often it stands here.
    counts = (
        func.coalesce(
            func.cardinality(func.array_positions(numbers, literal(number, Integer()))), 0
        )
        for number in range(bins + 2)
    )
    sql = array([cast(count, Integer()) for count in counts])
    return typed(sql, "array", datatype="int", arraysize="*", ucd="meta.number")


def _normal_random(arguments: Arguments) -> Value:
    mu, sigma = arguments.double(0), arguments.double(1)
    # Box and Muller 1958; random() may be 0 and is never 1.
    size = func.sqrt(_number(-2.0) * func.ln(_number(1.0) - func.random()))
    deviate = size * func.cos(_number(2 * math.pi) * func.random())
    return typed(mu + sigma * deviate, "double", arguments.values[0])


def _geom_transform(arguments: Arguments) -> Value:
    source, target = (arguments.values[index].text for index in (0, 1))
    if source is None or target is None:
        arguments.fail("expected two names of frames as string literals, and a geometry")
    angles = frames.euler_angles(source, target)
    shape = arguments.shape(2)
    if shape.kind == "moc":
        arguments.fail("a MOC is always ICRS")
    ucd = {"GALACTIC": "pos.galactic", "ECLIPTIC": "pos.ecliptic"}.get(target, "pos.eq")
    turned = shape if source == target else geometry.turned(shape, angles)
    return shape_value(turned, ucd=ucd if shape.kind == "point" else "pos.outline")


def _interval_overlaps(arguments: Arguments) -> Value:
    a1, b1, a2, b2 = (arguments.number(index).sql for index in range(4))
    return as_number(Test(and_(a1 <= b1, a2 <= b2, a1 <= b2, a2 <= b1)))


def _interval_has(arguments: Arguments) -> Value:
    value, interval = arguments.number(0), arguments.values[1]
    if interval.kind != "array" or interval.field.arraysize != "2":
        arguments.fail("expected a number and an interval")
    ends = type_coerce(interval.sql, ARRAY(SQL_TYPES["double"]))
    return as_number(Test(and_(ends[1] <= value.sql, value.sql <= ends[2])))


def _degrees(hours: bool) -> Function:
    def build(arguments: Arguments) -> Value:
        sql = to_degrees(arguments.text(0).sql, hours)
        return typed(sql, "double", unit="deg", ucd="pos.eq.ra" if hours else "pos.eq.dec")

    return Function(build, 1, 1)


def _moc(arguments: Arguments) -> Value:
    if len(arguments) == 1:
        text = arguments.values[0].text
        if text is None:
            arguments.fail("expected a MOC as string literal, as in '4/30-33 5/1024'")
        return shape_value(moc.constant(moc.read(text)), ucd="pos.outline")
    order = arguments.number(0).constant
    return shape_value(moc.coverage(order, arguments.shape(1)), ucd="pos.outline")


def _entry(
    signatures: str, description: str, call: Any, aggregate: bool = False
) -> tuple[str, UserFunction]:
    """A row of the table, by name in upper case; a builder gets its arguments counted."""
    lines = tuple(line.strip() for line in signatures.strip().splitlines())
    counts = [line.partition("(")[2].partition(")")[0].count(",") + 1 for line in lines]
    function = call if isinstance(call, Function) else Function(call, min(counts), max(counts))
    entry = UserFunction(
        signatures=lines, description=description, call=function, aggregate=aggregate
    )
    return entry.name.upper(), entry


_FRAMES = ", ".join(frames.FRAMES)

#: Every function beyond ADQL, by its name in upper case.
USER_FUNCTIONS: dict[str, UserFunction] = dict(
    [
        _entry(
            """
            MOC(moc VARCHAR) -> REGION
            MOC(hpxOrder INTEGER, geo REGION) -> REGION
            """,
            "A MOC from its ASCII form (a literal), or the cells of an order (0 to 12, a literal) "
            "that a point, circle or polygon touches; for CONTAINS and INTERSECTS",
            _moc,
        ),
        _entry(
            """
            ivo_dms_to_degrees(dms VARCHAR) -> DOUBLE PRECISION
            """,
            "Degrees from sexagesimal 'd:m:s', 'ddmmss' or 'dDmMsS'; NULL for anything else",
            _degrees(hours=False),
        ),
        _entry(
            """
            ivo_epoch_prop_pos(ra DOUBLE PRECISION, dec DOUBLE PRECISION, parallax DOUBLE PRECISION, pmra DOUBLE PRECISION, pmdec DOUBLE PRECISION, radial_velocity DOUBLE PRECISION, ref_epoch DOUBLE PRECISION, out_epoch DOUBLE PRECISION) -> POINT
            """,  # noqa: E501 - a signature is one line
            "Position at out_epoch of a star in linear motion; deg, deg, mas, mas/yr (with cos "
            "dec), mas/yr, km/s, Julian years. Unknown parallax, motions and velocity count as 0; "
            "the result is NULL where position or epochs are",
            _epoch_prop_pos,
        ),
        _entry(
            """
            ivo_geom_transform(from_sys VARCHAR, to_sys VARCHAR, geo POINT) -> POINT
            ivo_geom_transform(from_sys VARCHAR, to_sys VARCHAR, geo CIRCLE) -> CIRCLE
            ivo_geom_transform(from_sys VARCHAR, to_sys VARCHAR, geo POLYGON) -> POLYGON
            """,
            f"A geometry in another reference frame ({_FRAMES}; FK5 is J2000, FK4 is B1950 without "
            "E-terms, ECLIPTIC is J2000); frames are literals",
            _geom_transform,
        ),
        _entry(
            """
            ivo_hashlist_has(hashlist VARCHAR, item VARCHAR) -> INTEGER
            """,
            "1 if the item is one of the words between # in the list, in any case; else 0",
            _hashlist_has,
        ),
        _entry(
            """
            ivo_hasword(haystack VARCHAR, needle VARCHAR) -> INTEGER
            """,
            "1 if every word of the needle is in the haystack, in any case; else 0",
            _hasword,
        ),
        _entry(
            """
            ivo_healpix_center(hpxOrder INTEGER, hpxIndex BIGINT) -> POINT
            """,
            "Centre of a HEALPix cell (nested numbering)",
            _healpix_center,
        ),
        _entry(
            """
            ivo_healpix_index(hpxOrder INTEGER, long DOUBLE PRECISION, lat DOUBLE PRECISION) -> BIGINT
            ivo_healpix_index(hpxOrder INTEGER, point POINT) -> BIGINT
            """,  # noqa: E501 - a signature is one line
            "The HEALPix cell that a position lies in (nested numbering)",
            _healpix_index,
        ),
        _entry(
            """
            ivo_histogram(val DOUBLE PRECISION, lower DOUBLE PRECISION, upper DOUBLE PRECISION, nbins INTEGER) -> INTEGER[]
            """,  # noqa: E501 - a signature is one line
            "Aggregate: counts in nbins equal bins, after the count of values below (and NULL) and "
            "before that of values above; limits and nbins are literals",
            _histogram,
            aggregate=True,
        ),
        _entry(
            """
            ivo_hms_to_degrees(hms VARCHAR) -> DOUBLE PRECISION
            """,
            "Degrees from sexagesimal 'h:m:s', 'hhmmss' or 'hHmMsS'; NULL for anything else",
            _degrees(hours=True),
        ),
        _entry(
            """
            ivo_interval_has(val DOUBLE PRECISION, iv INTERVAL) -> INTEGER
            """,
            "1 if the value lies in the interval, ends included; else 0",
            _interval_has,
        ),
        _entry(
            """
            ivo_interval_overlaps(a1 DOUBLE PRECISION, b1 DOUBLE PRECISION, a2 DOUBLE PRECISION, b2 DOUBLE PRECISION) -> INTEGER
            """,  # noqa: E501 - a signature is one line
            "1 if a1..b1 and a2..b2 have a value in common, ends included; else 0",
            _interval_overlaps,
        ),
        _entry(
            """
            ivo_nocasematch(value VARCHAR, pattern VARCHAR) -> INTEGER
            """,
            "1 if value ILIKE pattern, else 0",
            _nocasematch,
        ),
        _entry(
            """
            ivo_normal_random(mu DOUBLE PRECISION, sigma DOUBLE PRECISION) -> DOUBLE PRECISION
            """,
            "A random number of the normal distribution",
            _normal_random,
        ),
        _entry(
            """
            ivo_string_agg(expression VARCHAR, delimiter VARCHAR) -> VARCHAR
            """,
            "Aggregate: all strings that are not NULL, with the delimiter between them; empty if "
            "there are none",
            _string_agg,
            aggregate=True,
        ),
        _entry(
            """
            ivo_to_jd(d TIMESTAMP) -> DOUBLE PRECISION
            """,
            "Julian date of a timestamp (or its DALI string), time scale unchanged",
            _days(_JD_1970),
        ),
        _entry(
            """
            ivo_to_mjd(d TIMESTAMP) -> DOUBLE PRECISION
            """,
            "Modified Julian date of a timestamp (or its DALI string), time scale unchanged",
            _days(_MJD_1970),
        ),
    ]
)
