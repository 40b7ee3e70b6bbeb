"""Footprints: the outline of an image, or of all chips of a file, as a region on the sky.

Corners are the outer edges of the corner pixels (0.5 and N + 0.5). An edge that is no great
circle in the image's projection gets further vertices, so that outline and polygon differ by
at most half a pixel; a gnomonic image has just four. Angles are degrees, directions
ICRS unit vectors. Vertices run counter-clockwise as seen from inside (DALI 1.1, "polygon"),
starting from the first pixel.
Source: FITS WCS paper I (Greisen & Calabretta 2002, A&A 395, 1061), ObsCore 1.1, "s_region".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vo_service.errors import HeaderError
from vo_service.ingest.sky import Sky
from vo_service.model.region import Circle, Point, Polygon, separation

__all__ = ["Footprint", "footprint"]

Vectors = NDArray[np.float64]

#: Parts into which an edge is cut at most.
_PARTS = 32
#: Samples per axis of an image whose border is not wholly on the sky.
_GRID = 65
#: A polygon reaching farther from its centre (degrees) is replaced by a circle.
_POLYGON_REACH = 85.0
#: pgSphere knows no circle wider than a hemisphere.
_CIRCLE_REACH = 90.0
#: Below this (about 0.2 micro-arcsec) two directions are one.
_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where a file lies on the sky.

    *fov* is twice the distance from *centre* to the farthest vertex. *region* is None where
    it covers more than a hemisphere, or nothing but a point. *lengths* are the pixels along
    the two axes, None for several chips.
    """

    centre: Point
    fov: float
    region: Polygon | Circle | None
    lengths: tuple[int, int] | None


def footprint(chips: tuple[Sky, ...]) -> Footprint:
    """The footprint of a file.

    One image: its outline about its central pixel. Several: the convex hull of their
    corners about the mean direction of these. An image whose border leaves the projected
    sky (all-sky maps, full discs) gets a circle that holds all of its sky.

    Raises
    ------
    HeaderError
        If no pixel of an image has a position, or the outline has no direction.
    """
    outlines = [_outline(sky) for sky in chips]
    # Several planes of one field (image, error, mask) are no mosaic.
    alike = all(_same(outlines[0].border, other.border) for other in outlines[1:])
    outline = outlines[0] if alike else _mosaic(outlines)
    lengths = chips[0].lengths if alike else None
    centre = _point(outline.centre)
    distances = [separation(centre, _point(v)) for v in outline.border]
    reach = max(distances)
    if not outline.is_border:
        reach = min(180.0, reach * (1.0 + 2.0 / _GRID))
    region: Polygon | Circle | None = None
    if outline.is_border and reach < _POLYGON_REACH:
        region = _polygon(outline.border, outline.centre)
    if region is None and 0.0 < reach <= _CIRCLE_REACH:
        region = Circle(centre.ra, centre.dec, reach)
    if isinstance(region, Polygon):
        reach = max(separation(centre, v) for v in region.vertices)
    return Footprint(centre=centre, fov=2.0 * reach, region=region, lengths=lengths)


@dataclass(frozen=True, slots=True)
class _Outline:
    """*border* holds the vertices in order, or, if not *is_border*, samples of the inside."""

    border: Vectors
    centre: Vectors
    is_border: bool


def _outline(sky: Sky) -> _Outline:
    n1, n2 = sky.lengths
    steps = np.linspace(0.0, 1.0, _PARTS, endpoint=False)
    low, high1, high2 = 0.5, n1 + 0.5, n2 + 0.5
    ends = ((low, low), (high1, low), (high1, high2), (low, high2))
    pixels = np.concatenate(
        [
            np.column_stack((a[0] + steps * (b[0] - a[0]), a[1] + steps * (b[1] - a[1])))
            for a, b in pairwise((*ends, ends[0]))
        ]
        + [np.array([[(n1 + 1) / 2, (n2 + 1) / 2]])]
    )
    xyz = sky.directions(pixels)
    border, centre = xyz[:-1], xyz[-1]
    if np.isfinite(xyz).all():
        return _Outline(_corners(border, sky.lengths), centre, is_border=True)
    return _partial(sky, centre)


def _partial(sky: Sky, centre: Vectors) -> _Outline:
    """Samples of all of an image, for a border that is partly outside of the sky."""
    axes = [np.linspace(0.5, length + 0.5, _GRID) for length in sky.lengths]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    inside = sky.directions(grid)
    inside = inside[np.isfinite(inside).all(axis=1)]
    if len(inside) == 0:
        raise HeaderError("no pixel of the image has a position on the sky", sky.hdu, "CTYPE1")
    if not np.isfinite(centre).all():
        centre = _direction(inside.mean(axis=0), sky.hdu)
    return _Outline(inside, centre, is_border=False)


def _same(a: Vectors, b: Vectors) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0.0, atol=1e-9))


def _mosaic(outlines: list[_Outline]) -> _Outline:
    corners = np.concatenate([outline.border for outline in outlines])
    centre = _direction(corners.mean(axis=0), None)
    whole = all(outline.is_border for outline in outlines)
    reach = math.degrees(math.acos(max(-1.0, min(1.0, float((corners @ centre).min())))))
    if not whole or reach >= _POLYGON_REACH:
        return _Outline(corners, centre, is_border=False)
    return _Outline(corners[_hull(_tangent(corners, centre))], centre, is_border=True)


