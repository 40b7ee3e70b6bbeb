"""SODA parameters: pairs of strings in, one `CutoutQuery` out.

Source: SODA 1.0, "Parameters"; DALI 1.1, "Parameters", xtypes interval, circle, polygon.
Angles are ICRS degrees, wavelengths metres, times MJD (UTC). Names are compared without case;
parameters that SODA and this service do not define are ignored.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vo_service.errors import MultiValuedError, UsageError
from vo_service.model.obscore import POL_STATES
from vo_service.model.region import Circle, Point, Polygon
from vo_service.model.stencil import Bounds, PixelStencil, Range, Shape, Stencil
from vo_service.params.tap import Pairs

__all__ = ["FORMATS", "TAR", "CutoutQuery", "Picture", "parse_cutout_query"]

#: RESPONSEFORMAT, in lower case, to the media type of the answer.
FORMATS = {
    "fits": "application/fits",
    "application/fits": "application/fits",
    "image/fits": "image/fits",
    "png": "image/png",
    "image/png": "image/png",
    "webp": "image/webp",
    "image/webp": "image/webp",
}
_FITS = "application/fits"

#: All cutouts of a job in one archive.
TAR = "application/x-tar"

_STRETCHES = ("linear", "sqrt", "asinh", "log")
_NAMES = (
    *("ID", "POS", "CIRCLE", "POLYGON", "BAND", "TIME", "POL", "PIXEL"),
    *("RESPONSEFORMAT", "STRETCH", "LIMITS", "SIZE"),
)
_VERTICES = 1000
_LONGEST_SIDE = 16_383  # of a WebP
_DIGITS = 18

# No FITS header and no log line should repeat them, and PostgreSQL stores no NUL.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
_PIXEL = re.compile(r"(?:\[(?P<hdu>[^\[\]]{1,70})\])?\[(?P<axes>[^\[\]]*)\]")
_AXIS = re.compile(r"(\d{1,18}):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Picture:
    """How pixels become grey: *stretch*, *limits* (None: chosen by zscale), longest side."""

    stretch: str = "asinh"
    limits: Bounds | None = None
    size: int = 1024


@dataclass(frozen=True, slots=True)
class CutoutQuery:
    """Identifiers and stencils, each with each; how to answer."""

    ids: tuple[str, ...]
    stencils: tuple[Stencil, ...]
    media_type: str = _FITS
    picture: Picture = Picture()

    @property
    def is_picture(self) -> bool:
        """Whether the answer is no FITS."""
        return self.media_type in ("image/png", "image/webp")


def parse_cutout_query(pairs: Pairs, *, limit: int, archives: bool = False) -> CutoutQuery:
    """Check the parameters of a request for cutouts.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came.
    limit
        Cutouts at most, of all identifiers with all stencils.
    archives
        Whether the answer may be `TAR`.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given: dict[str, list[str]] = {name: [] for name in _NAMES}
    for name, value in pairs:
        if value.strip() and (values := given.get(name.upper())) is not None:
            values.append(value.strip())
    ids = tuple(dict.fromkeys(given["ID"]))
    if not ids:
        raise UsageError("ID is missing: expected the obs_publisher_did of a dataset")
    for identifier in ids:
        if _UNWRITABLE.search(identifier):
            raise UsageError("ID holds a control character: expected an identifier")
    asked = math.prod(
        max(1, len(values))
        for values in (
            ids,
            given["POS"] + given["CIRCLE"] + given["POLYGON"],
            *(given[name] for name in ("BAND", "TIME", "PIXEL")),
        )
    )
    if asked > limit:
        raise UsageError(f"the request is for {asked} cutouts: expected at most {limit}")
    return CutoutQuery(
        ids=ids,
        stencils=_stencils(given),
        media_type=_media_type(_single("RESPONSEFORMAT", given), archives=archives),
        picture=_picture(given),
    )


def _stencils(given: dict[str, list[str]]) -> tuple[Stencil, ...]:
    """Each combination of a place, a band, a time and a section; all have the same states."""
    places = [
        (f"{name}={value}", parse(name, value))
        for name, parse in (("POS", _pos), ("CIRCLE", _circle), ("POLYGON", _polygon))
        for value in given[name]
    ]
    bands = [(f"BAND={value}", _band("BAND", value)) for value in given["BAND"]]
    times = [(f"TIME={value}", _interval("TIME", value)) for value in given["TIME"]]
    sections = [(f"PIXEL={value}", _pixels("PIXEL", value)) for value in given["PIXEL"]]
    states = _states(given["POL"])
    shown = " ".join(f"POL={state}" for state in sorted(states))
    nothing = [("", None)]
    return tuple(
        Stencil(
            shape=place[1],
            band=band[1],
            time=time[1],
            states=states,
            pixels=section[1],
            text=" ".join(filter(None, (place[0], band[0], time[0], shown, section[0]))),
        )
        for place, band, time, section in itertools.product(
            places or nothing, bands or nothing, times or nothing, sections or nothing
        )
    )


def _pos(name: str, text: str) -> Shape:
    """SODA 1.0, "POS": the shape's name, then its numbers."""
    word, _, rest = text.partition(" ")
    parsers: dict[str, Callable[[str, str], Shape]] = {
        "CIRCLE": _circle,
        "RANGE": _range,
        "POLYGON": _polygon,
    }
    if (parse := parsers.get(word.upper())) is None:
        raise UsageError(f"POS={_short(text)}: expected CIRCLE, RANGE or POLYGON, then numbers")
    return parse(f"POS {word.upper()}", rest)


