"""Footprints as other sites write them, made into what pgSphere holds.

Source: TAP 1.0, "STC-S"; DALI 1.1 and 1.2, "circle", "polygon", "shape"; what services send in
fact: any case, frames with and without reference positions, several shapes in a row or in a
UNION. Angles are degrees; J2000 (FK5) counts as ICRS, from which it is 0.02 arcsec away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vo_service.adql.frames import euler_angles
from vo_service.adql.sphere import read_dali, turned
from vo_service.model.region import Circle, Point, Polygon, Region, separation

__all__ = ["WIDEST", "Footprint", "read_footprint"]

#: Degrees from a row's position to the farthest point of its footprint: what reaches farther says
#: nothing of a position, and would make every search look over the whole sky.
WIDEST = 30.0

_TOKEN = re.compile(
    r"[A-Za-z][A-Za-z0-9_.]*|[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\S"
)
_SHAPES = {
    "POSITION": "POINT",
    "POINT": "POINT",
    "CIRCLE": "CIRCLE",
    "POLYGON": "POLYGON",
    "BOX": "BOX",
}
_FRAMES = {
    "ICRS": "ICRS",
    "J2000": "ICRS",
    "FK5": "ICRS",
    "UNKNOWNFRAME": "ICRS",
    "GALACTIC": "GALACTIC",
    "GALACTIC_II": "GALACTIC",
    "B1950": "FK4",
    "FK4": "FK4",
    "ECLIPTIC": "ECLIPTIC",
}
_WORDS = frozenset(
    {"UNION", "(", ")", ",", "GEOCENTER", "BARYCENTER", "HELIOCENTER", "TOPOCENTER", "LSR"}
    | {"GALACTIC_CENTER", "UNKNOWNREFPOS", "RELOCATABLE", "SPHERICAL2", "CARTESIAN2", "UNIT", "DEG"}
)
#: Degrees below which a footprint is its position: pgSphere has no polygon so small.
_SMALLEST = 1e-4


@dataclass(frozen=True, slots=True)
class Footprint:
    """A footprint: *text* for people (ICRS where it is one shape), *region* for searches.

    *region* is None where the footprint is a point; of several shapes it is a circle that holds
    them all, so that a row is found a little too far out rather than lost.
    """

    text: str
    region: Polygon | None

    def reach(self, position: Point) -> float:
        """Degrees from *position* to its farthest vertex; edges reach no farther."""
        vertices = self.region.vertices if self.region else ()
        return max((separation(position, vertex) for vertex in vertices), default=0.0)


def read_footprint(value: str | Sequence[float], xtype: str | None = None) -> Footprint:
    """A footprint from text, or from numbers whose *xtype* says what they make.

    Raises
    ------
    ValueError
        It cannot be read or cannot be; says why.
    """
    if not isinstance(value, str):
        shape = (xtype or "").upper()
        if shape not in ("POINT", "CIRCLE", "POLYGON"):
            raise ValueError("numbers without xtype point, circle or polygon")
        value = f"{shape} {' '.join(repr(float(number)) for number in value)}"
    shapes = _shapes(value)
    if len(shapes) == 1:
        return _single(shapes[0])
    vertices = [vertex for shape in shapes for vertex in _vertices(shape)]
    cap = Polygon(tuple(vertices)).cap
    return Footprint(" ".join(value.split()), _polygon(cap))


def _shapes(text: str) -> list[Region]:
    found: list[tuple[str, str, list[str]]] = []
    frame = "ICRS"
    for token in _TOKEN.findall(text):
        word = token.upper()
        if word in _SHAPES:
            found.append((_SHAPES[word], frame, []))
        elif word in _FRAMES:
            # Before any shape it is that of all of them, after a shape that of this one.
            if found:
                shape, _, numbers = found.pop()
                found.append((shape, _FRAMES[word], numbers))
            else:
                frame = _FRAMES[word]
        elif word[0] in "+-.0123456789" and found:
            found[-1][2].append(token)
        elif word not in _WORDS:
            raise ValueError(f"{token[:20]!r} is not understood")
    if not found:
        raise ValueError("no shape")
    return [_turned(read_dali(shape, " ".join(numbers)), frame) for shape, frame, numbers in found]


def _turned(region: Region, frame: str) -> Region:
    return region if frame == "ICRS" else turned(region, euler_angles(frame, "ICRS"))


def _single(shape: Region) -> Footprint:
    if isinstance(shape, Point):
        return Footprint(f"POSITION ICRS {shape.ra:.10g} {shape.dec:.10g}", None)
    return Footprint(shape.stc_s, _polygon(shape))


def _polygon(shape: Circle | Polygon) -> Polygon | None:
    if shape.cap.radius < _SMALLEST:
        return None
    if shape.cap.radius > 2 * WIDEST:
        raise ValueError(f"reaches more than {2 * WIDEST:g} degrees from its middle")
    return shape if isinstance(shape, Polygon) else shape.polygon()


def _vertices(shape: Region) -> tuple[Point, ...]:
    if isinstance(shape, Point):
        return (shape,)
    polygon = _polygon(shape)
    return polygon.vertices if polygon else (Point(shape.cap.ra, shape.cap.dec),)
