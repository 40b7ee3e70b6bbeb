"""Regions of the sky, and the one routine that gives the RA windows of a region.

All coordinates are ICRS degrees; polygon edges are great circles. Partitions of the
observation table are ranges of `s_ra`, so a positional predicate is cheap only when the
query also names plain RA bounds: `ra_windows` makes them (DESIGN, decision 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Circle", "Point", "Polygon", "Region", "Window", "ra_windows", "separation"]

#: Inclusive bounds in degrees, 0 <= low <= high <= 360.
Window = tuple[float, float]

#: Slack in degrees (4 micro-arcsec) so that rounding never loses a row on a window's edge.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Point:
    """A position; *ra* in [0, 360), *dec* in [-90, 90]."""

    ra: float
    dec: float

    @property
    def cap(self) -> Circle:
        """The point as a circle of no radius."""
        return Circle(self.ra, self.dec, 0.0)


@dataclass(frozen=True, slots=True)
class Circle:
    """All positions within *radius* (degrees, 0..180) of a centre."""

    ra: float
    dec: float
    radius: float

    @property
    def cap(self) -> Circle:
        """The circle itself."""
        return self

    @property
    def stc_s(self) -> str:
        """The circle as STC-S (TAP 1.0, "STC-S": what ObsCore clients expect of s_region)."""
        return f"CIRCLE ICRS {_number(self.ra)} {_number(self.dec)} {_number(self.radius)}"

    def polygon(self, corners: int = 48) -> Polygon:
        """A regular polygon around the circle (its edges touch it), for radii below 80 degrees.

        pgSphere keeps one kind of shape a column; a frame is found up to 0.2 per cent of its
        radius too far out rather than lost.
        """
        reach = math.degrees(
            math.atan(math.tan(math.radians(self.radius)) / math.cos(math.pi / corners))
        )
        # Clockwise in position angle is counter-clockwise as seen on the sky from inside.
        return Polygon(
            tuple(_offset(self, reach, 360.0 * step / corners) for step in range(corners))
        )


@dataclass(frozen=True, slots=True)
class Polygon:
    """Vertices in order; the last is joined to the first."""

    vertices: tuple[Point, ...]

    @property
    def stc_s(self) -> str:
        """The polygon as STC-S."""
        pairs = (f"{_number(v.ra)} {_number(v.dec)}" for v in self.vertices)
        return f"POLYGON ICRS {' '.join(pairs)}"

    @property
    def cap(self) -> Circle:
        """A circle that holds the whole polygon (not the smallest one).

        Edges are arcs shorter than 180 degrees, so a cap of less than 90 degrees that holds
        the vertices holds the edges too; for anything larger the whole sphere is returned.
        """
        xyz = _unit_vectors(self.vertices)
        mean = xyz.mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if norm < 1e-9:
            return Circle(0.0, 0.0, 180.0)
        x, y, z = mean / norm
        ra = math.degrees(math.atan2(y, x)) % 360.0 % 360.0
        centre = Point(ra, math.degrees(math.asin(_unit(z))))
        radius = max(separation(centre, v) for v in self.vertices)
        return Circle(centre.ra, centre.dec, radius if radius < 90.0 else 180.0)


Region = Point | Circle | Polygon


def separation(a: Point, b: Point) -> float:
    """Great-circle distance in degrees (Vincenty's formula, good at every distance)."""
    d1, d2 = math.radians(a.dec), math.radians(b.dec)
    dl = math.radians(b.ra - a.ra)
    cross = math.hypot(
        math.cos(d2) * math.sin(dl),
        math.cos(d1) * math.sin(d2) - math.sin(d1) * math.cos(d2) * math.cos(dl),
    )
    dot = math.sin(d1) * math.sin(d2) + math.cos(d1) * math.cos(d2) * math.cos(dl)
    return math.degrees(math.atan2(cross, dot))


def ra_windows(region: Region, margin: float = 0.0) -> tuple[Window, ...] | None:
    """Ranges of RA outside of which no position of *region* lies.

    Parameters
    ----------
    region
        Any region; RA of any sign and size is folded into [0, 360).
    margin
        Degrees by which the region is widened first: the largest distance from an
        observation's position to the edge of its footprint, when footprints are searched.

    Returns
    -------
    tuple of (low, high), or None
        One window, or two where the region crosses RA 0; None where every RA is possible
        (a pole within reach, or a region so wide that bounds would say nothing).
    """
    cap = region.cap
    reach = cap.radius + margin + _SLACK
    if abs(cap.dec) + reach >= 90.0:
        return None
    half = math.degrees(
        math.asin(_unit(math.sin(math.radians(reach)) / math.cos(math.radians(cap.dec))))
    )
    half += _SLACK
    if half >= 180.0:
        return None
    centre = cap.ra % 360.0
    low, high = centre - half, centre + half
    if low < 0.0:
        return ((0.0, high), (low + 360.0, 360.0))
    if high >= 360.0:
        return ((0.0, high - 360.0), (low, 360.0))
    return ((low, high),)


def _offset(centre: Circle, distance: float, angle: float) -> Point:
    """The point *distance* degrees from the centre in position angle *angle* (N through E)."""
    d, r, a = (math.radians(v) for v in (centre.dec, distance, angle))
    dec = math.asin(_unit(math.sin(d) * math.cos(r) + math.cos(d) * math.sin(r) * math.cos(a)))
    ra = math.atan2(
        math.sin(a) * math.sin(r) * math.cos(d), math.cos(r) - math.sin(d) * math.sin(dec)
    )
    return Point((centre.ra + math.degrees(ra)) % 360.0 % 360.0, math.degrees(dec))


def _number(value: float) -> str:
    """Degrees to 0.4 micro-arcsec, without an exponent and without trailing zeros."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _unit(value: float) -> float:
    return max(-1.0, min(1.0, value))


def _unit_vectors(points: tuple[Point, ...]) -> NDArray[np.float64]:
    ra = np.radians([p.ra for p in points])
    dec = np.radians([p.dec for p in points])
    return np.column_stack((np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))