def _circle(name: str, text: str) -> Circle:
    numbers = _numbers(name, text)
    if len(numbers) != 3:
        raise _wrong(name, text, "three numbers: longitude, latitude, radius")
    ra, dec, radius = numbers
    _check_position(name, text, ra, dec)
    if not 0.0 <= radius <= 180.0:
        raise _wrong(name, text, "a radius of 0 to 180 degrees")
    return Circle(ra % 360.0, dec, radius)


def _polygon(name: str, text: str) -> Polygon:
    numbers = _numbers(name, text)
    if len(numbers) < 6 or len(numbers) % 2:
        raise _wrong(name, text, "at least three pairs of longitude and latitude")
    if len(numbers) > 2 * _VERTICES:
        raise _wrong(name, text, f"at most {_VERTICES} vertices")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    for ra, dec in pairs:
        _check_position(name, text, ra, dec)
    return Polygon(tuple(Point(ra % 360.0, dec) for ra, dec in pairs))


def _range(name: str, text: str) -> Range:
    numbers = _numbers(name, text, infinite=True)
    if len(numbers) != 4:
        raise _wrong(name, text, "four numbers: two longitudes, then two latitudes")
    west, east, low, high = numbers
    if west > east or low > high:
        raise _wrong(name, text, "the lower end of each pair first")
    for end in (west, east):
        _check_position(name, text, end if math.isfinite(end) else 0.0, 0.0)
    for end in (low, high):
        _check_position(name, text, 0.0, end if math.isfinite(end) else 0.0)
    return Range(
        (0.0 if math.isinf(west) else west, 360.0 if math.isinf(east) else east), (low, high)
    )


def _check_position(name: str, text: str, ra: float, dec: float) -> None:
    if not (0.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        raise _wrong(name, text, "a longitude of 0 to 360 and a latitude of -90 to 90 degrees")


def _interval(name: str, text: str) -> Bounds:
    numbers = _numbers(name, text, infinite=True)
    if len(numbers) != 2:
        raise _wrong(name, text, "two numbers, such as '55 56' or '55 +Inf'")
    low, high = numbers
    if low > high:
        raise _wrong(name, text, "the lower end first")
    return low, high


def _band(name: str, text: str) -> Bounds:
    low, high = _interval(name, text)
    if high <= 0.0:
        raise _wrong(name, text, "wavelengths in metres, above 0")
    return low, high


def _pixels(name: str, text: str) -> PixelStencil:
    """``[hdu][x1:x2,y1:y2,...]``: the section of CFITSIO, with ``*`` for a whole axis."""
    found = _PIXEL.fullmatch("".join(text.split()))
    if found is None:
        raise _wrong(name, text, "[x1:x2,y1:y2] or [hdu][x1:x2,y1:y2], such as [1][1:100,*]")
    axes = []
    for part in found["axes"].split(","):
        ends = _AXIS.fullmatch(part)
        if part != "*" and ends is None:
            raise _wrong(name, text, "first and last pixel of each axis as 1:100, or *")
        axes.append((int(ends[1]), int(ends[2])) if ends else None)
        if ends and not 1 <= int(ends[1]) <= int(ends[2]):
            raise _wrong(name, text, "pixels counted from 1, the lower one first")
    hdu = found["hdu"]
    number = int(hdu) if hdu and hdu.isascii() and hdu.isdigit() and len(hdu) < _DIGITS else hdu
    return PixelStencil(number, tuple(axes))


def _states(values: Sequence[str]) -> frozenset[str]:
    states = frozenset(word.upper() for value in values for word in value.split("/"))
    if unknown := states - set(POL_STATES):
        raise UsageError(
            f"POL={_short(min(unknown))} is not known: expected one of {' '.join(POL_STATES)}"
        )
    return states


def _picture(given: dict[str, list[str]]) -> Picture:
    picture = Picture()
    stretch = (_single("STRETCH", given) or picture.stretch).lower()
    if stretch not in _STRETCHES:
        raise UsageError(
            f"STRETCH={_short(stretch)} is not known: expected one of {', '.join(_STRETCHES)}"
        )
    limits = None
    text = _single("LIMITS", given)
    if text is not None and text.lower() != "zscale":
        numbers = _numbers("LIMITS", text)
        if len(numbers) != 2 or numbers[0] >= numbers[1]:
            raise _wrong("LIMITS", text, "the values of black and white, or zscale")
        limits = (numbers[0], numbers[1])
    size = picture.size
    if (text := _single("SIZE", given)) is not None:
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= _LONGEST_SIDE):
            raise _wrong("SIZE", text, f"the pixels of the longer side, 1 to {_LONGEST_SIDE}")
        size = int(text)
    return Picture(stretch, limits, size)


def _media_type(asked: str | None, *, archives: bool) -> str:
    known = FORMATS | ({"tar": TAR, TAR: TAR} if archives else {})
    key = "".join((asked or _FITS).lower().split())
    answer = known.get(key) or known.get(key.partition(";")[0])
    if answer is None:
        names = ", ".join(known)
        raise UsageError(
            f"RESPONSEFORMAT={_short(asked or '')} is not known here: expected one of {names}"
        )
    return answer


def _single(name: str, given: dict[str, list[str]]) -> str | None:
    values = given[name]
    if len(values) > 1:
        raise MultiValuedError(f"{name} is given more than once: expected one value")
    return values[0] if values else None


def _numbers(name: str, text: str, *, infinite: bool = False) -> list[float]:
    numbers = []
    for word in text.split():
        try:
            number = float(word) if word.isascii() and "_" not in word else math.nan
        except ValueError:
            number = math.nan
        if math.isnan(number) or (math.isinf(number) and not infinite):
            raise _wrong(name, text, f"numbers, not {_short(word)}")
        numbers.append(number)
    return numbers


def _wrong(name: str, text: str, expected: str) -> UsageError:
    return UsageError(f"{name} {_short(text)}: expected {expected}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
