"""Bounds on RA: plain comparisons that let PostgreSQL skip partitions.

Against a constant region they are numbers, and partitions are skipped when the query is
planned. Against a geometry of another table they are worked out for each of its rows, and
partitions are skipped while the query runs. All angles are degrees.
"""

from __future__ import annotations

import math

from sqlalchemy import and_, case, func, literal, or_
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ColumnClause, FromClause

from vo_service.adql.moc import Moc
from vo_service.adql.values import DOUBLE, Row, Shape, Sql
from vo_service.model.region import ra_windows

__all__ = ["EPSILON", "apart", "row_windows"]

#: What pgSphere takes for equal; bounds must not be narrower than its operators.
EPSILON = math.degrees(1e-9)

#: Room for rounding in bounds that the database computes.
_SLACK = 1e-8


def _number(value: float) -> Sql:
    return literal(value, DOUBLE)


def apart(rows: Sql, *others: Sql) -> bool:
    """Whether the *others* come from rows of other tables than *rows* does."""
    theirs = set[FromClause]().union(*map(_tables, others))
    return bool(theirs) and not _tables(rows) & theirs


def _tables(sql: Sql) -> set[FromClause]:
    parts = visitors.iterate(sql)
    return {p.table for p in parts if isinstance(p, ColumnClause) and p.table is not None}


def row_windows(a: Shape, b: Shape) -> list[Sql]:
    """Bounds on RA that hold wherever *a* and *b* meet, as far as partitions are served."""
    found = []
    for rows, other in ((a, b), (b, a)):
        if rows.row is None or not rows.row.partitioned:
            continue
        bounds = _windows(rows.row, rows.reach, other)
        if bounds is not None:
            found.append(bounds)
    return found


def _windows(row: Row, reach: float, other: Shape) -> Sql | None:
    margin = reach + EPSILON
    if other.region is not None:
        region = other.region
        windows = (
            region.ra_windows(margin) if isinstance(region, Moc) else ra_windows(region, margin)
        )
        return or_(*(_window(row.ra, *w) for w in windows)) if windows is not None else None
    cap = _cap(other)
    if cap is None or not apart(row.ra, cap[0].sql, cap[1]):
        return None
    centre, radius = cap
    lon, lat = _degrees(centre)
    half = _half_width(lat, radius + _number(margin))
    # Either end may lie beyond 0 or 360; 360 itself would have the default partition read.
    return and_(
        row.ra >= _number(0.0),
        row.ra < _number(360.0),
        or_(
            row.ra.between(lon - half, lon + half),
            row.ra >= lon - half + _number(360.0),
            row.ra <= lon + half - _number(360.0),
        ),
    )


def _window(ra: Sql, low: float, high: float) -> Sql:
    """Bounds on RA; 360 itself is no RA, and would have the default partition read as well."""
    if high >= 360.0:
        return and_(ra >= _number(low), ra < _number(360.0))
    return ra.between(_number(low), _number(high))


def _cap(shape: Shape) -> tuple[Shape, Sql] | None:
    """Centre and radius of a circle that holds the whole of a row's geometry."""
    if shape.kind == "point":
        return shape, _number(0.0)
    if shape.kind == "circle" and not shape.large:
        centre = shape.centre or Shape(kind="point", sql=func.center(shape.sql))
        return centre, shape.radius if shape.radius is not None else func.degrees(
            func.radius(shape.sql)
        )
    if shape.row is not None:
        return Shape(kind="point", sql=shape.row.point), _number(shape.reach)
    return None


def _degrees(place: Shape) -> tuple[Sql, Sql]:
    """Longitude from 0 to 360, as columns that users fill may not be, and latitude."""
    return func.degrees(func.long(place.sql)), func.degrees(func.lat(place.sql))


def _half_width(lat: Sql, radius: Sql) -> Sql:
    """How far a circle reaches in RA; 360 where it comes near a pole."""
    near_pole = func.abs(lat) + radius >= _number(90.0 - _SLACK)
    sine = func.sin(func.radians(radius)) / func.cos(func.radians(lat))
    half = func.degrees(func.asin(func.least(_number(1.0), sine))) + _number(_SLACK)
    return case((near_pole, _number(360.0)), else_=half)
