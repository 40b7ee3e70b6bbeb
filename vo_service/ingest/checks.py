"""What ObsCore demands of a value: its type, its vocabulary, its range.

Source: ObsCore 1.1, Table 4, "Data Product Type", "Calibration level" and "List of
polarization states". Units as in `model.observation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from vo_service.errors import HeaderError
from vo_service.model.obscore import CALIB_LEVELS, DATAPRODUCT_TYPES, OBSCORE, POL_STATES
from vo_service.model.observation import Observation

__all__ = ["TEXT_LIMIT", "checked", "checked_observation"]

_DATATYPES: Mapping[str, str] = {column.name: column.datatype for column in OBSCORE}

#: Characters of a text in a column.
TEXT_LIMIT = 2000
_LONG_LIMIT = 2**63

#: MJD of the years 1000 and 3000: anything outside is a slip, not an observation.
_DATES = (-313_000.0, 418_000.0)


def _states(value: Any) -> bool:
    text = str(value)
    inner = text.strip("/").split("/")
    ordered = [state for state in POL_STATES if state in inner]
    return text == f"/{'/'.join(ordered)}/"


#: Column to what is expected of it, in words and as a test.
_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "dataproduct_type": (f"one of {', '.join(DATAPRODUCT_TYPES)}", DATAPRODUCT_TYPES.__contains__),
    "calib_level": ("0 to 4", CALIB_LEVELS.__contains__),
    "pol_states": ("states as in /I/Q/U/, in ObsCore's order", _states),
    "s_ra": ("0 <= degrees < 360", lambda v: 0.0 <= v < 360.0),
    "s_dec": ("-90 to 90 degrees", lambda v: -90.0 <= v <= 90.0),
    "s_fov": ("0 to 360 degrees", lambda v: 0.0 <= v <= 360.0),
    "s_resolution": ("0 or more", lambda v: v >= 0.0),
    "t_min": ("an MJD of the years 1000 to 3000", lambda v: _DATES[0] <= v <= _DATES[1]),
    "t_max": ("an MJD of the years 1000 to 3000", lambda v: _DATES[0] <= v <= _DATES[1]),
    "t_exptime": ("0 or more seconds", lambda v: v >= 0.0),
    "t_resolution": ("0 or more seconds", lambda v: v >= 0.0),
    "em_min": ("a wavelength above 0", lambda v: v > 0.0),
    "em_max": ("a wavelength above 0", lambda v: v > 0.0),
    "em_res_power": ("0 or more", lambda v: v >= 0.0),
} | {name: ("-1 or more", lambda v: v >= -1) for name in ("s_xel1", "s_xel2", "t_xel", "em_xel")}

_NOT_NULL = frozenset(("calib_level", "obs_collection", "obs_id"))


def checked(column: str, value: Any, keyword: str | None) -> Any:
    """*value* in the type of an ObsCore *column*; *keyword* is named when it is refused.

    Raises
    ------
    HeaderError
        Says what was expected and what was found.
    """
    if value is None:
        if column in _NOT_NULL:
            raise HeaderError(f"{column} has no value", None, keyword)
        return None
    typed = _typed(column, value, keyword)
    if column in _RULES:
        expected, holds = _RULES[column]
        if not holds(typed):
            raise _wrong(column, expected, value, keyword)
    return typed


def checked_observation(observation: Observation) -> Observation:
    """*observation*, if its values agree with one another.

    Raises
    ------
    HeaderError
        If an interval ends before it begins, or a position is half there.
    """
    for low, high in (("t_min", "t_max"), ("em_min", "em_max")):
        start, end = getattr(observation, low), getattr(observation, high)
        if start is not None and end is not None and end < start:
            raise HeaderError(f"{high} ({end!r}) lies before {low} ({start!r})")
    if (observation.s_ra is None) != (observation.s_dec is None):
        raise HeaderError("a position needs both s_ra and s_dec")
    if observation.region is not None and observation.s_ra is None:
        raise HeaderError("a footprint needs a position, s_ra and s_dec")
    return observation


def _typed(column: str, value: Any, keyword: str | None) -> Any:
    match _DATATYPES[column]:
        case "char":
            text = str(value).strip()
            if len(text) > TEXT_LIMIT:
                raise _wrong(column, f"at most {TEXT_LIMIT} characters", text, keyword)
            if not text and column in _NOT_NULL:
                raise HeaderError(f"{column} has no value", None, keyword)
            return text or None
        case "int" | "long":
            number = _number(column, value, keyword)
            if not number.is_integer() or abs(number) >= _LONG_LIMIT:
                raise _wrong(column, "a whole number", value, keyword)
            return int(value) if isinstance(value, int) else int(number)
    return _number(column, value, keyword)


def _number(column: str, value: Any, keyword: str | None) -> float:
    try:
        # Numbers in quotes are common in old headers; T and F are no numbers.
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(column, "a number", value, keyword)
    return number


def _wrong(column: str, expected: str, value: Any, keyword: str | None) -> HeaderError:
    return HeaderError(f"{column}: expected {expected}, found {str(value)[:80]!r}", None, keyword)
