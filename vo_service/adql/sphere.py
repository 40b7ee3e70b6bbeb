"""Constant regions: checked before the database sees them, and read from text.

Angles are ICRS degrees. Source: ADQL 2.1, "BOX", "POLYGON", "REGION"; TAP 1.0, "STC-S"
(the simple regions); DALI 1.1, "Geometry values". Errors are `ValueError`, which the caller
turns into a `QueryError` with its place.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from vo_service.model.region import Circle, Point, Polygon, Region

__all__ = [
    "FRAMES",
    "box",
    "check_frame",
    "checked_circle",
    "checked_point",
    "checked_polygon",
    "read_dali",
    "read_region",
    "turned",
]

#: Coordinate systems that mean ICRS here (upper case).
FRAMES = frozenset(
    {"", "ICRS", "ICRS GEOCENTER", "ICRS BARYCENTER", "ICRS TOPOCENTER", "UNKNOWNFRAME"}
)

#: Vertices of one polygon; the check for crossing edges looks at all pairs.
_MAX_VERTICES = 1000

_Vectors = NDArray[np.float64]


def check_frame(frame: str) -> None:
    """Refuse a coordinate system that is not ICRS."""
    if " ".join(frame.upper().split()) not in FRAMES:
        raise ValueError(f"coordinate system '{frame}' is not supported, expected 'ICRS'")


def checked_point(lon: float, lat: float) -> Point:
    """A position; longitudes of any size are folded into [0, 360)."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise ValueError("coordinates must be finite")
    if abs(lat) > 90:
        raise ValueError(f"latitude {lat:g} is outside of -90..90 degrees")
    return Point(lon % 360.0 % 360.0, lat)


def checked_circle(centre: Point, radius: float) -> Circle:
    """A circle of 0 to 180 degrees."""
    if not 0 <= radius <= 180:
        raise ValueError(f"radius {radius:g} is outside of 0..180 degrees")
    return Circle(centre.ra, centre.dec, radius)


def checked_polygon(vertices: list[Point]) -> Polygon:
    """A polygon with at least three vertices, no crossing edges, within a hemisphere."""
    if len(vertices) > _MAX_VERTICES:
        raise ValueError(f"a polygon has more than {_MAX_VERTICES} vertices")
    different = [
        v for v, before in zip(vertices, vertices[-1:] + vertices, strict=False) if v != before
    ]
    if len(different) < 3:
        raise ValueError("a polygon needs at least three different vertices")
    polygon = Polygon(tuple(different))
    if polygon.cap.radius >= 90:
        raise ValueError("a polygon must fit into a hemisphere")
    if _edges_cross(_vectors(different)):
        raise ValueError("edges of the polygon cross or overlap")
    return polygon


def box(centre: Point, width: float, height: float) -> Polygon:
    """A box: great circles at right angles through the ends of a cross at *centre*.

    In the tangent plane of the centre these are straight lines at tan(size / 2).
    """
    for name, size in (("width", width), ("height", height)):
        if not 0 < size < 180:
            raise ValueError(f"{name} {size:g} of a box is outside of 0..180 degrees")
    x, y = math.tan(math.radians(width) / 2), math.tan(math.radians(height) / 2)
    lon, lat = math.radians(centre.ra), math.radians(centre.dec)
    up = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    east = np.array([-math.sin(lon), math.cos(lon), 0.0])
    north = np.cross(up, east)
    corners = [
        _point(up + dx * east + dy * north) for dx, dy in ((-x, -y), (x, -y), (x, y), (-x, y))
    ]
    return checked_polygon(corners)


def _point(vector: _Vectors) -> Point:
    x, y, z = vector / np.linalg.norm(vector)
    lon = math.degrees(math.atan2(y, x)) % 360.0
    return Point(lon % 360.0, math.degrees(math.atan2(z, math.hypot(x, y))))


