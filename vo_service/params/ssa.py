"""SSA 1.1 parameters: pairs of strings in, one `SpectrumSearch` out.

Source: SSAP 1.1, "queryData" and "Range lists". Units out: degrees (ICRS), metres, days (MJD,
UTC), arcsec. Names are compared without case; parameters that are not known here are ignored, as
the standard has it for recommended ones.
"""

from __future__ import annotations

import calendar
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from vo_service.errors import UsageError
from vo_service.model.region import Circle
from vo_service.model.stencil import Bounds
from vo_service.params.dali import (
    given_values,
    read_number,
    read_numbers,
    read_position,
    short,
    single,
    wrong,
)
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["SpectrumSearch", "parse_spectrum_search"]

_NAMES = (
    *("REQUEST", "VERSION", "POS", "SIZE", "BAND", "TIME", "FORMAT", "SPECRP", "SPATRES"),
    *("PUBDID", "COLLECTION", "TARGETNAME", "MAXREC", "TOP"),
)
_VERSIONS = ("1.0", "1.1")

#: Diameter in degrees where POS is given alone.
_SIZE = "0.1"

_RANGES = 100

#: Names of bands, by wavelength in metres (VODataService 1.2, "waveband").
_BANDS: dict[str, Bounds] = {
    "radio": (1e-2, math.inf),
    "millimeter": (1e-4, 1e-2),
    "infrared": (1e-6, 1e-4),
    "optical": (3e-7, 1e-6),
    "uv": (1e-8, 3e-7),
    "euv": (1e-8, 1e-7),
    "x-ray": (1e-11, 1e-8),
    "gamma-ray": (0.0, 1e-11),
}

