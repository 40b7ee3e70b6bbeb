"""TriCCS on the Seimei telescope: cubes of three colours, spectra, a dark, a recent night.

TriCCS takes movies of 2160 x 1280 pixels in g, r and i or z at once; the three frames share
their EXP-ID (FRAMEID without its last digit). Source: the header keywords agreed for the
collection file `triccs`; targets are real, exposures are not.
Units: seconds, arcsec per pixel, nanometres (vacuum), degrees (ICRS).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from vo_service.demo.paint import paint_dark, paint_spectrum, paint_stars
from vo_service.demo.plan import (
    Camera,
    Card,
    Painter,
    Plan,
    make_header,
    tangent_cards,
    time_cards,
)

__all__ = ["BANDS", "RECENT_EXPOSURE", "recent_night", "triccs_plans"]

#: Band: short and long edge in nanometres.
BANDS = {"g": (400.0, 555.0), "r": (555.0, 695.0), "i": (695.0, 840.0), "z": (840.0, 1000.0)}

#: Weight of a star's g - r in its magnitude.
_COLOURS = {"g": 1.0, "r": 0.0, "i": -0.4, "z": -0.6}

#: The exposure of a night that is still proprietary (18 months).
RECENT_EXPOSURE = 30000
_RECENT_DAYS, _PROPRIETARY_DAYS = 30, 540
_NIGHT = "[12][0-9][0-9][0-9]/[01][0-9]/[0-3][0-9]"

_WIDTH, _HEIGHT = 2160, 1280
_SCALE = 0.350
_MIDDLE = ((_WIDTH + 1) / 2, (_HEIGHT + 1) / 2)

_CAMERA = Camera(zero_point=26.0, fwhm=4.0, sky=400.0, noise=5.0, faintest=21.0, dtype=np.uint16)

_SS_CYG = ("SS Cyg", 325.678446, 43.586074)
_RX_AND = ("RX And", 16.147062, 41.299389)
_V1405_CAS = ("V1405 Cas", 351.199042, 61.187361)  # never sets: up on any recent night


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposure:
    """One exposure of all its arms; *target* is (name, ra, dec), None for a dark."""

    number: int
    start: datetime
    bands: str
    frame_s: float
    frames: int
    target: tuple[str, float, float] | None
    mode: str = "IMAG"
    proposal: str = "21B-N-CN05"
    compressed: bool = True


def recent_night(directory: Path, today: date) -> date:
    """The night of the proprietary exposure: the one already made, or 30 days ago.

    A night that has become public meanwhile is left where it is, and a new one is chosen.
    """
    for file in sorted(directory.glob(f"triccs/{_NIGHT}/TRCS{RECENT_EXPOSURE:07d}1.fits")):
        night = date.fromisoformat("-".join(file.parts[-4:-1]))
        if today - night < timedelta(_PROPRIETARY_DAYS):
            return night
    return today - timedelta(_RECENT_DAYS)


def triccs_plans(recent: date) -> list[Plan]:
    """Thirteen frames of five exposures; *recent* is the night of the last."""
    exposures = (
        _Exposure(
            number=11223, start=datetime(2021, 11, 9, 12, 0), bands="gri",
            frame_s=10.0, frames=3, target=_SS_CYG, compressed=False,
        ),
        _Exposure(
            number=11224, start=datetime(2021, 11, 9, 12, 10), bands="grz",
            frame_s=10.0, frames=3, target=_RX_AND,
        ),
        _Exposure(
            number=11225, start=datetime(2021, 11, 9, 12, 30), bands="gri",
            frame_s=60.0, frames=2, target=_SS_CYG, mode="SPEC",
        ),
        _Exposure(
            number=11226, start=datetime(2021, 11, 9, 19, 0), bands="g",
            frame_s=10.0, frames=2, target=None, proposal="CAL",
        ),
        _Exposure(
            number=RECENT_EXPOSURE, start=datetime.combine(recent, time(12, 0)), bands="gri",
            frame_s=10.0, frames=2, target=_V1405_CAS, proposal=_proposal(recent),
        ),
    )  # fmt: skip
    return [
        _plan(exposure, arm, band)
        for exposure in exposures
        for arm, band in enumerate(exposure.bands, start=1)
    ]


def _proposal(night: date) -> str:
    """A proposal of the night's semester: A is February to July, B August to January."""
    semester = "A" if 2 <= night.month <= 7 else "B"
    year = night.year - 1 if night.month == 1 else night.year
    return f"{year % 100:02d}{semester}-N-CN05"