def _vectors(points: list[Point]) -> _Vectors:
    lon, lat = np.radians([p.ra for p in points]), np.radians([p.dec for p in points])
    return np.column_stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def _edges_cross(start: _Vectors) -> bool:
    """Whether two edges of a closed polygon have more than a shared vertex in common."""
    count = len(start)
    end = np.roll(start, -1, axis=0)
    normal = np.cross(start, end)
    # side[i, j]: on which side of edge i vertex j lies.
    side = normal @ start.T
    side[np.abs(side) < 1e-15] = 0.0
    next_side = np.roll(side, -1, axis=1)
    straddles = side * next_side <= 0
    number = np.arange(count)
    gap = (number[:, None] - number[None, :]) % count
    apart = (gap > 1) & (gap < count - 1)
    # Both arcs straddle the other's great circle: they meet unless on opposite sides of the sky.
    middle = start + end
    same_side = (middle @ middle.T) > 0
    if bool(np.any(straddles & straddles.T & apart & same_side)):
        return True
    # Neighbours overlap where an edge turns back on itself.
    following = np.roll(end, -1, axis=0)
    back, ahead = (v - np.sum(v * end, axis=1, keepdims=True) * end for v in (start, following))
    cross = np.linalg.norm(np.cross(back, ahead), axis=1)
    scale = np.linalg.norm(back, axis=1) * np.linalg.norm(ahead, axis=1)
    return bool(np.any((cross <= 1e-12 * scale) & (np.sum(back * ahead, axis=1) > 0)))


def turned(region: Region, angles: tuple[float, float, float]) -> Region:
    """A region turned about the z, x and z axes by *angles* (radians)."""
    if isinstance(region, Polygon):
        return Polygon(tuple(_turned(vertex, angles) for vertex in region.vertices))
    if isinstance(region, Circle):
        centre = _turned(Point(region.ra, region.dec), angles)
        return Circle(centre.ra, centre.dec, region.radius)
    return _turned(region, angles)


def _turned(place: Point, angles: tuple[float, float, float]) -> Point:
    x, y, z = _vectors([place])[0]
    for number, angle in enumerate(angles):
        c, s = math.cos(angle), math.sin(angle)
        if number == 1:
            y, z = c * y - s * z, s * y + c * z
        else:
            x, y = c * x - s * y, s * x + c * y
    return _point(np.array([x, y, z]))


_REGION = re.compile(
    r"\s*(?P<shape>POSITION|POINT|CIRCLE|POLYGON|BOX)\b(?P<frame>(?:\s+[A-Za-z][A-Za-z0-9]*)*)"
    r"(?P<numbers>(?:[\s,]+[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)*)\s*",
    re.IGNORECASE,
)
_FLAVOURS = {"SPHERICAL2", "CARTESIAN2"}


def read_region(text: str) -> Region:
    """A region from STC-S: POSITION, CIRCLE, POLYGON or BOX with an ICRS frame or none."""
    found = _REGION.fullmatch(text)
    if not found:
        raise ValueError(
            f"region '{text[:60]}' cannot be read, expected "
            "'CIRCLE ICRS lon lat radius', 'POLYGON ICRS lon lat ...', 'BOX ICRS lon lat width "
            "height' or 'POSITION ICRS lon lat'"
        )
    words = found["frame"].upper().split()
    check_frame(" ".join(word for word in words if word not in _FLAVOURS))
    return _region(found["shape"].upper(), _numbers(found["numbers"]))


def read_dali(shape: str, text: str) -> Region:
    """A POINT, CIRCLE or POLYGON from the numbers of its DALI form."""
    return _region(shape, _numbers(text))


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"'{text[:60]}' is no list of numbers (degrees)") from None


def _region(shape: str, numbers: list[float]) -> Region:
    match shape, numbers:
        case (("POSITION" | "POINT"), [lon, lat]):
            return checked_point(lon, lat)
        case "CIRCLE", [lon, lat, radius]:
            return checked_circle(checked_point(lon, lat), radius)
        case "BOX", [lon, lat, width, height]:
            return box(checked_point(lon, lat), width, height)
        case "POLYGON", [*angles] if len(angles) >= 6 and len(angles) % 2 == 0:
            pairs = zip(angles[::2], angles[1::2], strict=True)
            return checked_polygon([checked_point(lon, lat) for lon, lat in pairs])
    raise ValueError(f"{len(numbers)} numbers are wrong for a {shape.lower()}")
