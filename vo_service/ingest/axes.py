"""Spectral, time and polarization axes of an image: their bounds and lengths, from the WCS.

Units out: metres (vacuum wavelength), MJD (UTC). Bounds are the outer edges of the first and
the last pixel, 0.5 and N + 0.5.
Source: FITS WCS paper III (Greisen et al. 2006), "Basic spectral-coordinate types"; paper IV
(Rots et al. 2015), "Time coordinate axes"; FITS 4.0, "Stokes".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from astropy import constants, units
from astropy.wcs import WCS

from vo_service.errors import HeaderError
from vo_service.ingest.cards import CardValue
from vo_service.ingest.images import Image
from vo_service.model.dates import mjd, to_utc
from vo_service.model.obscore import POL_STATES

__all__ = [
    "Interval",
    "Scale",
    "polarization_scale",
    "polarizations",
    "spectral_interval",
    "spectral_scale",
    "time_interval",
    "time_scale",
]

_C = float(constants.c.value)
_HC = float((constants.h * constants.c).value)

#: FITS 4.0, Table 29: numbers of the polarization states.
_STOKES = {1: "I", 2: "Q", 3: "U", 4: "V", -1: "RR", -2: "LL", -3: "RL", -4: "LR"} | {
    -5: "XX",
    -6: "YY",
    -7: "XY",
    -8: "YX",
}

#: FITS WCS paper IV, Table 2, and TIME itself, whose scale is TIMESYS.
_TIME_SCALES = ("UTC", "UT1", "UT", "GMT", "TAI", "IAT", "TT", "TDT", "ET", "TDB", "TCG", "TCB")


def _refraction(air: float) -> float:
    """Index of refraction of standard air at a wavelength in air (m).

    Edlen's formula as wcslib has it: equation 65 of paper III is for air of 0 degrees, which
    is not the air of line lists (15 degrees).
    """
    index = 1.0
    for _ in range(4):  # the formula asks for the vacuum wavelength
        wavenumber2 = (1e-6 / (air * index)) ** 2
        index = 1.000064328 + 0.0294981 / (146.0 - wavenumber2) + 2.554e-4 / (41.0 - wavenumber2)
    return index


#: Spectral coordinate (SI units) to vacuum wavelength (m).
_WAVELENGTHS: Mapping[str, Callable[[float], float]] = {
    "WAVE": lambda value: value,
    "AWAV": lambda value: value * _refraction(value),
    "FREQ": lambda value: _C / value,
    "ENER": lambda value: _HC / value,
    "WAVN": lambda value: 1.0 / value,
}

#: Velocity (m/s) or redshift to the ratio of a wavelength to its rest wavelength.
_SHIFTS: Mapping[str, Callable[[float], float]] = {
    "VRAD": lambda value: 1.0 / (1.0 - value / _C),
    "VOPT": lambda value: 1.0 + value / _C,
    "ZOPT": lambda value: 1.0 + value,
    "VELO": lambda value: math.sqrt((_C + value) / (_C - value)),
    "BETA": lambda value: math.sqrt((1.0 + value) / (1.0 - value)),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds in ascending order, None where the header does not tell, and pixels."""

    low: float | None
    high: float | None
    pixels: int


@dataclass(frozen=True, slots=True)
class Scale:
    """The coordinate along one pixel axis (counted from 0), ascending or descending.

    *value* gives it at a pixel, which counts from 1 at the centre of the first.
    """

    axis: int
    pixels: int
    value: Callable[[float], float]


