"""Subaru: six raw chips of two Hyper Suprime-Cam exposures, with headers still to be corrected.

Their FRAMEIDs lie in the ranges of `data/hsc_header_corrections.csv`, whose quality keywords
(T_SEEING ...) are 0 here, as that table says they were before the correction.
Source: Subaru FITS rules, "FRAMEID for Subaru Telescope" and "Frame Number: HSC" (the six
leading digits are the exposure, one more on its second half). Places of chips are ours.
Units: degrees (FK5, 2000.0), arcsec per pixel, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from astropy.time import Time

from vo_service.demo.paint import paint_stars
from vo_service.demo.plan import Camera, Card, Plan, make_header, read_rows, tangent_cards

__all__ = ["subaru_plans"]

_WIDTH, _HEIGHT = 2048, 4176
_SCALE = 0.17
_GAP = (60, 120)
_CENTRE = (150.119, 2.206)

_CAMERA = Camera(zero_point=29.0, fwhm=4.2, sky=900.0, noise=6.0, faintest=21.0, dtype=np.uint16)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposure:
    """One exposure; *chips* maps a frame number to its place, counted east and north."""

    number: int
    start: datetime
    filter: str
    colour: float
    has_mjd: bool
    chips: dict[int, tuple[int, int]]


_EXPOSURES = (
    _Exposure(
        number=152974,
        start=datetime(2018, 12, 20, 13, 31, 12, 345000),
        filter="HSC-g",
        colour=1.0,
        has_mjd=True,
        chips={15297400: (0, 0), 15297423: (1, 0), 15297542: (0, 1)},
    ),
    _Exposure(
        number=152976,
        start=datetime(2018, 12, 20, 13, 40, 2, 118000),
        filter="HSC-Y",
        colour=-0.7,
        has_mjd=False,
        chips={15297600: (0, 0), 15297657: (-1, 0), 15297742: (-1, 1)},
    ),
)
_EXPOSURE_S = 150.0


def subaru_plans() -> list[Plan]:
    """Six frames, three of each exposure."""
    quality = sorted({row["keyword"] for row in read_rows("hsc_header_corrections.csv")})
    return [
        _plan(exposure, number, place, quality)
        for exposure in _EXPOSURES
        for number, place in exposure.chips.items()
    ]


def _plan(exposure: _Exposure, number: int, place: tuple[int, int], quality: list[str]) -> Plan:
    east, north = place
    crpix = (
        (_WIDTH + 1) / 2 + east * (_WIDTH + _GAP[0]),
        (_HEIGHT + 1) / 2 - north * (_HEIGHT + _GAP[1]),
    )
    cards = _cards(exposure, number)
    cards += tangent_cards(*_CENTRE, crpix, _SCALE)
    cards += [(keyword, 0.0, "quality, not yet measured") for keyword in quality]
    return Plan(
        path=f"subaru/{exposure.start:%Y/%m/%d}/HSCA{number:08d}.fits",
        header=make_header(cards),
        shape=(_HEIGHT, _WIDTH),
        camera=_CAMERA,
        paint=paint_stars,
        compressed=True,
        colour=exposure.colour,
    )


def _cards(exposure: _Exposure, number: int) -> list[Card]:
    end = exposure.start + timedelta(seconds=_EXPOSURE_S)
    cards: list[Card] = [
        ("OBSERVAT", "NAOJ", "observatory"),
        ("TELESCOP", "Subaru", "telescope"),
        ("INSTRUME", "Hyper Suprime-Cam", "instrument"),
        ("FRAMEID", f"HSCA{number:08d}", "frame"),
        ("EXP-ID", f"HSCE{exposure.number:06d}00", "exposure"),
        ("DET-ID", number % 100 + 58 * (number // 100 % 2), "detector"),
        ("DATA-TYP", "OBJECT", "kind of data"),
        ("OBS-MOD", "IMAG", "mode of observation"),
        ("PROP-ID", "o18431", "proposal"),
        ("OBSERVER", "Demonstration", "observer"),
        ("OBJECT", "COSMOS", "field"),
        ("DATE-OBS", f"{exposure.start:%Y-%m-%d}", "[UTC] date of the start"),
        ("UT-STR", _clock(exposure.start), "[UTC] start"),
        ("UT-END", _clock(end), "[UTC] end"),
        ("EXPTIME", _EXPOSURE_S, "[s] exposure time"),
        ("FILTER01", exposure.filter, "filter"),
        ("BUNIT", "ADU", "unit of the pixels"),
        ("RADESYS", "FK5", "frame of the coordinates"),
        ("EQUINOX", 2000.0, "equinox of the coordinates"),
    ]
    if exposure.has_mjd:
        cards += [
            ("MJD-STR", float(Time(exposure.start).mjd), "[d] start"),
            ("MJD-END", float(Time(end).mjd), "[d] end"),
        ]
    return cards


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
