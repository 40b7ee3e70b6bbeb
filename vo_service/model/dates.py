"""Dates as FITS headers write them, and nights, as Modified Julian Dates.

Source: FITS 4.0, "Date" (new form) and Appendix H (old form, ``DD/MM/YY``, always 19YY);
FITS WCS paper IV for time scales. MJD out are days in UTC.
"""

from __future__ import annotations

import datetime
import math
import re
import warnings

from astropy.time import Time

__all__ = ["mjd", "night_of", "to_utc"]

_NEW = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\S+))?", re.ASCII)
_SLASHED = re.compile(r"(\d{4})/(\d\d)/(\d\d)", re.ASCII)
_OLD = re.compile(r"(\d\d?)/(\d\d?)/(\d\d)", re.ASCII)
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d(?:\.\d*)?))?Z?", re.ASCII)

#: MJD 0 is 1858-11-17, whose proleptic Gregorian ordinal in Python this is.
_MJD_EPOCH = 678576

_UTC = frozenset({"UTC", "UT", "GMT", "UT1", ""})
_SCALES = {
    "TAI": "tai",
    "IAT": "tai",
    "TT": "tt",
    "TDT": "tt",
    "ET": "tt",
    "TDB": "tdb",
    "TCG": "tcg",
    "TCB": "tcb",
}
_GPS_MINUS_TAI_S = -19.0


def mjd(date: str, clock: str | None = None, scale: str = "UTC") -> float:
    """MJD (UTC, days) of a date and, where the date has no time of its own, a clock time.

    Parameters
    ----------
    date
        ``YYYY-MM-DD[Thh:mm[:ss.s]]``, ``YYYY/MM/DD`` or the old ``DD/MM/YY`` (19YY).
    clock
        ``hh:mm:ss.s``; midnight where neither says more.
    scale
        TIMESYS of the two.

    Raises
    ------
    ValueError
        Names the text and what was expected.

    Notes
    -----
    Every day counts 86400 s: a date on a day with a leap second may be wrong by under 1 s.
    """
    text = date.strip()
    if new := _NEW.fullmatch(text) or _SLASHED.fullmatch(text):
        year, month, day = (int(part) for part in new.groups()[:3])
        clock = (new.group(4) if new.re is _NEW else None) or clock
    elif old := _OLD.fullmatch(text):
        day, month, year = (int(part) for part in old.groups())
        year += 1900
    else:
        raise ValueError(
            f"expected a date as YYYY-MM-DD, with or without Thh:mm:ss, found {date!r}"
        )
    try:
        ordinal = datetime.date(year, month, day).toordinal()
    except ValueError as error:
        raise ValueError(f"{date!r} is no day of the calendar") from error
    return to_utc(ordinal - _MJD_EPOCH + _seconds(clock) / 86400.0, scale)


def to_utc(value: float, scale: str) -> float:
    """An MJD of any time scale of FITS as MJD in UTC.

    Raises
    ------
    ValueError
        If the scale is not one of FITS WCS paper IV, Table 2, or the date out of reach.
    """
    name = scale.strip().upper().partition("(")[0]
    if name in _UTC:
        return value
    if name == "GPS":
        name, value = "TAI", value - _GPS_MINUS_TAI_S / 86400.0
    if name not in _SCALES:
        raise ValueError(f"expected a time scale such as UTC, TAI, TT or TDB, found {scale!r}")
    if not -1e6 < value < 1e6:
        raise ValueError(f"{value!r} is no Modified Julian Date")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # years without leap seconds yet, or before
        return float(Time(value, format="mjd", scale=_SCALES[name]).utc.mjd)


def night_of(moment: float, utc_offset: float) -> datetime.date:
    """The civil date on which the night around an MJD (UTC) began: local noon to noon.

    Parameters
    ----------
    moment
        MJD, UTC.
    utc_offset
        Hours by which the site's clock is ahead of UTC.

    Raises
    ------
    ValueError
        If the calendar has no such day.
    """
    local = moment + (utc_offset - 12.0) / 24.0
    try:
        return datetime.date.fromordinal(math.floor(local) + _MJD_EPOCH)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"MJD {moment!r} lies outside of the calendar") from error


def _seconds(clock: str | None) -> float:
    """Seconds since midnight of ``hh:mm:ss.s``; 24:00:00 and leap seconds are let through."""
    if clock is None:
        return 0.0
    found = _CLOCK.fullmatch(clock.strip())
    if found is None:
        raise ValueError(f"expected a time as hh:mm:ss, found {clock!r}")
    hours, minutes, seconds = int(found[1]), int(found[2]), float(found[3] or 0.0)
    if hours > 24 or minutes > 59 or seconds >= 61.0:
        raise ValueError(f"{clock!r} is no time of day")
    return hours * 3600.0 + minutes * 60.0 + seconds
