"""What to cut out of a dataset: a region of the sky, intervals, states, pixels.

Source: SODA 1.0, "Filtering parameters". Angles are ICRS degrees, wavelengths metres (vacuum),
times MJD (UTC) in days.
"""

from __future__ import annotations

from dataclasses import dataclass

from vo_service.model.region import Circle, Polygon

__all__ = ["Bounds", "PixelStencil", "Range", "Shape", "Stencil"]

#: Lower and upper end, both included; may be infinite.
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Range:
    """All positions between two meridians and two parallels; *lon* may be infinite: all of it."""

    lon: Bounds
    lat: Bounds


Shape = Circle | Range | Polygon


@dataclass(frozen=True, slots=True)
class PixelStencil:
    """Pixels of one image.

    *hdu* is the number of the HDU or its EXTNAME, None for the first image of the file. *axes*
    are first and last pixel of each axis, counted from 1, in FITS order; None for a whole axis.
    """

    hdu: int | str | None
    axes: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stencil:
    """One cutout of a dataset: whatever meets all of what is given.

    *text* says it as the request did, for the header of the result.
    """

    shape: Shape | None = None
    band: Bounds | None = None
    time: Bounds | None = None
    states: frozenset[str] = frozenset()
    pixels: PixelStencil | None = None
    text: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off."""
        asked = (self.shape, self.band, self.time, self.pixels)
        return not self.states and all(part is None for part in asked)