def _plan(exposure: _Exposure, arm: int, band: str) -> Plan:
    cards = _cards(exposure, arm, band)
    paint: Painter
    if exposure.target is None:
        paint = paint_dark
    elif exposure.mode == "SPEC":
        paint = paint_spectrum
        cards += _slit_cards(exposure, exposure.target, band)
    else:
        paint = paint_stars
        cards += [("RADESYS", "ICRS", "frame of the coordinates")]
        cards += tangent_cards(*exposure.target[1:], _MIDDLE, _SCALE)
        cards += time_cards(exposure.start, exposure.frame_s)
    return Plan(
        path=f"triccs/{exposure.start:%Y/%m/%d}/TRCS{exposure.number:07d}{arm}.fits",
        header=make_header(cards),
        shape=(exposure.frames, _HEIGHT, _WIDTH),
        camera=_CAMERA,
        paint=paint,
        compressed=exposure.compressed,
        colour=_COLOURS[band],
    )


def _cards(exposure: _Exposure, arm: int, band: str) -> list[Card]:
    kind = "OBJECT" if exposure.target else "DARK"
    return [
        ("TELESCOP", "Seimei", "telescope"),
        ("OBSERVAT", "Okayama", "observatory"),
        ("INSTRUME", "TriCCS", "instrument"),
        ("FRAMEID", f"TRCS{exposure.number:07d}{arm}", "frame"),
        ("EXP-ID", f"TRCE{exposure.number:08d}", "exposure, shared by its arms"),
        ("FILTER", band, "band of this arm"),
        ("DATA_TYP", kind, "kind of data"),
        ("OBS_MOD", exposure.mode, "mode of observation"),
        ("PROP-ID", exposure.proposal, "proposal"),
        ("OBSERVER", "Demonstration", "observer"),
        ("OBJECT", exposure.target[0] if exposure.target else "DARK", "target"),
        ("DATE-OBS", exposure.start.isoformat(timespec="milliseconds"), "[UTC] start"),
        ("EXPTIME", exposure.frame_s * exposure.frames, "[s] total exposure time"),
        ("TFRAME", exposure.frame_s, "[s] exposure time of one frame"),
        ("BUNIT", "adu", "unit of the pixels"),
    ]


def _slit_cards(exposure: _Exposure, target: tuple[str, float, float], band: str) -> list[Card]:
    """Wavelength, place along the slit, time; the slit's centre in RA and DEC.

    Source: FITS WCS paper III, "Spectral coordinates" (WAVE is a vacuum wavelength).
    """
    short, long = BANDS[band]
    step = (long - short) / _WIDTH
    centre = SkyCoord(*target[1:], unit="deg")
    return [
        ("RADESYS", "ICRS", "frame of RA and DEC"),
        ("RA", centre.ra.to_string("hourangle", sep=":", pad=True, precision=2), "slit centre"),
        ("DEC", centre.dec.to_string(sep=":", pad=True, alwayssign=True, precision=1), "same"),
        ("CTYPE1", "WAVE", "vacuum wavelength"),
        ("CUNIT1", "nm", "unit of CRVAL1 and CDELT1"),
        ("CRVAL1", short + step / 2, "[nm] middle of the first pixel"),
        ("CRPIX1", 1.0, "first pixel"),
        ("CDELT1", step, "[nm] per pixel"),
        ("CTYPE2", "LINEAR", "along the slit"),
        ("CUNIT2", "arcsec", "unit of CRVAL2 and CDELT2"),
        ("CRVAL2", 0.0, "[arcsec] centre of the slit"),
        ("CRPIX2", _MIDDLE[1], "middle of the detector"),
        ("CDELT2", _SCALE, "[arcsec] per pixel"),
        *(card for card in time_cards(exposure.start, exposure.frame_s) if card[0] != "CD3_3"),
    ]
