"""Tomo-e Gozen: 18 stacked frames of one field, and one whole exposure of 84 chips.

Facts: `data/tomoe_query_rows.csv` and `data/tomoe_exposure_357754_files.csv`, read off the
pages of the Tomo-e Gozen archive (Tomo-e Gozen Project, "Tomo-e Gozen no deeta kaiseki", 2020).
The list of 357754 on that slide lacks three of its 84 stacks (quadrant 3, chips 42 to 44);
they are made here as well, with no time of reduction. The places of the chips in the focal
plane are ours: four quadrants of 6 + 6 + 5 + 4 chips within a circle of 9 degrees.
Units: degrees (ICRS), arcsec per pixel, seconds.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from vo_service.demo.paint import paint_movie, paint_stars
from vo_service.demo.plan import (
    Camera,
    Card,
    Plan,
    make_header,
    read_rows,
    tangent_cards,
    time_cards,
)

__all__ = ["CHIPS", "CHIP_SIZE", "EXPOSURE", "chip_offset", "tomoe_plans"]

_SCALE = 1.189
_WIDTH, _HEIGHT = 2160, 1200
_MIDDLE = ((_WIDTH + 1) / 2, (_HEIGHT + 1) / 2)

#: Width and height of a chip on the sky.
CHIP_SIZE = (_WIDTH * _SCALE / 3600.0, _HEIGHT * _SCALE / 3600.0)
_FRAMES, _FRAME_S = 18, 0.5
_CUTOUT = 64

#: A stack goes to about 18 mag; one frame of a movie is noisier by the root of 18.
_STACK = Camera(zero_point=23.4, fwhm=3.0, sky=210.0, noise=3.0, faintest=19.0, dtype=np.int16)
_MOVIE = Camera(zero_point=23.4, fwhm=3.0, sky=210.0, noise=12.0, faintest=19.0, dtype=np.int16)

#: The exposure of which all chips are here: number, centre (RA, Dec) and start (UTC).
EXPOSURE = 357754
_CENTRE = (60.037, 0.0)
_START = datetime(2020, 8, 14, 19, 0)
_OBJECT = "J0400+0000_dith1"

#: Quadrant: signs of its side (east, north), and whether its chips stand upside down.
_QUADRANTS = {1: (1, 1, False), 2: (-1, 1, False), 3: (-1, -1, True), 4: (1, -1, True)}
_ROWS = {1: 6, 2: 6, 3: 5, 4: 4}
_PITCH = (0.90, 0.65)

#: All chips of the camera as (quadrant, chip), chip = 10 * row + place in the row.
CHIPS = tuple(
    (quadrant, 10 * row + place)
    for quadrant in _QUADRANTS
    for row, length in _ROWS.items()
    for place in range(1, length + 1)
)


def tomoe_plans() -> list[Plan]:
    """The 18 frames, the 84 chips and the 6 movies of moving objects."""
    reduced = {
        row["filename"]: row["reduced_at"] for row in read_rows("tomoe_exposure_357754_files.csv")
    }
    chips = [_chip(quadrant, chip, reduced) for quadrant, chip in CHIPS]
    movies = [_movie(name, time) for name, time in reduced.items() if name.startswith("n")]
    return [*_field_frames(), *chips, *movies]


def _field_frames() -> list[Plan]:
    plans: list[Plan] = []
    paths: set[str] = set()
    for row in read_rows("tomoe_query_rows.csv"):
        name = row["filename"]
        path = _path(name)
        if path in paths:  # the same frame, reduced again with another astrometry
            path = path.replace(name, f"r2/{name}")
        paths.add(path)
        start = datetime.fromisoformat(row["date_obs_utc"])
        cards = _cards(name, start, row["object"], row["observer"], row["project"])
        cards += tangent_cards(float(row["ra_deg"]), float(row["dec_deg"]), _MIDDLE, _SCALE)
        plans.append(_stack(path, cards, compressed=False))
    return plans


def _chip(quadrant: int, chip: int, reduced: dict[str, str]) -> Plan:
    name = f"sTMQ{quadrant}{_START:%Y%m%d}{EXPOSURE:08d}{chip:02d}.fits"
    cards = _cards(
        name, _START, _OBJECT, "Morokuma", "Supernova Survey", reduced_at=reduced.get(name)
    )
    crpix, turned = _place(quadrant, chip)
    cards += tangent_cards(*_CENTRE, crpix, _SCALE, turned=turned)
    return _stack(_path(name), cards, compressed=True)


def _movie(name: str, reduced_at: str) -> Plan:
    """A cut-out about the middle of its chip, one plane per frame of the exposure."""
    crpix, turned = _place(int(name[4]), int(name[21:23]))
    chip = WCS(fits.Header(tangent_cards(*_CENTRE, crpix, _SCALE, turned=turned)))
    ra, dec = (float(value) for value in chip.wcs_pix2world([_MIDDLE], 1)[0])
    cards = _cards(name, _START, _OBJECT, "Morokuma", "Supernova Survey", reduced_at=reduced_at)
    middle = (_CUTOUT + 1) / 2
    cards += tangent_cards(ra, dec, (middle, middle), _SCALE, turned=turned)
    cards += time_cards(_START, _FRAME_S)
    return Plan(
        path=_path(name),
        header=make_header(cards),
        shape=(_FRAMES, _CUTOUT, _CUTOUT),
        camera=_MOVIE,
        paint=paint_movie,
        compressed=False,
    )


def _place(quadrant: int, chip: int) -> tuple[tuple[float, float], bool]:
    """CRPIX of the camera's centre on a chip, and whether the chip is upside down."""
    turned = _QUADRANTS[quadrant][2]
    xi, eta = chip_offset(quadrant, chip)
    step = -_SCALE / 3600.0 if turned else _SCALE / 3600.0
    return (_MIDDLE[0] + xi / step, _MIDDLE[1] - eta / step), turned