#: Words of FORMAT to media types; nothing here is compliant with a spectral data model.
_FORMATS: dict[str, tuple[str, ...]] = {
    "compliant": (),
    "graphic": ("image/png", "image/jpeg"),
    "votable": ("application/x-votable+xml",),
    "fits": ("application/fits", "image/fits"),
    "xml": ("text/xml",),
}

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d{1,6})?))?)?)?)?)?Z?"
)
_MJD_0 = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSearch:
    """Spectra that fit one value of each of these that has values.

    *formats* are media types, None for all. *metadata* tells that no rows are wanted.
    """

    circle: Circle | None = None
    bands: tuple[Bounds, ...] = ()
    times: tuple[Bounds, ...] = ()
    powers: tuple[Bounds, ...] = ()
    resolutions: tuple[Bounds, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    formats: tuple[str, ...] | None = None
    maxrec: int
    metadata: bool = False


def parse_spectrum_search(
    pairs: Pairs, *, maxrec_default: int, maxrec_limit: int
) -> SpectrumSearch:
    """Check the parameters of a search for spectra.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given = given_values(pairs, _NAMES)
    request, version = single("REQUEST", given), single("VERSION", given)
    if request is None or request.lower() != "querydata":
        raise UsageError(f"REQUEST={short(request or '')}: expected REQUEST=queryData")
    if version is not None and version not in _VERSIONS:
        raise UsageError(f"VERSION={short(version)}: expected one of {', '.join(_VERSIONS)}")
    formats = single("FORMAT", given) or "all"
    if formats.lower() == "metadata":
        return SpectrumSearch(maxrec=0, metadata=True)
    maxrec = parse_maxrec(single("MAXREC", given), maxrec_default)
    top = parse_maxrec(single("TOP", given), maxrec)
    return SpectrumSearch(
        circle=_circle(given),
        bands=_bands(single("BAND", given)),
        times=_times(single("TIME", given)),
        powers=_ranges("SPECRP", single("SPECRP", given)),
        resolutions=tuple(
            (low * 3600.0, high * 3600.0)
            for low, high in _ranges("SPATRES", single("SPATRES", given), at_least=False)
        ),
        texts={
            name: text
            for name in ("PUBDID", "COLLECTION", "TARGETNAME")
            if (text := single(name, given)) is not None
        },
        formats=_formats(formats),
        maxrec=min(maxrec, top, maxrec_limit),
    )


def _circle(given: dict[str, list[str]]) -> Circle | None:
    size = read_number("SIZE", single("SIZE", given) or _SIZE, 0.0, 360.0)
    text = single("POS", given)
    if text is None:
        return None
    place, _, frame = text.partition(";")
    if frame.strip().upper() not in ("", "ICRS"):
        raise wrong("POS", text, "no frame, or ICRS")
    centre = read_position("POS", place)
    return Circle(centre.ra, centre.dec, min(size / 2.0, 180.0))


def _parts(name: str, text: str | None) -> list[str]:
    """The values of a range list; no more than there is sense in."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if len(parts) > _RANGES:
        raise UsageError(f"{name} has {len(parts)} ranges: expected at most {_RANGES}")
    return parts


def _bands(text: str | None) -> tuple[Bounds, ...]:
    if text is None:
        return ()
    ranges, _, frame = text.partition(";")
    if frame.strip().lower() not in ("", "observer"):
        raise wrong("BAND", text, "wavelengths of the observer: redshifts are not known here")
    return tuple(
        _BANDS.get(part.lower()) or _range("BAND", part) for part in _parts("BAND", ranges)
    )


def _ranges(name: str, text: str | None, *, at_least: bool = True) -> tuple[Bounds, ...]:
    """A range list where one number is the worst that is good enough."""
    found = []
    for part in _parts(name, text):
        low, high = _range(name, part)
        if "/" not in part:
            low, high = (low, math.inf) if at_least else (0.0, high)
        found.append((low, high))
    return tuple(found)


def _range(name: str, text: str) -> Bounds:
    """``lo/hi``, ``lo/``, ``/hi`` or one number."""
    ends = text.split("/")
    if len(ends) > 2 or not any(end.strip() for end in ends):
        raise wrong(name, text, "a number or a range such as 4e-7/7e-7, /7e-7 or 4e-7/")
    numbers = [_end(name, end, side) for end, side in zip(ends, (-1, 1), strict=False)]
    low, high = numbers[0], numbers[-1]
    if low > high:
        raise wrong(name, text, "the lower end first")
    return low, high


def _end(name: str, text: str, side: int) -> float:
    if not text.strip():
        return side * math.inf
    numbers = read_numbers(name, text)
    if len(numbers) != 1:
        raise wrong(name, text, "one number at each end of a range")
    return numbers[0]


def _times(text: str | None) -> tuple[Bounds, ...]:
    found = []
    for part in _parts("TIME", text):
        ends = part.split("/")
        if len(ends) > 2 or not any(ends):
            raise wrong("TIME", part, "a date or a range such as 2021-11-09/2021-11-10T12:00:00")
        low = _period(ends[0])[0] if ends[0] else -math.inf
        high = _period(ends[-1])[1] if ends[-1] else math.inf
        if low > high:
            raise wrong("TIME", part, "the earlier time first")
        found.append((low, high))
    return tuple(found)


def _period(text: str) -> Bounds:
    """First and last instant (MJD) of what an ISO 8601 date means: a year, month, day ..."""
    found = _DATE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = found.groups()
        seconds = float(second or 0)
        whole = (int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0))
        start = datetime(*whole, int(seconds), int(seconds % 1 * 1e6), tzinfo=UTC)
    except ValueError:
        raise wrong("TIME", text, "a date as 2021-11-09 or 2021-11-09T12:34:56 (UTC)") from None
    lengths = (
        (second, timedelta(0)),
        (minute, timedelta(minutes=1)),
        (hour, timedelta(hours=1)),
        (day, timedelta(days=1)),
        (month, timedelta(days=calendar.monthrange(start.year, start.month)[1])),
        (year, timedelta(days=366 if calendar.isleap(start.year) else 365)),
    )
    length = next(length for given, length in lengths if given is not None)
    return _mjd(start), _mjd(start) + length / timedelta(days=1)


def _mjd(moment: datetime) -> float:
    return (moment - _MJD_0) / timedelta(days=1)


def _formats(text: str) -> tuple[str, ...] | None:
    found: list[str] = []
    for word in text.lower().split(","):
        if word.strip() in ("all", "native"):
            return None
        found += _FORMATS.get(word.strip(), (word.strip(),))
    return tuple(found)
