"""ADQL geometry on pgSphere: constructors and measures.

pgSphere counts in radians. Source: ADQL 2.1, "Geometrical Functions".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    FromClause,
    Subquery,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array

from vo_service.adql import sphere
from vo_service.adql.values import (
    DOUBLE,
    SPOINT,
    SPOLY,
    Row,
    Shape,
    Sql,
    Value,
    polygon_numbers,
    typed,
)
from vo_service.model.region import Circle, Point, Polygon, Region

__all__ = [
    "angle",
    "area",
    "box",
    "centroid",
    "circle",
    "circle_of",
    "computed_point",
    "constant",
    "coordinates",
    "distance",
    "kept",
    "once",
    "opposite",
    "point",
    "polygon",
    "turned",
]

_DEGREE = 180.0 / math.pi


def _number(value: float) -> Sql:
    return literal(value, DOUBLE)


def _spoint(place: Point) -> Sql:
    return func.spoint(_number(math.radians(place.ra)), _number(math.radians(place.dec)))


def constant(region: Region) -> Shape:
    """A region of numbers as a pgSphere value."""
    match region:
        case Point():
            parts = (_number(region.ra), _number(region.dec))
            return Shape(kind="point", sql=_spoint(region), parts=parts, region=region)
        case Circle():
            return circle_of(constant(Point(region.ra, region.dec)), region.radius)
        case Polygon():
            pairs = (f"({math.radians(v.ra)!r},{math.radians(v.dec)!r})" for v in region.vertices)
            angles = tuple(_number(a) for v in region.vertices for a in (v.ra, v.dec))
            sql = cast("{" + ",".join(pairs) + "}", SPOLY)
            return Shape(kind="polygon", sql=sql, parts=angles, region=region)


def point(lon: Value, lat: Value) -> Shape:
    """POINT(lon, lat); the indexed point where these are the coordinates of a table's rows."""
    if lon.constant is not None and lat.constant is not None:
        return constant(sphere.checked_point(lon.constant, lat.constant))
    if lon.row is not None and lon.row is lat.row and (lon.axis, lat.axis) == ("ra", "dec"):
        return Shape(kind="point", sql=lon.row.point, parts=(lon.sql, lat.sql), row=lon.row)
    if lat.constant is not None:
        sphere.checked_point(0.0, lat.constant)
    return computed_point(lon.sql, lat.sql)


def computed_point(lon: Sql, lat: Sql) -> Shape:
    """A point of two expressions (degrees)."""
    sql = func.spoint(*(func.radians(cast(angle, DOUBLE)) for angle in (lon, lat)))
    return Shape(kind="point", sql=sql, parts=(lon, lat))


def circle(centre: Shape, radius: Value) -> Shape:
    """CIRCLE(centre, radius)."""
    if radius.constant is not None:
        sphere.checked_circle(Point(0.0, 0.0), radius.constant)
        return circle_of(centre, float(radius.constant))
    return circle_of(centre, None, cast(radius.sql, DOUBLE))


def circle_of(centre: Shape, radius: float | None, expression: Sql | None = None) -> Shape:
    """A circle of *radius* degrees, or of an *expression* where that is None."""
    size = _number(radius) if radius is not None else expression
    assert size is not None  # noqa: S101 - one of the two is given
    region = None
    if radius is not None and isinstance(centre.region, Point):
        region = Circle(centre.region.ra, centre.region.dec, radius)
    if radius is None:
        sql = func.scircle(centre.sql, func.radians(size))
    elif radius > 90.0:
        sql = func.scircle(opposite(centre.sql), _number(math.radians(180.0 - radius)))
    else:
        sql = func.scircle(centre.sql, _number(math.radians(radius)))
    return Shape(
        kind="circle",
        sql=sql,
        parts=(*coordinates(centre), size),
        region=region,
        row=centre.row if radius is not None else None,
        reach=centre.reach + (radius or 0.0),
        centre=centre,
        radius=size,
        constant_radius=radius,
    )


def opposite(place: Sql) -> Sql:
    """The point on the other side of the sphere."""
    return func.spoint(func.long(place) + _number(math.pi), -func.lat(place))


