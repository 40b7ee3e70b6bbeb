"""All functions of ADQL in one table: arguments, and what they become in SQL.

Angles are radians in trigonometry and degrees in geometry, results of mathematical functions
are double. Source: ADQL 2.1, "Mathematical and Trigonometrical Functions", "Geometrical
Functions", "String Functions and Operators", "COALESCE", "IN_UNIT".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from sqlalchemy import Integer, Numeric, Text, case, cast, func, literal, null

from vo_service.adql import geometry, predicates, sphere, units
from vo_service.adql.calls import Arguments, Function, shape_value
from vo_service.adql.values import (
    DOUBLE,
    SQL_TYPES,
    Sql,
    Value,
    common_kind,
    described,
    typed,
)
from vo_service.adql.values import literal as constant

__all__ = ["FUNCTIONS"]


def _math(
    sql: Callable[..., Sql],
    fold: Callable[..., float],
    count: int = 1,
    unit: str | None = None,
    keeps_unit: bool = False,
) -> Function:
    """A mathematical function of doubles, worked out here where its arguments are constants."""

    def build(arguments: Arguments) -> Value:
        values = [arguments.number(index) for index in range(count)]
        known = [value.constant for value in values]
        if None not in known:
            try:
                return constant(_finite(float(fold(*known))))
            except (ArithmeticError, ValueError):
                pass  # PostgreSQL says what is wrong with it
        result = sql(*(arguments.double(index) for index in range(count)))
        if keeps_unit:
            return typed(result, "double", unit=values[0].field.unit, ucd=values[0].field.ucd)
        return typed(result, "double", unit=unit)

    return Function(build, count, count)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _rounded(name: str) -> Function:
    """ROUND and TRUNCATE: decimal, halves away from zero, n may be negative."""
    rounded = {"ROUND": func.round, "TRUNCATE": func.trunc}[name]

    def build(arguments: Arguments) -> Value:
        value = arguments.number(0)
        digits: Sql = literal(0, Integer())
        if len(arguments) == 2:
            places = arguments.number(1)
            if places.constant is not None and places.constant != int(places.constant):
                arguments.fail("expected a whole number of digits")
            digits = cast(places.sql, Integer())
        result: Sql = cast(rounded(cast(value.sql, Numeric()), digits), DOUBLE)
        return typed(result, "double", value)

    return Function(build, 1, 2)


def _mod(arguments: Arguments) -> Value:
    """Remainder with the sign of x; exact for integers, decimal for others."""
    x, y = arguments.number(0), arguments.number(1)
    whole = {x.kind, y.kind} <= {"short", "int", "long"}
    kind = SQL_TYPES["long"] if whole else Numeric()
    return typed(cast(func.mod(cast(x.sql, kind), cast(y.sql, kind)), DOUBLE), "double", x)


def _rand(arguments: Arguments) -> Value:
    """A number in [0, 1); the seed is looked at and forgotten."""
    for index in range(len(arguments)):
        arguments.number(index)
    return typed(func.random(), "double")


def _folded(name: str) -> Function:
    def build(arguments: Arguments) -> Value:
        value = arguments.text(0)
        return typed(getattr(func, name)(value.sql), "char", value)

    return Function(build, 1, 1)


def _coalesce(arguments: Arguments) -> Value:
    kind = common_kind([value.kind for value in arguments.values])
    if kind is None or kind in ("shape", "array"):
        found = sorted({described(value) for value in arguments.values})
        arguments.fail(f"expected values of one type, found {' and '.join(found)}")
    first = next((v for v in arguments.values if v.kind != "null"), arguments.values[0])
    if kind == "null":
        return first
    values = [cast(value.sql, SQL_TYPES[kind]) for value in arguments.values]
    return typed(func.coalesce(*values), kind, first)


def _in_unit(arguments: Arguments) -> Value:
    value, unit = arguments.number(0), arguments.values[1].text
    if unit is None:
        arguments.fail("expected a unit as a string literal")
    factor = units.factor(value.field.unit, unit)
    result: Sql = cast(value.sql, DOUBLE) * literal(factor, DOUBLE)
    converted = typed(result, "double", value, unit=unit)
    return dataclasses.replace(converted, ends=value.ends, scale=value.scale * factor)


def _point(arguments: Arguments) -> Value:
    given = arguments.without_frame()
    if len(given) != 2:
        arguments.fail("expected a longitude and a latitude")
    return shape_value(geometry.point(given.number(0), given.number(1)), ucd="pos.eq")


def _circle(arguments: Arguments) -> Value:
    centre, rest = arguments.without_frame().position()
    if len(rest) != 1:
        arguments.fail("expected a point, or a longitude and a latitude, and a radius")
    return shape_value(geometry.circle(centre, rest.number(0)), ucd="pos.outline")


def _box(arguments: Arguments) -> Value:
    centre, rest = arguments.without_frame().position()
    if len(rest) != 2:
        arguments.fail("expected a point, or a longitude and a latitude, a width and a height")
    return shape_value(geometry.box(centre, rest.number(0), rest.number(1)), ucd="pos.outline")


def _polygon(arguments: Arguments) -> Value:
    given = arguments.without_frame()
    if given.values and given.values[0].shape is not None:
        vertices = [given.point(index) for index in range(len(given))]
    elif len(given) % 2:
        arguments.fail("expected points, or pairs of longitude and latitude")
    else:
        vertices = [
            geometry.point(given.number(index), given.number(index + 1))
            for index in range(0, len(given), 2)
        ]
    return shape_value(geometry.polygon(vertices), ucd="pos.outline")


def _region(arguments: Arguments) -> Value:
    text = arguments.values[0].text
    if text is None:
        arguments.fail("expected a string literal")
    return shape_value(geometry.constant(sphere.read_region(text)), ucd="pos.outline")


def _centroid(arguments: Arguments) -> Value:
    return shape_value(geometry.centroid(arguments.shape(0)), ucd="pos.eq")


def _area(arguments: Arguments) -> Value:
    # VOUnit writes powers with two stars.
    return typed(geometry.area(arguments.shape(0)), "double", unit="deg**2", ucd="phys.angArea")


def _coordinate(axis: int, ucd: str) -> Function:
    def build(arguments: Arguments) -> Value:
        place = arguments.point(0)
        sql = geometry.coordinates(place)[axis]
        return typed(cast(sql, DOUBLE), "double", unit="deg", ucd=ucd)

    return Function(build, 1, 1)


def _coordsys(arguments: Arguments) -> Value:
    known = arguments.shape(0).sql.is_not(None)
    return typed(case((known, literal("ICRS", Text())), else_=null()), "char", ucd="pos.frame")


def _distance(arguments: Arguments) -> Value:
    first, rest = arguments.position()
    second, rest = rest.position()
    if len(rest):
        arguments.fail("expected two points or four numbers")
    return geometry.distance(first, second)


def _contains(arguments: Arguments) -> Value:
    return predicates.as_number(predicates.contains(arguments.shape(0), arguments.shape(1)))


def _intersects(arguments: Arguments) -> Value:
    return predicates.as_number(predicates.intersects(arguments.shape(0), arguments.shape(1)))


def _cot(x: float) -> float:
    return 1.0 / math.tan(x)


#: Every function that a query may call, by its name in upper case.
FUNCTIONS: dict[str, Function] = {
    "ABS": _math(func.abs, abs, keeps_unit=True),
    "ACOS": _math(func.acos, math.acos, unit="rad"),
    "ASIN": _math(func.asin, math.asin, unit="rad"),
    "ATAN": _math(func.atan, math.atan, unit="rad"),
    "ATAN2": _math(func.atan2, math.atan2, 2, unit="rad"),
    "CEILING": _math(func.ceil, math.ceil, keeps_unit=True),
    "COS": _math(func.cos, math.cos),
    "COT": _math(func.cot, _cot),
    "DEGREES": _math(func.degrees, math.degrees, unit="deg"),
    "EXP": _math(func.exp, math.exp),
    "FLOOR": _math(func.floor, math.floor, keeps_unit=True),
    "LOG": _math(func.ln, math.log),
    "LOG10": _math(func.log, math.log10),
    "MOD": Function(_mod, 2, 2),
    "PI": _math(func.pi, lambda: math.pi, 0),
    "POWER": _math(func.power, math.pow, 2),
    "RADIANS": _math(func.radians, math.radians, unit="rad"),
    "RAND": Function(_rand, 0, 1),
    "ROUND": _rounded("ROUND"),
    "SIN": _math(func.sin, math.sin),
    "SQRT": _math(func.sqrt, math.sqrt),
    "TAN": _math(func.tan, math.tan),
    "TRUNCATE": _rounded("TRUNCATE"),
    "LOWER": _folded("lower"),
    "UPPER": _folded("upper"),
    "COALESCE": Function(_coalesce, 1, None),
    "IN_UNIT": Function(_in_unit, 2, 2),
    "POINT": Function(_point, 2, 3),
    "CIRCLE": Function(_circle, 2, 4),
    "BOX": Function(_box, 3, 5),
    "POLYGON": Function(_polygon, 3, None),
    "REGION": Function(_region, 1, 1),
    "CENTROID": Function(_centroid, 1, 1),
    "AREA": Function(_area, 1, 1),
    "COORD1": _coordinate(0, "pos.eq.ra"),
    "COORD2": _coordinate(1, "pos.eq.dec"),
    "COORDSYS": Function(_coordsys, 1, 1),
    "DISTANCE": Function(_distance, 2, 4),
    "CONTAINS": Function(_contains, 2, 2),
    "INTERSECTS": Function(_intersects, 2, 2),
}