def spectral_interval(image: Image) -> Interval | None:
    """The spectral axis in vacuum wavelength; None where there is none.

    Bounds are None for a table (``-TAB``) and for a velocity without rest frequency.

    Raises
    ------
    HeaderError
        If the axis has no wavelength at one of its ends.
    """
    wcs = image.wcs
    if wcs is None or wcs.wcs.spec < 0:
        return None
    axis = int(wcs.wcs.spec)
    pixel_axis = _pixel_axis(wcs, axis)
    keyword = f"CTYPE{axis + 1}"
    if pixel_axis is None:
        return Interval(None, None, image.length(axis))
    pixels = image.length(pixel_axis)
    try:
        ends = _world(wcs, axis, pixel_axis, (0.5, pixels + 0.5))
        waves = [_wavelength(value, wcs) for value in ends]
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise HeaderError(f"the spectral axis cannot be used: {error}", image.hdu, keyword) from (
            error
        )
    if waves[0] is None or waves[1] is None:
        return Interval(None, None, pixels)
    low, high = sorted((waves[0], waves[1]))
    if not (math.isfinite(high) and low > 0.0):
        raise HeaderError(
            f"expected wavelengths above 0, found {low!r} to {high!r} m", image.hdu, keyword
        )
    return Interval(low, high, pixels)


def spectral_scale(image: Image) -> Scale | None:
    """Vacuum wavelength (m) along the spectral axis; None where `spectral_interval` has no bounds.

    Raises
    ------
    HeaderError
        As `spectral_interval`; ValueError from its *value* where there is no wavelength.
    """
    interval, wcs = spectral_interval(image), image.wcs
    if interval is None or interval.low is None or wcs is None:
        return None
    axis = int(wcs.wcs.spec)
    pixel_axis = _pixel_axis(wcs, axis)
    if pixel_axis is None:
        return None

    def value(pixel: float) -> float:
        wave = _wavelength(_world(wcs, axis, pixel_axis, (pixel,))[0], wcs)
        return math.nan if wave is None else wave

    return Scale(pixel_axis, interval.pixels, value)


def time_interval(image: Image) -> Interval | None:
    """The time axis; None where there is none.

    Bounds are None where the header gives no zero of time (MJDREF, JDREF, DATEREF).

    Raises
    ------
    HeaderError
        If unit, scale or zero cannot be understood.
    """
    axis = _time_axis(image)
    if axis is None:
        return None
    scale = time_scale(image)
    pixels = image.length(axis)
    if scale is None:
        return Interval(None, None, pixels)
    low, high = sorted(scale.value(end) for end in (0.5, pixels + 0.5))
    return Interval(low, high, pixels)


def time_scale(image: Image) -> Scale | None:
    """MJD (UTC) along the time axis; None where `time_interval` has no bounds.

    Raises
    ------
    HeaderError
        If unit, scale or zero cannot be understood.
    """
    axis, wcs = _time_axis(image), image.wcs
    if axis is None or wcs is None:
        return None
    zero = _time_zero(image.values, image.hdu)
    if zero is None or _pixel_axis(wcs, axis) != axis:
        return None
    kind = _ctype(image, axis)
    scale = kind if kind != "TIME" else str(image.values.get("TIMESYS") or "UTC")
    unit = _time_unit(image, axis)

    def value(pixel: float) -> float:
        return to_utc(zero + _linear(wcs, axis, [pixel])[0] * unit, scale)

    pixels = image.length(axis)
    try:
        for end in (0.5, pixels + 0.5):
            value(end)
    except ValueError as error:
        raise HeaderError(str(error), image.hdu, "TIMESYS") from error
    return Scale(axis, pixels, value)


def polarizations(image: Image) -> tuple[str, ...] | None:
    """States along the STOKES axis in ObsCore's order; None without one or with others."""
    found = polarization_scale(image)
    return found and tuple(state for state in POL_STATES if state in found[1])


def polarization_scale(image: Image) -> tuple[int, tuple[str, ...]] | None:
    """The STOKES axis (counted from 0) and the state of each of its pixels; None as above."""
    wcs = image.wcs
    if wcs is None:
        return None
    axis = next((i for i in range(wcs.naxis) if _ctype(image, i) == "STOKES"), None)
    if axis is None or not 1 <= image.length(axis) <= len(_STOKES):
        return None
    if _pixel_axis(wcs, axis) != axis:
        return None
    pixels = [float(pixel) for pixel in range(1, image.length(axis) + 1)]
    numbers = _linear(wcs, axis, pixels)
    if not all(math.isfinite(number) for number in numbers):
        return None
    states = tuple(_STOKES.get(round(number), "") for number in numbers)
    return None if "" in states else (axis, states)


