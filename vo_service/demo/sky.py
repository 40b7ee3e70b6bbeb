"""A pseudo-catalogue of the whole sky, so that overlapping frames show the same stars.

Nothing is stored: each HEALPix cell has its own seed, from which its stars follow. Counts
rise with magnitude by 10^(0.3 m), about as the real sky does away from the Galactic plane.
Units: degrees (ICRS), magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import healpy
import numpy as np
from numpy.typing import NDArray

__all__ = ["Stars", "stars_within"]

_SEED = 20200814
_NSIDE = 64  # cells of 0.84 square degrees
_FINE = 18  # a position is one of 4^18 places in its cell: 0.01 arcsec
_PER_CELL = 6000
_BRIGHTEST, _FAINTEST = 8.0, 21.0
_SLOPE = 0.3


@dataclass(frozen=True, slots=True)
class Stars:
    """Arrays of one length; *colour* is g minus r."""

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    colour: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ra)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Stars:
        return Stars(self.ra[chosen], self.dec[chosen], self.magnitude[chosen], self.colour[chosen])


def stars_within(ra: float, dec: float, radius: float, faintest: float = _FAINTEST) -> Stars:
    """All stars within *radius* of a position, as bright as *faintest* or brighter.

    Parameters
    ----------
    ra, dec, radius
        Degrees, ICRS.
    faintest
        Magnitude; the catalogue itself ends at 21.
    """
    centre = healpy.ang2vec(ra, dec, lonlat=True)
    # A little wider: healpy finds no cell at all for a circle of no radius at a pole.
    reach = np.radians(radius + 0.1)
    cells = healpy.query_disc(_NSIDE, centre, reach, inclusive=True, nest=True)
    columns = np.concatenate([_cell(int(cell)) for cell in cells], axis=1)
    stars = Stars(*columns)
    distance = healpy.rotator.angdist([ra, dec], [stars.ra, stars.dec], lonlat=True)
    return stars[(np.degrees(distance) <= radius) & (stars.magnitude <= faintest)]


def _cell(cell: int) -> NDArray[np.float64]:
    """Ra, dec, magnitude and colour (4 rows) of the stars of one cell.

    Nested numbers of a finer HEALPix map fill a cell evenly, so a random number is a
    uniform position. Magnitudes come from the inverse of the cumulative count.
    """
    rng = np.random.default_rng([_SEED, cell])
    places = (cell << (2 * _FINE)) + rng.integers(4**_FINE, size=_PER_CELL)
    ra, dec = healpy.pix2ang(_NSIDE << _FINE, places, nest=True, lonlat=True)
    low = 10.0 ** (_SLOPE * (_BRIGHTEST - _FAINTEST))
    magnitude = _FAINTEST + np.log10(rng.uniform(low, 1.0, _PER_CELL)) / _SLOPE
    colour = rng.normal(0.6, 0.3, _PER_CELL)
    return np.stack([ra, dec, magnitude, colour])
