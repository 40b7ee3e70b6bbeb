"""Multi-order coverage maps: read, checked, and what is near them.

pgSphere's ``smoc`` holds them. Source: MOC 2.0, "ASCII MOC serialization" (space MOCs);
cells are HEALPix, nested numbering, of orders 0 to 29, ICRS.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import healpy
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnClause, Integer, case, cast, func, literal, select

from vo_service.adql.geometry import once
from vo_service.adql.values import DOUBLE, SMOC, Shape, Sql
from vo_service.model.region import Circle, Window, ra_windows

__all__ = ["MAX_COVERAGE_ORDER", "Moc", "cell", "constant", "coverage", "read"]

_N = TypeVar("_N", int, float)

_MAX_ORDER = 29
_MAX_RANGES = 100_000

#: The finest cells that a circle or polygon is turned into: 51 arcsec. A hemisphere's edge
#: takes 0.1 s then, and each order more doubles it.
MAX_COVERAGE_ORDER = 12

#: Cells looked at for bounds on RA, and circles that stand for a MOC in an index.
_WINDOW_CELLS, _CIRCLES = 2000, 32

#: Gaps in RA that are not worth a window of their own, in degrees.
_GAP = 2.0

_QUARTER: Sql = literal(math.pi / 2, DOUBLE)

#: Radians below which pgSphere 1.1 takes a longitude for 0.
_NEAR = 1.1e-9

_PART = re.compile(r"(?:(?P<order>\d{1,2})/)?(?P<first>\d{1,19})?(?:-(?P<last>\d{1,19}))?")


@dataclass(frozen=True)
class Moc:
    """A space MOC: *ranges* of cells (order, first, last) as written, last included."""

    ranges: tuple[tuple[int, int, int], ...]
    order: int

    @property
    def text(self) -> str:
        """ASCII form."""
        groups = itertools.groupby(sorted(self.ranges), key=lambda r: r[0])
        cells = (
            f"{order}/{','.join(f'{a}-{b}' if b > a else str(a) for _, a, b in group)}"
            for order, group in groups
        )
        return f"{' '.join(cells)} {self.order}/".lstrip()

    @cached_property
    def _flat(self) -> tuple[tuple[int, int], ...]:
        """Ranges of cells of order 29, in order and apart."""
        flat = sorted(
            (first << 2 * (_MAX_ORDER - order), ((last + 1) << 2 * (_MAX_ORDER - order)) - 1)
            for order, first, last in self.ranges
        )
        return _merged(flat, 1)

    def _cells(self, most: int) -> tuple[int, NDArray[np.int64]]:
        """The deepest order at which at most *most* cells cover the MOC, and these cells."""
        for order in range(self.order, -1, -1):
            shift = 2 * (_MAX_ORDER - order)
            coarse = _merged([(a >> shift, b >> shift) for a, b in self._flat], 1)
            if order == 0 or sum(b - a + 1 for a, b in coarse) <= most:
                break
        return order, np.concatenate(
            [np.arange(a, b + 1) for a, b in coarse] or [np.empty(0, np.int64)]
        )

    def circles(self, most: int = _CIRCLES) -> tuple[Circle, ...]:
        """At most *most* circles (or the 12 of order 0) that cover the MOC."""
        order, cells = self._cells(most)
        if not len(cells):
            return ()
        lon, lat = healpy.pix2ang(2**order, cells, nest=True, lonlat=True)
        radius = float(healpy.max_pixrad(2**order, degrees=True)) * (1 + 1e-6)
        return tuple(
            Circle(float(x) % 360.0, float(y), radius) for x, y in zip(lon, lat, strict=True)
        )

    def ra_windows(self, margin: float) -> tuple[Window, ...] | None:
        """As `vo_service.model.region.ra_windows`: bounds on RA, None where there are none."""
        found: list[Window] = []
        for circle in self.circles(_WINDOW_CELLS):
            windows = ra_windows(circle, margin)
            if windows is None:
                return None
            found.extend(windows)
        merged = _merged(sorted(found), _GAP)
        if sum(high - low for low, high in merged) > 300.0:
            return None
        # A MOC without cells has no position: bounds that nothing keeps.
        return merged or ((1.0, 0.0),)


def _merged(ranges: Sequence[tuple[_N, _N]], gap: _N) -> tuple[tuple[_N, _N], ...]:
    """Ascending ranges, joined where less than *gap* or nothing is between them."""
    merged: list[tuple[_N, _N]] = []
    for low, high in ranges:
        if merged and low <= merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def read(text: str) -> Moc:
    """A MOC from its ASCII form: ``4/30-33 5/1024,1026``, with spaces or commas.

    Raises
    ------
    ValueError
        Names what cannot be read, or a cell that its order does not have.
    """
    order, deepest = None, 0
    ranges: list[tuple[int, int, int]] = []
    for word in text.replace(",", " ").split():
        found = _PART.fullmatch(word)
        if found is None or (found["last"] and not found["first"]):
            raise ValueError(f"'{word[:40]}' is no part of a MOC, expected as in '4/30-33 5/1024'")
        if found["order"]:
            order = int(found["order"])
            deepest = max(deepest, order)
        if order is None or order > _MAX_ORDER:
            raise ValueError(f"'{word[:40]}': expected an order of 0 to {_MAX_ORDER} before '/'")
        if not found["first"]:
            continue
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if not first <= last < 12 * 4**order:
            raise ValueError(f"'{word[:40]}': expected cells of 0 to {12 * 4**order - 1}")
        ranges.append((order, first, last))
    if len(ranges) > _MAX_RANGES:
        raise ValueError(f"a MOC has more than {_MAX_RANGES} ranges of cells")
    return Moc(tuple(ranges), deepest)


def cell(order: Sql, place: Sql) -> Sql:
    """The cell of an order that an spoint lies in."""
    return func.healpix_nest(order, _inside(place))


def _inside(place: Sql) -> Sql:
    """An spoint moved by half a milli-arcsec where pgSphere 1.1 would find a wrong cell.

    It errs by a quarter of the sky exactly at longitudes 0, 90, 180 and 270, and at the poles.
    """
    given = place if isinstance(place, ColumnClause) else once(place=place).c.place
    lon = func.long(given)
    from_edge = func.abs(lon - _QUARTER * func.round(lon / _QUARTER))
    near: Sql = literal(_NEAR, DOUBLE)
    lat = func.lat(given)
    moved = func.spoint(lon + 2 * near, lat)
    # At a pole every longitude is right, and half a radian is far from all edges.
    beside = func.spoint(literal(0.5, DOUBLE), lat - func.sign(lat) * 2 * near)
    at_pole = func.abs(lat) > literal(math.pi / 2, DOUBLE) - near
    sql = case((at_pole, beside), (from_edge < near, moved), else_=given)
    return sql if given is place else select(sql).scalar_subquery()


def constant(moc: Moc) -> Shape:
    """A MOC of a literal as a pgSphere value."""
    return Shape(kind="moc", sql=cast(literal(moc.text), SMOC), region=moc)


def coverage(order: float | None, shape: Shape) -> Shape:
    """The cells of an order that a geometry touches.

    pgSphere gives all of these, and a few per cent more that only come close.

    Raises
    ------
    ValueError
        An order that is not known beforehand or too high, or no shape for it.
    """
    if not isinstance(order, int) or not 0 <= order <= MAX_COVERAGE_ORDER:
        raise ValueError(f"expected a literal order of 0 to {MAX_COVERAGE_ORDER}")
    if shape.kind == "moc":
        return Shape(kind="moc", sql=func.smoc_degrade(literal(order, Integer()), shape.sql))
    if shape.kind == "point":
        return Shape(kind="moc", sql=func.smoc(literal(order, Integer()), _inside(shape.sql)))
    if shape.large:
        raise ValueError("a MOC of a circle of more than 90 degrees is not supported")
    return Shape(kind="moc", sql=func.smoc(literal(order, Integer()), shape.sql))
