"""CONTAINS, INTERSECTS and comparisons of DISTANCE, so that an index can serve them.

An index serves a bare operator between its own column and something that is known before:
a constant, or the row of another table that a nested loop stands at. Where two tables are
compared, what is true is therefore said once for the index of either side, and PostgreSQL
chooses. pgSphere takes points closer than 1e-9 rad (0.2 milli-arcsec) for equal, so a
boundary belongs to a region with that slack. Source: ADQL 2.1, "Geometrical Functions".
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Integer,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    true,
)

from vo_service.adql import moc
from vo_service.adql.geometry import angle, centroid, circle_of, computed_point, constant, opposite
from vo_service.adql.moc import MAX_COVERAGE_ORDER, Moc
from vo_service.adql.values import DOUBLE, Shape, Sql, Test, Value, typed
from vo_service.adql.windows import apart, row_windows
from vo_service.model.region import Point

__all__ = ["as_number", "contains", "distance", "intersects"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}

#: What a sign becomes on the other side of the sky.
_FARTHER = {">": "<", ">=": "<="}

#: Square degrees up to which the circles around a MOC's cells are worth an index scan.
_INDEXED_AREA = 4000.0


def _number(value: float) -> Sql:
    return literal(value, DOUBLE)


def _test(holds: Sql, *bounds: Sql) -> Test:
    return Test(holds, and_(*bounds) if bounds else None)


def _yielding(shape: Shape, other: Shape) -> Shape:
    """A geometry of an uploaded row, without its index where a published table has one.

    The rows of the upload are then gone through one by one; PostgreSQL, which cannot know that
    nearly all partitions will be skipped, may else go through the published ones.
    """
    if shape.row is None or other.row is None or not shape.row.uploaded or other.row.uploaded:
        return shape
    if shape.kind == "point" and shape.parts is not None:
        return computed_point(*shape.parts)
    if shape.kind == "circle" and shape.centre is not None:
        return circle_of(_yielding(shape.centre, other), shape.constant_radius, shape.radius)
    return shape


def distance(apart: Value, sign: str, radius: Value) -> Test | None:
    """A DISTANCE (times a number) compared with a radius; None where no index can help."""
    assert apart.ends is not None  # noqa: S101 - it is a distance
    (a, b), scale = apart.ends, apart.scale
    known = None if radius.constant is None else float(radius.constant) / scale
    if sign in _FARTHER:
        return None if known is None else _farther(a, b, known, sign)
    if sign not in _COMPARE or (sign == "=" and scale != 1.0):
        return None
    if known is not None:
        return _closer(a, b, known, sign) if 0.0 <= known <= 90.0 else None
    a, b = _yielding(a, b), _yielding(b, a)
    size: Sql = cast(radius.sql, DOUBLE)
    if scale != 1.0:
        size = size / _number(scale)
    holds = _COMPARE[sign](func.degrees(angle(a, b)), size)
    return _test(holds, *_discs(a, b, size), *_radius_windows(a, b, size))


def _closer(a: Shape, b: Shape, radius: float, sign: str) -> Test:
    a, b = _yielding(a, b), _yielding(b, a)
    inside = _within(a, circle_of(b, radius))
    if sign == "<=":
        return inside
    bounds = [inside.holds, *([inside.bounds] if inside.bounds is not None else [])]
    # PostgreSQL may look at either first; both are needed, one for the index.
    return _test(_COMPARE[sign](angle(a, b), _number(math.radians(radius))), *bounds)


def _farther(a: Shape, b: Shape, radius: float, sign: str) -> Test | None:
    """What is far from a place is close to the place on the other side of the sky."""
    fixed, place = (a, b) if isinstance(a.region, Point) else (b, a)
    if not isinstance(fixed.region, Point) or not 90.0 <= radius <= 180.0:
        return None
    across = constant(Point((fixed.region.ra + 180.0) % 360.0, -fixed.region.dec))
    return _closer(place, across, 180.0 - radius, _FARTHER[sign])


def _within(place: Shape, disc: Shape) -> Test:
    """A point in a circle, asked so that an index on either point can serve."""
    centre, radius = disc.centre, disc.constant_radius
    windows = row_windows(place, disc)
    if centre is None:
        return _test(place.sql.bool_op("<@")(disc.sql), *windows)
    if radius is None:
        assert disc.radius is not None  # noqa: S101 - it has a centre
        windows = _radius_windows(place, centre, disc.radius)
        # pgSphere has no circle for every radius that a row may have.
        holds = angle(place, centre) <= func.radians(disc.radius) + _number(1e-9)
        return _test(holds, *_discs(place, centre, disc.radius), *windows)
    if disc.large:
        inside = _test(angle(place, centre) <= _number(math.radians(radius)), *windows)
        return dataclasses.replace(inside, opposite=_farther(place, centre, radius, ">"))
    ways = [place.sql.bool_op("<@")(disc.sql)]
    if centre.row is not None and centre.row is not place.row:
        ways.append(centre.sql.bool_op("<@")(circle_of(place, radius).sql))
        if place.row is None or centre.row.partitioned:
            ways.reverse()
        if place.row is None:
            ways = ways[:1]
    return _test(ways[0], *ways[1:], *windows)


def _discs(a: Shape, b: Shape, radius: Sql) -> list[Sql]:
    """What an index on either point can use for a radius that differs from row to row."""
    return [
        _disc(place, centre, radius)
        for place, centre in ((a, b), (b, a))
        if place.row is not None and apart(place.sql, centre.sql, radius)
    ]


def _disc(place: Shape, centre: Shape, radius: Sql) -> Sql:
    """A circle of any radius as two of pgSphere's: up to 90 degrees, and the rest of the sky.

    The second one is a mere point for a radius that needs no more than the first.
    """
    size = func.least(func.greatest(radius, _number(0.0)), _number(90.0))
    rest = case((radius > _number(90.0), _number(math.pi / 2)), else_=_number(0.0))
    return or_(
        place.sql.bool_op("<@")(func.scircle(centre.sql, func.radians(size))),
        place.sql.bool_op("<@")(func.scircle(opposite(centre.sql), rest)),
    )


def _radius_windows(a: Shape, b: Shape, radius: Sql) -> list[Sql]:
    """Bounds on RA for two points at most *radius* apart, whichever of them is a table's."""
    return [
        window
        for place, centre in ((a, b), (b, a))
        for window in row_windows(place, circle_of(centre, None, radius))
    ]