def _ctype(image: Image, axis: int) -> str:
    value = image.values.get(f"CTYPE{axis + 1}")
    return value.strip().upper() if isinstance(value, str) else ""


def _pixel_axis(wcs: WCS, axis: int) -> int | None:
    """The one pixel axis that moves a coordinate; None where there are several."""
    moving = [i for i, factor in enumerate(wcs.pixel_scale_matrix[axis]) if factor != 0.0]
    return moving[0] if len(moving) == 1 else None


def _world(wcs: WCS, axis: int, pixel_axis: int, pixels: tuple[float, ...]) -> list[float]:
    """World coordinates (SI units) of a non-linear axis, others at their reference pixel."""
    grid = np.tile(np.asarray(wcs.wcs.crpix, dtype=float), (len(pixels), 1))
    grid[:, pixel_axis] = pixels
    try:
        world = wcs.wcs.p2s(grid, 1)["world"]
    except Exception as error:  # wcslib has over a dozen kinds
        raise ValueError(" ".join(str(error).split())) from error
    return [float(value) for value in world[:, axis]]


def _linear(wcs: WCS, axis: int, pixels: list[float]) -> list[float]:
    step = float(wcs.pixel_scale_matrix[axis, axis])
    value, reference = float(wcs.wcs.crval[axis]), float(wcs.wcs.crpix[axis])
    return [value + step * (pixel - reference) for pixel in pixels]


def _wavelength(value: float, wcs: WCS) -> float | None:
    """Vacuum wavelength (m) of a spectral coordinate in SI units."""
    kind = str(wcs.wcs.ctype[wcs.wcs.spec])[:4]
    if kind in _WAVELENGTHS:
        return _WAVELENGTHS[kind](value)
    rest = float(wcs.wcs.restwav) or (_C / float(wcs.wcs.restfrq) if wcs.wcs.restfrq else 0.0)
    if rest <= 0.0 or kind not in _SHIFTS:
        return None
    return rest * _SHIFTS[kind](value)


def _time_axis(image: Image) -> int | None:
    """The coordinate that is a time, counted from 0."""
    if image.wcs is None:
        return None
    kinds = (_ctype(image, axis) for axis in range(image.wcs.naxis))
    return next((i for i, kind in enumerate(kinds) if kind in ("TIME", *_TIME_SCALES)), None)


def _time_unit(image: Image, axis: int) -> float:
    """The unit of the axis in days."""
    given = image.values.get(f"CUNIT{axis + 1}") or image.values.get("TIMEUNIT") or "s"
    try:
        return float(units.Unit(str(given).strip()).to("d"))
    except (ValueError, TypeError) as error:
        raise HeaderError(
            f"expected a unit of time, found {given!r}", image.hdu, f"CUNIT{axis + 1}"
        ) from error


def _time_zero(values: Mapping[str, CardValue], hdu: int) -> float | None:
    """The MJD, in the axis' own scale, from which a time axis counts: paper IV, "Reference"."""
    whole = _number(values, "MJDREFI", hdu)
    part = _number(values, "MJDREFF", hdu)
    if whole is not None or part is not None:
        return (whole or 0.0) + (part or 0.0)
    if (reference := _number(values, "MJDREF", hdu)) is not None:
        return reference
    if (reference := _number(values, "JDREF", hdu)) is not None:
        return reference - 2400000.5
    if isinstance(date := values.get("DATEREF"), str):
        try:
            return mjd(date)
        except ValueError as error:
            raise HeaderError(str(error), hdu, "DATEREF") from error
    return None


def _number(values: Mapping[str, CardValue], keyword: str, hdu: int) -> float | None:
    value = values.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise HeaderError(f"expected a number, found {value!r}", hdu, keyword)
    return float(value)