def _corners(border: Vectors, lengths: tuple[int, int]) -> Vectors:
    """The four corners, and those samples between them that the great circles miss."""
    kept: list[int] = []
    closed = np.concatenate((border, border[:1]))
    chords = np.linalg.norm(np.diff(closed[::_PARTS], axis=0), axis=1)
    pixels = chords / (*lengths, *lengths)
    # An edge along a seam or a pole has no chord and says nothing of the pixels.
    tolerance = 0.5 * float(min(pixels[chords > _SAME], default=_SAME))
    for edge in range(4):
        stack = [(edge * _PARTS, (edge + 1) * _PARTS)]
        between: list[int] = []
        while stack:
            first, last = stack.pop()
            worst, distance = _worst(closed, first, last)
            if distance > tolerance:
                between.append(worst)
                stack += [(first, worst), (worst, last)]
        kept += [edge * _PARTS, *sorted(between)]
    return border[kept]


def _worst(border: Vectors, first: int, last: int) -> tuple[int, float]:
    """The sample between two that is farthest from the arc that joins them (radians)."""
    if last - first < 2:
        return first, 0.0
    a, b, inner = border[first], border[last], border[first + 1 : last]
    chord = b - a  # differences of neighbours are exact, so small images keep their digits
    normal = np.cross(a, chord)
    length = float(np.linalg.norm(normal))
    nearest = np.minimum(np.linalg.norm(inner - a, axis=1), np.linalg.norm(inner - b, axis=1))
    away = nearest
    if length > _SAME:
        along = (inner - a) @ chord / float(chord @ chord)
        away = np.where(
            (along > 0.0) & (along < 1.0), np.abs((inner - a) @ normal) / length, nearest
        )
    worst = int(np.argmax(away))
    return first + 1 + worst, float(away[worst])


def _polygon(border: Vectors, centre: Vectors) -> Polygon | None:
    """A simple polygon, counter-clockwise from inside; None where it has no area.

    An outline that crosses or touches itself (broken distortions, a seam at the pole) is
    replaced by its convex hull.
    """
    flat = _tangent(border, _direction(border.mean(axis=0), None))
    size = float(np.ptp(flat, axis=0).max())
    fresh = np.linalg.norm(flat - np.roll(flat, 1, axis=0), axis=1) > max(_SAME, 1e-9 * size)
    border, flat = border[fresh], flat[fresh]
    if len(border) < 3:
        return None
    if _touches_itself(flat):
        hull = _hull(flat)
        border, flat = border[hull], flat[hull]
    x, y = flat[:, 0], flat[:, 1]
    area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2.0
    if len(border) < 3 or abs(area) <= 1e-9 * size * size:
        return None
    if area > 0.0:  # x points east: from inside, this turn is clockwise
        border = np.concatenate((border[:1], border[:0:-1]))
    return Polygon(tuple(_point(v) for v in border))


def _touches_itself(flat: Vectors) -> bool:
    """Whether two edges of a closed outline that are no neighbours meet."""
    count = len(flat)
    if count < 4:
        return False
    start, end = flat, np.roll(flat, -1, axis=0)

    def side(a: Vectors, b: Vectors, c: Vectors) -> NDArray[np.float64]:
        turn = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1])
        return np.asarray(turn - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0]))

    a, b = start[:, None], end[:, None]
    c, d = start[None, :], end[None, :]
    meets = (side(a, b, c) * side(a, b, d) <= 0.0) & (side(c, d, a) * side(c, d, b) <= 0.0)
    gap = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    return bool(np.any(meets & (gap > 1) & (gap < count - 1)))


def _hull(flat: Vectors) -> NDArray[np.intp]:
    """Indices of the convex hull of plane points: Andrew's monotone chain."""
    order = np.lexsort((flat[:, 1], flat[:, 0]))

    def chain(indices: NDArray[np.intp]) -> list[int]:
        kept: list[int] = []
        for index in indices:
            while len(kept) > 1:
                a, b = flat[kept[-1]] - flat[kept[-2]], flat[index] - flat[kept[-1]]
                if a[0] * b[1] - a[1] * b[0] > 0.0:
                    break
                kept.pop()
            kept.append(int(index))
        return kept[:-1]

    return np.array(chain(order) + chain(order[::-1]), dtype=np.intp)


def _tangent(xyz: Vectors, centre: Vectors) -> Vectors:
    """Gnomonic plane about a direction, x to the east, y to the north: edges become straight."""
    pole = np.array([0.0, 0.0, 1.0]) if abs(centre[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    east = np.cross(pole, centre)
    east /= np.linalg.norm(east)
    north = np.cross(centre, east)
    # Never over 85 degrees away; the bound keeps a degenerate outline finite.
    depth = np.maximum(xyz @ centre, 1e-6)
    return np.column_stack((xyz @ east / depth, xyz @ north / depth))


def _direction(vector: Vectors, hdu: int | None) -> Vectors:
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        raise HeaderError("the footprint goes around the whole sky and has no centre", hdu)
    return np.asarray(vector / length)


def _point(xyz: Vectors) -> Point:
    x, y, z = (float(part) for part in xyz)
    ra = math.degrees(math.atan2(y, x)) % 360.0
    return Point(0.0 if ra >= 360.0 else ra, math.degrees(math.atan2(z, math.hypot(x, y))))