def kept(shape: Shape, sql: Sql, row: Row | None) -> Shape:
    """A geometry that a subquery computed, now its column *sql*."""
    if shape.kind == "circle" and shape.constant_radius is not None:
        radius, centre = shape.constant_radius, func.center(sql)
        place = Shape(kind="point", sql=opposite(centre) if shape.large else centre)
        disc = circle_of(place, radius)
        return dataclasses.replace(disc, sql=sql, row=row, reach=shape.reach)
    return Shape(kind=shape.kind, sql=sql, row=row, reach=shape.reach)


def turned(shape: Shape, angles: tuple[float, float, float]) -> Shape:
    """A geometry turned about the z, x and z axes by *angles* (radians)."""
    if isinstance(shape.region, Point | Circle | Polygon):
        return constant(sphere.turned(shape.region, angles))
    rotation = func.strans(*(_number(angle) for angle in angles))
    if shape.kind == "circle" and shape.centre is not None:
        return circle_of(turned(shape.centre, angles), shape.constant_radius, shape.radius)
    return Shape(kind=shape.kind, sql=shape.sql.op("+")(rotation))


def coordinates(place: Shape) -> tuple[Sql, ...]:
    """Longitude and latitude of a point in degrees."""
    if place.parts is not None:
        return place.parts
    return func.degrees(func.long(place.sql)), func.degrees(func.lat(place.sql))


def polygon(vertices: list[Shape]) -> Shape:
    """POLYGON of three points or more."""
    if len(vertices) < 3:
        raise ValueError(f"a polygon needs at least three vertices, found {len(vertices)}")
    places = [vertex.region for vertex in vertices if isinstance(vertex.region, Point)]
    if len(places) == len(vertices):
        return constant(sphere.checked_polygon(places))
    parts = tuple(angle for vertex in vertices for angle in coordinates(vertex))
    return Shape(kind="polygon", sql=_spoly([v.sql for v in vertices]), parts=parts)


def _spoly(points: Sequence[Sql]) -> Sql:
    """An spoly of computed vertices, NULL where one of them is."""
    vertices = (
        func.unnest(array(points))
        .table_valued(column("vertex", SPOINT), with_ordinality="place")
        .render_derived()
    )
    return _joined(vertices, vertices.c.vertex, vertices.c.place, len(points))


def _joined(source: FromClause, vertex: Sql, place: Sql, count: int) -> Sql:
    """The polygon of *count* vertices, by way of text.

    pgSphere's aggregate over points brings the whole server down when it meets a NULL.
    """
    pair = func.format("(%s,%s)", func.long(vertex), func.lat(vertex))
    text = func.string_agg(pair, aggregate_order_by(literal(","), place))
    whole = func.count(vertex) == count
    polygon_sql = cast(literal("{").concat(text).concat("}"), SPOLY)
    return select(polygon_sql).select_from(source).having(whole).scalar_subquery()


def box(centre: Shape, width: Value, height: Value) -> Shape:
    """BOX(centre, width, height): a polygon of great circles."""
    if width.constant is not None and height.constant is not None:
        corners = sphere.box(Point(0.0, 0.0), width.constant, height.constant)
        if isinstance(centre.region, Point):
            return constant(sphere.box(centre.region, width.constant, height.constant))
        reach = centre.reach + corners.cap.radius
        row = centre.row
    else:
        row, reach = None, 0.0
    return Shape(kind="polygon", sql=_box(centre, width, height), row=row, reach=reach)


def _box(centre: Shape, width: Value, height: Value) -> Sql:
    x, y = (
        func.tan(func.radians(cast(size.sql, DOUBLE)) / _number(2.0)) for size in (width, height)
    )
    given = once(centre=centre.sql, x=x, y=y)
    corners = (
        func.unnest(array([-1, 1, 1, -1]), array([-1, -1, 1, 1]))
        .table_valued("right", "up", with_ordinality="place")
        .render_derived()
    )
    flat = func.point(given.c.x * corners.c.right, given.c.y * corners.c.up)
    vertex = func.gnomonic_inv(flat, given.c.centre)
    return _joined(given.join(corners, true()), vertex, corners.c.place, 4)


def once(**expressions: Sql) -> Subquery:
    """Expressions as columns of one row, so that using one twice does not write it twice.

    Without OFFSET, PostgreSQL would put the expression back wherever it is used.
    """
    columns = (sql.label(name) for name, sql in expressions.items())
    return select(*columns).offset(0).correlate_except(None).subquery()


