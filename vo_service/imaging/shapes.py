"""How far directions are from the edge of a region of the sky.

Directions are unit vectors, shape (n, 3); distances are degrees, negative inside.
Edges of polygons are great circles; the inside of a polygon is its smaller side, whichever way
round its vertices come (SIA 2.0, "POS"; DALI 1.1, "Polygon" wants them counter-clockwise).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vo_service.errors import UsageError
from vo_service.model.region import Circle, Polygon
from vo_service.model.stencil import Range, Shape

__all__ = ["Distance", "distance_from", "unit_vectors"]

Vectors = NDArray[np.float64]
Distance = Callable[[Vectors], NDArray[np.float64]]

#: Numbers in one table of directions against edges: 30 MB.
_TABLE = 1_000_000


def unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> Vectors:
    """Directions of positions in degrees, shape (n, 3)."""
    longitude, latitude = np.radians(ra), np.radians(dec)
    flat = np.cos(latitude)
    return np.column_stack((flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)))


def distance_from(shape: Shape) -> Distance:
    """The function that gives the distance of directions from the edge of *shape*.

    Raises
    ------
    UsageError
        If a polygon is larger than half the sky, or has no area.
    """
    match shape:
        case Circle():
            return _circle(shape)
        case Range():
            return _range(shape)
        case Polygon():
            return _polygon(shape)


def _separation(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Degrees between directions, good at every distance."""
    chord = np.linalg.norm(a - b, axis=-1) / 2.0
    return np.asarray(np.degrees(2.0 * np.arcsin(np.minimum(chord, 1.0))))


def _circle(circle: Circle) -> Distance:
    centre = unit_vectors(np.array([circle.ra]), np.array([circle.dec]))

    def distance(directions: Vectors) -> NDArray[np.float64]:
        return _separation(directions, centre) - circle.radius

    return distance


def _range(box: Range) -> Distance:
    west, east = box.lon
    low, high = max(box.lat[0], -90.0), min(box.lat[1], 90.0)
    width = east - west
    everywhere = width >= 360.0
    middle = 0.0 if everywhere else (west + east) / 2.0
    # A pole is a point of the range, not an edge.
    parallels = [lat for lat in (low, high) if abs(lat) < 90.0]
    sides = [] if everywhere else [_meridian(lon, low, high) for lon in (west, east)]

    def distance(directions: Vectors) -> NDArray[np.float64]:
        lon = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
        lat = np.degrees(np.arctan2(directions[:, 2], np.hypot(directions[:, 0], directions[:, 1])))
        away = np.abs((lon - middle + 180.0) % 360.0 - 180.0)
        between = np.full(len(lon), True) if everywhere else away <= width / 2.0
        inside = between & (lat >= low) & (lat <= high)
        edge = np.full(len(lon), 180.0)
        for parallel in parallels:
            edge = np.where(between, np.minimum(edge, np.abs(lat - parallel)), edge)
        for side in sides:
            edge = np.minimum(edge, side(directions))
        return np.where(inside, -edge, edge)

    return distance


def _meridian(lon: float, low: float, high: float) -> Distance:
    steps = np.array([low, (low + high) / 2.0, high])  # no arc of 180 degrees: that has no plane
    ends = unit_vectors(np.full(3, lon), steps)
    return lambda directions: _to_arcs(directions, ends[:-1], ends[1:])


def _polygon(polygon: Polygon) -> Distance:
    vertices = unit_vectors(
        np.array([v.ra for v in polygon.vertices]), np.array([v.dec for v in polygon.vertices])
    )
    following = np.roll(vertices, -1, axis=0)
    distinct = _separation(vertices, following) > 0.0
    start, end = vertices[distinct], following[distinct]
    cap = polygon.cap
    if cap.radius >= 90.0:
        raise UsageError("POLYGON is larger than half the sky: expected a smaller one")
    if len(start) < 3:
        raise UsageError("POLYGON has no area: expected at least three different vertices")
    middle = unit_vectors(np.array([cap.ra]), np.array([cap.dec]))[0]

    def distance(directions: Vectors) -> NDArray[np.float64]:
        edge = np.empty(len(directions))
        inside = np.empty(len(directions), dtype=bool)
        step = max(1, _TABLE // len(start))
        for first in range(0, len(directions), step):
            part = directions[first : first + step]
            edge[first : first + step] = _to_arcs(part, start, end)
            inside[first : first + step] = _winds_around(part, start, end) & (part @ middle > 0)
        return np.where(inside, -edge, edge)

    return distance


def _to_arcs(directions: Vectors, start: Vectors, end: Vectors) -> NDArray[np.float64]:
    """Distance to the nearest of the arcs from *start* to *end*, shapes (m, 3)."""
    normal = np.cross(start, end)
    size = np.linalg.norm(normal, axis=1)
    arcs = size > 0.0
    corners = np.min(
        [
            _separation(directions[:, None, :], ends[None, :, :]).min(axis=1)
            for ends in (start, end)
        ],
        axis=0,
    )
    if not arcs.any():
        return np.asarray(corners)
    normal, start, end = normal[arcs] / size[arcs, None], start[arcs], end[arcs]
    beside = (directions @ np.cross(normal, start).T >= 0.0) & (
        directions @ np.cross(end, normal).T >= 0.0
    )
    off = np.degrees(np.abs(np.arcsin(np.clip(directions @ normal.T, -1.0, 1.0))))
    return np.asarray(np.minimum(corners, np.where(beside, off, 180.0).min(axis=1)))


def _winds_around(directions: Vectors, start: Vectors, end: Vectors) -> NDArray[np.bool_]:
    """Whether the closed line turns an odd number of times around directions, or their opposites.

    The angle at a direction p between two vertices a and b has the tangent
    p.(a x b) / (a.b - (p.a)(p.b)).
    """
    turned = np.arctan2(
        directions @ np.cross(start, end).T,
        np.einsum("ij,ij->i", start, end)[None, :] - (directions @ start.T) * (directions @ end.T),
    )
    turns = np.rint(turned.sum(axis=1) / (2.0 * math.pi)).astype(int)
    return np.asarray(turns % 2 != 0)
