"""What one demonstration file will be, said before a pixel of it is made.

A `Plan` holds the whole header (all facts) and names the painter of its pixels. Plans are
made by `demo.tomoe`, `demo.triccs` and `demo.subaru`, written by `demo.files`.
Units: pixels, seconds, arcseconds per pixel, counts (adu), magnitudes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

__all__ = [
    "Camera",
    "Card",
    "Painter",
    "Plan",
    "make_header",
    "read_rows",
    "tangent_cards",
    "time_cards",
]

#: A header card: keyword, value, comment.
Card = tuple[str, str | int | float, str]

#: The painter of a plan: expected counts per pixel, before noise, in the shape of the plan.
Painter = Callable[["Plan", np.random.Generator], NDArray[np.float32]]

#: Nobody shall take a demonstration file for an observation.
_SYNTHETIC = "Synthetic pixels drawn by vo-service demo: not an observation."


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How a camera turns magnitudes into counts.

    *zero_point* is the magnitude of one count per frame, *fwhm* the seeing in pixels, *sky*
    and *noise* the background and its standard deviation, *faintest* the faintest star
    drawn (magnitudes).
    """

    zero_point: float
    fwhm: float
    sky: float
    noise: float
    faintest: float
    dtype: type[np.int16 | np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One file: *path* below the archive, *shape* as in ``data.shape`` (last axis is NAXIS1).

    *compressed* files are tile-compressed (RICE), as fpack does it: an empty primary HDU,
    then the image. *colour* is the weight of a star's colour in this band.
    """

    path: str
    header: fits.Header
    shape: tuple[int, ...]
    camera: Camera
    paint: Painter
    compressed: bool
    colour: float = 0.0

    @property
    def night(self) -> str:
        """The directory of the night: collection, year, month, day."""
        return "/".join(self.path.split("/")[:4])


def tangent_cards(
    ra: float,
    dec: float,
    crpix: tuple[float, float],
    scale: float,
    *,
    turned: bool = False,
) -> list[Card]:
    """WCS of a gnomonic image, north up and east left, or *turned* by 180 degrees.

    *ra*, *dec* (degrees) are the tangent point, which lies at pixel *crpix* (first pixel is
    1) and may be outside of the image. Source: FITS WCS paper II, "TAN: gnomonic".
    """
    step = -scale / 3600.0 if turned else scale / 3600.0
    return [
        ("CTYPE1", "RA---TAN", "gnomonic projection"),
        ("CTYPE2", "DEC--TAN", "gnomonic projection"),
        ("CUNIT1", "deg", "unit of CRVAL1 and CD1_j"),
        ("CUNIT2", "deg", "unit of CRVAL2 and CD2_j"),
        ("CRVAL1", ra, "[deg] tangent point, right ascension"),
        ("CRVAL2", dec, "[deg] tangent point, declination"),
        ("CRPIX1", crpix[0], "[pix] tangent point"),
        ("CRPIX2", crpix[1], "[pix] tangent point"),
        ("CD1_1", -step, "[deg/pix]"),
        ("CD1_2", 0.0, "[deg/pix]"),
        ("CD2_1", 0.0, "[deg/pix]"),
        ("CD2_2", step, "[deg/pix]"),
    ]


def time_cards(start: datetime, step_s: float) -> list[Card]:
    """WCS of the third axis of a movie: seconds since *start* (UTC), one frame per *step_s*.

    Its CD3_3 stands beside the CD matrix of the sky, its CDELT3 is for those who look there.
    Source: FITS WCS paper IV, "Time coordinate axes".
    """
    return [
        ("CTYPE3", "TIME", "time since DATEREF"),
        ("CUNIT3", "s", "unit of CRVAL3 and CD3_3"),
        ("CRVAL3", 0.0, "[s] start of the first frame"),
        ("CRPIX3", 0.5, "leading edge of the first frame"),
        ("CDELT3", step_s, "[s] per frame"),
        ("CD3_3", step_s, "[s] per frame"),
        ("DATEREF", start.isoformat(timespec="milliseconds"), "[UTC] zero of the time axis"),
        ("TIMESYS", "UTC", "time scale"),
    ]


def make_header(cards: list[Card]) -> fits.Header:
    """The cards, and a comment that the pixels are synthetic."""
    header = fits.Header(cards)
    header.add_comment(_SYNTHETIC)
    return header


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of one of the CSV files in ``demo/data``, which hold published facts."""
    text = resources.files("vo_service.demo").joinpath("data", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
