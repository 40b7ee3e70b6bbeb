"""Ranges of longitude and latitude as polygons of great circles.

Meridians are great circles, parallels are not: they are followed with vertices so close that no
position of the range is lost and none farther out than `TOLERANCE` is found, or 2 arcmin in ranges
wider than 5 degrees. pgSphere has boxes
of meridians and parallels, but loses footprints near the poles (1.1.5: 89 of 7435 pairs of boxes
and quadrangles in a test). Angles are ICRS degrees.
"""

from __future__ import annotations

import itertools
import math

from vo_service.model.region import Point, Polygon
from vo_service.model.stencil import Range

__all__ = ["LEAST", "TOLERANCE", "range_polygons"]

#: How far beyond a parallel a polygon may reach: 1 arcsec.
TOLERANCE = 1.0 / 3600.0

#: Sides of a piece at most, so that it fits into a hemisphere well.
_PIECE = 90.0

#: Steps along a parallel at most: each costs time for every footprint that is compared.
_STEPS = 16

#: Sides of a polygon at least, so that its corners are told apart: 0.2 arcsec.
LEAST = 5e-5


def range_polygons(area: Range) -> tuple[Polygon, ...]:
    """Polygons that together are a range, overlapping in their borders only.

    A range without width or height becomes a polygon 0.2 arcsec wide.
    """
    low, high = max(area.lat[0], -90.0), min(area.lat[1], 90.0)
    return tuple(
        _piece(west, east, south, north)
        for west, east in _parts(*area.lon)
        for south, north in _hemispheres(low, high)
    )


def _parts(west: float, east: float) -> list[tuple[float, float]]:
    count = max(1, math.ceil((east - west) / _PIECE))
    ends = [west + (east - west) * number / count for number in range(count + 1)]
    return list(itertools.pairwise(ends))


def _hemispheres(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, 0.0), (0.0, high)] if low < 0.0 < high else [(low, high)]


def _piece(west: float, east: float, south: float, north: float) -> Polygon:
    """A range on one side of the equator."""
    if north - south < LEAST:
        south, north = max(south - LEAST / 2, -90.0), min(north + LEAST / 2, 90.0)
    if east - west < LEAST:
        west, east = west - LEAST / 2, east + LEAST / 2
    northern = south + north >= 0.0
    below = _along(west, east, south, poleward=not northern)
    above = _along(west, east, north, poleward=northern)
    return Polygon((*below, *reversed(above)))


def _along(west: float, east: float, lat: float, *, poleward: bool) -> list[Point]:
    """Vertices along a parallel that bounds a range; *poleward* of two is the one near a pole.

    Between two vertices of one latitude a great circle runs poleward of it: at half way, tan(lat)
    is larger by 1/cos(half the step). So the border near the pole lies outside of the range
    already; the other one is moved until its great circles touch the parallel.
    """
    if abs(lat) >= 90.0:
        return [Point(0.0, math.copysign(90.0, lat))]
    # A great circle runs width**2 sin(2 lat) / 16 beyond the parallel; twice that for wide steps.
    bend = abs(math.sin(2.0 * math.radians(lat))) / (8.0 * math.radians(TOLERANCE))
    width = math.radians(east - west)
    steps = math.ceil(min(max(1.0, width * math.sqrt(bend)), _STEPS))
    if not poleward:
        step = width / steps
        lat = math.degrees(math.atan(math.tan(math.radians(lat)) * math.cos(step / 2.0)))
    return [
        Point((west + (east - west) * number / steps) % 360.0, lat) for number in range(steps + 1)
    ]
