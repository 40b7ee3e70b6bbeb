"""Angles from sexagesimal text, in SQL. Source: UDF catalogue 1.2, "ivo_hms_to_degrees"."""

from __future__ import annotations

from sqlalchemy import ScalarSelect, Text, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from vo_service.adql.geometry import once
from vo_service.adql.values import DOUBLE, Sql

__all__ = ["to_degrees"]

_SECONDS = r"[0-5]?\d(?:\.\d*)?"


def _patterns(units: str, digits: str, sign: str) -> tuple[str, ...]:
    """Regular expressions with groups for sign, units, minutes and seconds."""
    start = rf"^\s*({sign})\s*"
    return (
        rf"{start}(\d{digits})\s*[: ]\s*([0-5]?\d)\s*[: ]\s*({_SECONDS})\s*$",
        rf"{start}(\d{digits})\s*{units}\s*([0-5]?\d)\s*m\s*({_SECONDS})\s*s?\s*$",
        rf"{start}(\d{digits.replace('1', '2')})([0-5]\d)([0-5]\d(?:\.\d*)?)\s*$",
    )


_HOURS = _patterns("h", "{1,2}", "")
_DEGREES = _patterns("d", "{1,3}", "[-+]?")


def to_degrees(text: Sql, hours: bool) -> ScalarSelect[float]:
    """Degrees of ``h:m:s`` (or ``d:m:s``) and of the forms with letters and without anything.

    NULL for everything else, also for 60 minutes and more.
    """
    source = once(text=text).c.text
    forms = (
        func.regexp_match(source, pattern, "i", type_=ARRAY(Text()))
        for pattern in (_HOURS if hours else _DEGREES)
    )
    parts: Sql = once(found=func.coalesce(*forms, type_=ARRAY(Text()))).c.found
    size: Sql = cast(parts[2], DOUBLE)
    size += cast(parts[3], DOUBLE) / literal(60.0, DOUBLE)
    size += cast(parts[4], DOUBLE) / literal(3600.0, DOUBLE)
    # Of -00:15:00 the sign stands on a zero, so it is read as text.
    sign = case((parts[1] == "-", literal(-1.0, DOUBLE)), else_=literal(1.0, DOUBLE))
    scale: Sql = literal(15.0 if hours else 1.0, DOUBLE)
    return select(sign * scale * size).scalar_subquery()