def contains(a: Shape, b: Shape) -> Test:
    """Whether *a* lies in *b* or on its boundary.

    Raises
    ------
    ValueError
        Of a MOC in something that is none.
    """
    a, b = _yielding(a, b), _yielding(b, a)
    if "moc" in (a.kind, b.kind):
        return _moc_contains(a, b)
    if a.kind == "point" and b.kind == "circle":
        return _within(a, b)
    return _test(_contains(a, b), *row_windows(a, b))


def _contains(a: Shape, b: Shape) -> Sql:
    holds: Sql = a.sql.bool_op("<@")(b.sql)
    match a.kind, b.kind:
        case "point", "point":
            holds = a.sql.bool_op("=")(b.sql)
        case _, "point":
            holds = _unless_null(false(), a, b)
        case "circle", "circle" if b.constant_radius == 180.0:
            holds = _unless_null(true(), a, b)
        case "circle", "circle" if a.large or b.large:
            holds = _centre_angle(a, b) + _radius(a) <= _radius(b)
        case "circle", "polygon" if a.large:
            holds = _unless_null(false(), a, b)
        case "polygon", "circle" if b.large:
            holds = not_(a.sql.bool_op("&&")(b.sql))
    return holds


def intersects(a: Shape, b: Shape) -> Test:
    """Whether *a* and *b* overlap; a point does where it is contained."""
    a, b = _yielding(a, b), _yielding(b, a)
    if a.kind == "point":
        return contains(a, b)
    if b.kind == "point":
        return contains(b, a)
    if "moc" in (a.kind, b.kind):
        return _moc_intersects(a, b)
    return _test(_intersects(a, b), *row_windows(a, b))


def _intersects(a: Shape, b: Shape) -> Sql:
    match a, b:
        case Shape(kind="circle"), Shape(kind="circle") if a.large or b.large:
            return _centre_angle(a, b) <= _radius(a) + _radius(b)
        case Shape(large=True), _:
            return not_(b.sql.bool_op("<@")(a.sql))
        case _, Shape(large=True):
            return not_(a.sql.bool_op("<@")(b.sql))
    return a.sql.bool_op("&&")(b.sql)


def _centre_angle(a: Shape, b: Shape) -> Sql:
    return angle(centroid(a), centroid(b))


def _radius(disc: Shape) -> Sql:
    return func.radians(disc.radius) if disc.radius is not None else func.radius(disc.sql)


def _unless_null(answer: Sql, a: Shape, b: Shape) -> Sql:
    return case((and_(a.sql.is_not(None), b.sql.is_not(None)), answer), else_=null())


def _moc_contains(a: Shape, b: Shape) -> Test:
    if b.kind == "point":
        return Test(_unless_null(false(), a, b))
    if b.kind != "moc":
        raise ValueError(
            f"whether a MOC lies in a {b.kind} is not supported; MOC(order, {b.kind}) is one"
        )
    if a.kind == "point":
        inside = moc.cell(literal(29, Integer()), a.sql)
    else:
        inside = a.sql if a.kind == "moc" else _cells(a)
    return _test(inside.bool_op("<@")(b.sql), *_moc_bounds(a, b))


def _moc_intersects(a: Shape, b: Shape) -> Test:
    if a.kind == "moc":
        a, b = b, a
    cells = a.sql if a.kind == "moc" else _cells(a)
    return _test(cells.bool_op("&&")(b.sql), *_moc_bounds(a, b))


def _cells(shape: Shape) -> Sql:
    """A geometry in cells of 51 arcsec: with these, and not exactly, it is compared to a MOC."""
    return moc.coverage(MAX_COVERAGE_ORDER, shape).sql


def _moc_bounds(shape: Shape, other: Shape) -> list[Sql]:
    """Bounds on RA, and circles around a small MOC, for which there is an index."""
    bounds = row_windows(shape, other)
    if isinstance(other.region, Moc) and shape.row is not None and shape.kind != "moc":
        circles = other.region.circles()
        area = sum(math.pi * circle.radius**2 for circle in circles)
        if circles and area <= _INDEXED_AREA:
            touches = "<@" if shape.kind == "point" else "&&"
            bounds.append(or_(*(shape.sql.bool_op(touches)(constant(c).sql) for c in circles)))
    return bounds


def as_number(test: Test) -> Value:
    """CONTAINS or INTERSECTS as the integer 1 or 0."""
    return dataclasses.replace(typed(cast(test.holds, Integer()), "int"), test=test)
