"""Units of columns and results. Source: VOUnits 1.1; ADQL 2.1, "IN_UNIT"."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from astropy import units as u

__all__ = ["factor", "product"]


def factor(source: str | None, target: str) -> float:
    """What a number in *source* is to be multiplied with to be in *target*.

    Raises
    ------
    ValueError
        No unit to start from, an unreadable unit, or units of different things.
    """
    if not source:
        raise ValueError("the value has no unit to convert from")
    wanted = _unit(target)
    if wanted is None:
        raise ValueError(f"'{target[:40]}' is no unit (VOUnit syntax, as in 'km/s')")
    had = _unit(source)
    if had is None or wanted == u.dimensionless_unscaled:
        raise ValueError(f"'{source}' cannot be converted to '{target[:40]}'")
    try:
        return float(had.to(wanted))
    except (u.UnitsError, ArithmeticError, TypeError):
        raise ValueError(f"'{source}' cannot be converted to '{target[:40]}'") from None


def product(left: str | None, right: str | None, power: int = 1) -> str | None:
    """The unit of ``left * right ** power``, None where it has none or it cannot be written."""
    if not left and not right:
        return None
    first = _unit(left) if left else u.dimensionless_unscaled
    second = _unit(right) if right else u.dimensionless_unscaled
    if first is None or second is None:
        return None
    try:
        unit = first * second**power
        return None if unit == u.dimensionless_unscaled else str(unit.to_string("vounit"))
    except (u.UnitsError, ValueError, TypeError, ArithmeticError):
        return None


@functools.lru_cache(maxsize=1024)
def _unit(text: str) -> Any:
    """A unit, None for what is no VOUnit."""
    if len(text) > 100:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return u.Unit(text, format="vounit")
        except (ValueError, TypeError, ArithmeticError):
            return None
