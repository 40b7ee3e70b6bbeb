"""SIA 2.0 parameters: pairs of strings in, one `ImageSearch` out.

Source: SIA 2.0, "{query} resource"; DALI 1.1, "Parameters". Units out: degrees (ICRS), metres
(wavelength), days (MJD, UTC), seconds, arcsec. Names are compared without case; parameters that
neither SIA nor this service defines are ignored. ``MOC`` is an extension of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vo_service.errors import UsageError
from vo_service.model.obscore import CALIB_LEVELS, POL_STATES
from vo_service.model.stencil import Bounds, Shape
from vo_service.params.dali import (
    given_values,
    read_interval,
    read_numbers,
    read_shape,
    short,
    single,
    wrong,
)
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["IMAGE_TYPES", "INTERVALS", "TEXTS", "ImageSearch", "parse_image_search"]

#: What DPTYPE may say, and what an answer holds.
IMAGE_TYPES = ("image", "cube")

#: Parameters of a number or two.
INTERVALS = ("BAND", "TIME", "FOV", "SPATRES", "SPECRP", "EXPTIME", "TIMERES")

#: Parameters whose value is a text that must be equal.
TEXTS = ("COLLECTION", "FACILITY", "INSTRUMENT", "TARGET", "FORMAT")

_NAMES = (*INTERVALS, *TEXTS, "POS", "MOC", "POL", "ID", "DPTYPE", "CALIB")
_SINGLE = ("MAXREC", "RESPONSEFORMAT")

# Each place is a condition of its own and is worked out before the database is asked.
_PLACES, _VERTICES = 1000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSearch:
    """What images must be: each of these that has values must have one that fits.

    *intervals* and *texts* are by parameter, *mocs* as written, *ids* in the case in which they
    came. *response_format* is what the client asked for.
    """

    places: tuple[Shape, ...] = ()
    mocs: tuple[str, ...] = ()
    intervals: dict[str, tuple[Bounds, ...]] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = IMAGE_TYPES
    levels: tuple[int, ...] = ()
    maxrec: int
    response_format: str | None = None


def parse_image_search(pairs: Pairs, *, maxrec_default: int, maxrec_limit: int) -> ImageSearch:
    """Check the parameters of a search for images.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came; empty values count as none.
    maxrec_default, maxrec_limit
        Rows where MAXREC is absent, and at most.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given = given_values(pairs, (*_NAMES, *_SINGLE))
    once = {name: list(dict.fromkeys(given[name])) for name in _NAMES}
    _check_places(once)
    return ImageSearch(
        places=tuple(read_shape("POS", text) for text in once["POS"]),
        mocs=tuple(once["MOC"]),
        intervals={
            name: tuple(_bounds(name, text) for text in once[name])
            for name in INTERVALS
            if once[name]
        },
        texts={name: tuple(once[name]) for name in TEXTS if once[name]},
        states=tuple(_one_of("POL", text, POL_STATES) for text in once["POL"]),
        ids=tuple(once["ID"]),
        types=tuple(_one_of("DPTYPE", text, IMAGE_TYPES) for text in once["DPTYPE"]) or IMAGE_TYPES,
        levels=tuple(
            int(_one_of("CALIB", text, [str(level) for level in CALIB_LEVELS]))
            for text in once["CALIB"]
        ),
        maxrec=min(parse_maxrec(single("MAXREC", given), maxrec_default), maxrec_limit),
        response_format=single("RESPONSEFORMAT", given),
    )


def _check_places(given: dict[str, list[str]]) -> None:
    count = len(given["POS"]) + len(given["MOC"])
    if count > _PLACES:
        raise UsageError(f"the request has {count} values of POS and MOC: expected {_PLACES}")
    vertices = sum(text.count(" ") for text in given["POS"]) // 2
    if vertices > _VERTICES:
        raise UsageError(
            f"the values of POS have {vertices} vertices: expected at most {_VERTICES}"
        )


def _bounds(name: str, text: str) -> Bounds:
    """One number, or two of which the outer ones may be infinite."""
    numbers = read_numbers(name, text, infinite=True)
    if len(numbers) == 1 and math.isfinite(numbers[0]):
        return numbers[0], numbers[0]
    if len(numbers) != 2:
        raise wrong(name, text, "one number, or two such as '55 56' or '55 +Inf'")
    low, high = read_interval(name, text)
    if low == math.inf or high == -math.inf:
        raise wrong(name, text, "a number, or -Inf first and +Inf last")
    return low, high


def _one_of(name: str, text: str, known: tuple[str, ...] | list[str]) -> str:
    if text not in known:
        raise UsageError(f"{name}={short(text)}: expected one of {', '.join(known)}")
    return text