def centroid(shape: Shape) -> Shape:
    """CENTROID: a point itself, a circle's centre, a polygon's centre of mass."""
    if shape.kind == "moc":
        raise ValueError("expected a point, circle or polygon, found a MOC")
    if shape.kind == "point":
        return shape
    if shape.kind == "circle":
        return shape.centre or Shape(kind="point", sql=func.center(shape.sql))
    return Shape(kind="point", sql=_polygon_centroid(shape.sql))


def _polygon_centroid(polygon_sql: Sql) -> Sql:
    """The direction of the mean unit vector over a polygon.

    The integral of the unit vector is half the sum, over the edges, of the edge's length
    times the unit normal of its plane (Gauss's theorem on the sphere).
    """
    given = once(polygon=polygon_sql).c.polygon
    angles = once(a=polygon_numbers(given), n=func.npoints(given))
    places = func.generate_series(1, angles.c.n).table_valued("i").render_derived()
    this, following = places.c.i, places.c.i % angles.c.n + 1

    def vector(index: Any) -> tuple[Sql, Sql, Sql]:
        lon, lat = angles.c.a[2 * index - 1], angles.c.a[2 * index]
        return func.cos(lat) * func.cos(lon), func.cos(lat) * func.sin(lon), func.sin(lat)

    columns = [v.label(f"{axis}{n}") for n, i in ((1, this), (2, following))
               for axis, v in zip("xyz", vector(i), strict=True)]  # fmt: skip
    edge = select(*columns).select_from(angles.join(places, true())).subquery().c
    cross = (
        edge.y1 * edge.z2 - edge.z1 * edge.y2,
        edge.z1 * edge.x2 - edge.x1 * edge.z2,
        edge.x1 * edge.y2 - edge.y1 * edge.x2,
    )
    dot = edge.x1 * edge.x2 + edge.y1 * edge.y2 + edge.z1 * edge.z2
    sine = func.sqrt(cross[0] * cross[0] + cross[1] * cross[1] + cross[2] * cross[2])
    weight = func.atan2(sine, dot) / func.nullif(sine, _number(0.0), type_=DOUBLE)
    sums = [func.sum(part * weight).label(axis) for part, axis in zip(cross, "xyz", strict=True)]
    near = select(
        *sums, *(func.sum(edge[f"{axis}1"]).label(f"m{axis}") for axis in "xyz")
    ).subquery()
    total = near.c
    # Vertices may run either way round; the centre lies on their side of the sphere.
    sign = func.sign(total.x * total.mx + total.y * total.my + total.z * total.mz)
    across = func.sqrt(total.x * total.x + total.y * total.y)
    lon, lat = func.atan2(total.y * sign, total.x * sign), func.atan2(total.z * sign, across)
    return select(func.spoint(lon, lat)).scalar_subquery()


def area(shape: Shape) -> Sql:
    """AREA in square degrees; 0 for a point."""
    if shape.kind == "point":
        return case((shape.sql.is_not(None), _number(0.0)), else_=null())
    if shape.kind == "circle":
        radius = func.radians(shape.radius) if shape.radius is not None else func.radius(shape.sql)
        # Twice the squared sine of half the angle is 1 - cos without its cancellation.
        return _number(4 * math.pi * _DEGREE**2) * func.power(func.sin(radius / 2), 2)
    if shape.kind == "moc":
        # The only place where pgSphere tells it, in cells of order 29.
        cells = func.substring(func.smoc_info(shape.sql), r"area: (\d+)", type_=Text())
        return cast(cells, DOUBLE) * _number(4 * math.pi * _DEGREE**2 / (12 * 4**29))
    return func.area(shape.sql) * _number(_DEGREE**2)


def distance(a: Shape, b: Shape) -> Value:
    """DISTANCE between two points in degrees."""
    sql = func.degrees(angle(a, b))
    value = typed(sql, "double", unit="deg", ucd="pos.angDistance", description="Angular distance")
    return dataclasses.replace(value, ends=(a, b))


def angle(a: Shape, b: Shape) -> Sql:
    """The distance of two points in radians."""
    return a.sql.op("<->", return_type=DOUBLE)(b.sql)
