"""The smallest box of pixels whose area on the sky meets a region.

The image is halved again and again; parts that lie outside of the region or that cannot widen
the box are put aside. Only the way from pixels to the sky is used: projections that cannot be
inverted everywhere, poles, and the meridian at 0h need no care of their own.
A part is compared as the smallest circle around its samples, with a third to spare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vo_service.imaging.shapes import Distance
from vo_service.ingest.sky import Sky

__all__ = ["Box", "pixel_box"]

#: First pixel and the one behind the last of each axis, counted from 0, in FITS order.
Box = tuple[tuple[int, int], ...]

_FIRST_PARTS = 8
#: Parts of a pixel that are halved no further.
_SMALLEST = 1.0 / 64.0
#: Undecided parts at most: an edge that runs along a row of pixels leaves very many.
_MOST = 20_000
#: Where the sky ends between samples, parts are halved down to this share of the image.
_RIM = 1.0 / 64.0

Parts = NDArray[np.float64]


def pixel_box(sky: Sky, distance: Distance) -> Box | None:
    """First and last pixels, of the two axes in *sky*, that meet a region.

    Parameters
    ----------
    sky
        The celestial axes of an image.
    distance
        Degrees from the edge of the region, negative inside.

    Returns
    -------
    Box or None
        None if no pixel meets the region. Pixels into which the region reaches by less than 1/64
        of a pixel (1/16 where its edge runs along the pixels) may be left out, unless it is so
        small that there are no others.
    """
    found, touched = _Found(), _Found()
    rim = max(sky.lengths) * _RIM
    parts = _first_parts(sky.lengths)
    while len(parts):
        middle, radius, whole, nowhere = _circles(sky, parts)
        away = np.full(len(parts), np.inf)
        seen = ~nowhere
        away[seen] = distance(middle[seen])
        size = np.maximum(parts[:, 1] - parts[:, 0], parts[:, 3] - parts[:, 2])
        found.add_points(parts[away <= 0.0])
        inside = whole & (away < -radius)
        found.add(parts[inside])
        undecided = (seen & (away <= radius) & ~inside) | (nowhere & (size > rim))
        parts = found.widening(parts[undecided])
        size = np.maximum(parts[:, 1] - parts[:, 0], parts[:, 3] - parts[:, 2])
        small = size <= _SMALLEST
        if len(parts) > _MOST:
            small |= size <= 1.0
        touched.add(parts[small])
        parts = _halved(found.widening(parts[~small]))
    return found.box or touched.box


class _Found:
    """The box so far; pixel numbers count from 0, their centres are whole numbers."""

    def __init__(self) -> None:
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)

    @property
    def box(self) -> Box | None:
        if not np.isfinite(self._low).all():
            return None
        (x0, y0), (x1, y1) = self._low.astype(int), self._high.astype(int)
        return ((int(x0), int(x1)), (int(y0), int(y1)))

    def add(self, parts: Parts) -> None:
        """Take whole parts in."""
        if len(parts):
            low = np.floor(parts[:, [0, 2]].min(axis=0) + 1e-9)
            high = np.ceil(parts[:, [1, 3]].max(axis=0) - 1e-9)
            self._low = np.minimum(self._low, low)
            self._high = np.maximum(self._high, high)

    def add_points(self, parts: Parts) -> None:
        """Take in the pixels of the middles of parts."""
        if len(parts):
            middle = (parts[:, [0, 2]] + parts[:, [1, 3]]) / 2.0
            self._low = np.minimum(self._low, np.floor(middle.min(axis=0)))
            self._high = np.maximum(self._high, np.floor(middle.max(axis=0)) + 1.0)

    def widening(self, parts: Parts) -> Parts:
        """Those of the parts that reach beyond the box."""
        (x0, y0), (x1, y1) = self._low, self._high
        beyond = (parts[:, 0] < x0) | (parts[:, 1] > x1) | (parts[:, 2] < y0) | (parts[:, 3] > y1)
        return np.asarray(parts[beyond])


def _first_parts(lengths: tuple[int, int]) -> Parts:
    """The image in parts: x from, x to, y from, y to, where pixel 0 reaches from 0 to 1."""
    edges = [
        np.unique(np.linspace(0, length, min(_FIRST_PARTS, length) + 1).astype(int).astype(float))
        for length in lengths
    ]
    x, y = (edge[:-1] for edge in edges)
    right, top = (edge[1:] for edge in edges)
    grid = np.meshgrid(np.arange(len(x)), np.arange(len(y)))
    i, j = (axis.ravel() for axis in grid)
    return np.column_stack((x[i], right[i], y[j], top[j]))


def _halved(parts: Parts) -> Parts:
    """Each part in halves across its longer side; whole pixels stay whole as long as they can."""
    if not len(parts):
        return parts
    wide = parts[:, 1] - parts[:, 0] >= parts[:, 3] - parts[:, 2]
    low = np.where(wide, parts[:, 0], parts[:, 2])
    high = np.where(wide, parts[:, 1], parts[:, 3])
    middle = (low + high) / 2.0
    middle = np.where(high - low > 1.0, np.floor(middle + 0.5), middle)
    first, second = parts.copy(), parts.copy()
    for column, chosen in ((0, wide), (2, ~wide)):
        first[chosen, column + 1] = middle[chosen]
        second[chosen, column] = middle[chosen]
    return np.concatenate((first, second))


def _circles(
    sky: Sky, parts: Parts
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """A circle around each part: middle (unit vectors), radius (degrees).

    And whether the part is all sky, and whether none of it is.
    """
    left, right, bottom, top = parts.T
    middle_x, middle_y = (left + right) / 2.0, (bottom + top) / 2.0
    x = np.column_stack((middle_x, left, right, left, right))
    y = np.column_stack((middle_y, bottom, bottom, top, top))
    # Pixel 0 reaches from 0 to 1 here, from 0.5 to 1.5 for the WCS.
    pixels = np.column_stack((x.ravel(), y.ravel())) + 0.5
    directions = sky.directions(pixels).reshape(len(parts), 5, 3)
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(directions).all(axis=2))
    first = valid.argmax(axis=1)  # the middle itself where it is sky
    middle: NDArray[np.float64] = np.asarray(directions[np.arange(len(parts)), first])
    chord = np.linalg.norm(directions - middle[:, None, :], axis=2)
    chord = np.where(valid, chord, 0.0).max(axis=1)
    reach = np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))
    whole: NDArray[np.bool_] = np.asarray(valid.all(axis=1))
    # Samples far apart, or at the rim of the sky, say little of what lies between them.
    radius = np.where(reach > 60.0, 180.0, reach * 1.33 + 1e-12)
    radius = np.where(whole, radius, np.maximum(radius, 2.0 * reach))
    return middle, radius, whole & (reach <= 60.0), ~np.asarray(valid.any(axis=1))