def chip_offset(quadrant: int, chip: int) -> tuple[float, float]:
    """The middle of a chip on the tangent plane of the camera's centre: degrees east, north."""
    east, north, _ = _QUADRANTS[quadrant]
    return east * (chip // 10 - 0.5) * _PITCH[0], north * (chip % 10 - 0.5) * _PITCH[1]


def _stack(path: str, cards: list[Card], *, compressed: bool) -> Plan:
    return Plan(
        path=path,
        header=make_header(cards),
        shape=(_HEIGHT, _WIDTH),
        camera=_STACK,
        paint=paint_stars,
        compressed=compressed,
    )


def _path(name: str) -> str:
    """``sTMQ1202006170035071314.fits``: its night, 2020-06-17, is part of the name."""
    return f"tomoe/{name[5:9]}/{name[9:11]}/{name[11:13]}/{name}"


def _cards(
    name: str,
    start: datetime,
    target: str,
    observer: str,
    project: str,
    *,
    reduced_at: str | None = None,
) -> list[Card]:
    cards: list[Card] = [
        ("TELESCOP", "Kiso Schmidt", "telescope"),
        ("OBSERVAT", "Kiso Observatory", "observatory"),
        ("INSTRUME", "Tomo-e Gozen", "instrument"),
        ("EXP_ID", int(name[13:21]), "exposure number"),
        ("DET_ID", 100 * int(name[4]) + int(name[21:23]), "quadrant * 100 + chip"),
        ("OBJECT", target, "field"),
        ("OBSERVER", observer, "observer"),
        ("PROJECT", project, "programme"),
        ("DATA_TYP", "OBJECT", "kind of data"),
        ("OBS_MOD", "IMAG", "mode of observation"),
        ("DATE-OBS", start.isoformat(timespec="milliseconds"), "[UTC] start of the exposure"),
        ("EXPTIME", _FRAMES * _FRAME_S, "[s] total exposure time"),
        ("TFRAME", _FRAME_S, "[s] exposure time of one frame"),
        ("NFRAME", _FRAMES, "number of frames"),
        ("FILTER", "none", "no filter"),
        ("BUNIT", "adu", "unit of the pixels"),
        ("RADESYS", "ICRS", "frame of the coordinates"),
    ]
    if reduced_at:
        cards.append(("DATE", datetime.fromisoformat(reduced_at).isoformat(), "[UTC] reduced at"))
    return cards
