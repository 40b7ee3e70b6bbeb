"""``+ - * /``: what two numbers make, with type and unit.

Integers divide as integers, as in SQL. Source: ADQL 2.1, "Numeric Value Expressions".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vo_service.adql import units
from vo_service.adql.values import Sql, Value, common_kind, literal, typed

__all__ = ["computed"]

_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def computed(sign: str, left: Value, right: Value) -> Value:
    """The result of an operation; constants are worked out at once."""
    kind = common_kind([left.kind, right.kind])
    assert kind is not None  # noqa: S101 - both are numbers
    folded = _folded(sign, left, right)
    if folded is not None:
        return folded
    unit, like = _result_metadata(sign, left, right)
    result = typed(_sql(sign, left, right), kind, like, unit=unit)
    return _with_distance(result, sign, left, right)


def _with_distance(result: Value, sign: str, left: Value, right: Value) -> Value:
    """A DISTANCE in other units, as ``DISTANCE(a, b) * 3600``, still knows its points."""
    value, by = (right, left) if right.ends is not None and sign == "*" else (left, right)
    if value.ends is None or not by.constant or by.constant < 0 or sign not in "*/":
        return result
    factor = by.constant if sign == "*" else 1.0 / by.constant
    return replace(result, ends=value.ends, scale=value.scale * factor)


def _folded(sign: str, left: Value, right: Value) -> Value | None:
    """The result of constants, None where PostgreSQL must work (or fail) on it."""
    a, b = left.constant, right.constant
    if a is None or b is None:
        return None
    if sign != "/":
        result = _COMPUTE[sign](a, b)
    elif b == 0:
        return None
    elif isinstance(a, int) and isinstance(b, int):
        result = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    else:
        result = a / b
    if not math.isfinite(result) or (abs(result) >= 2**63 and isinstance(result, int)):
        return None
    return literal(result)


def _sql(sign: str, left: Value, right: Value) -> Sql:
    if sign == "/":
        # SQLAlchemy would make a true division of integers; ADQL's is SQL's.
        return left.sql.op("/", precedence=8)(right.sql)
    return _COMPUTE[sign](left.sql, right.sql)  # type: ignore[no-any-return]


def _result_metadata(sign: str, left: Value, right: Value) -> tuple[str | None, Value | None]:
    """The unit of a result, and the operand whose UCD and description still hold."""
    if sign in "+-":
        if left.constant is not None:
            return right.field.unit, right
        if right.constant is not None:
            return left.field.unit, left
        return (left.field.unit if left.field.unit == right.field.unit else None), None
    if right.constant is not None:
        return left.field.unit, None
    if left.constant is not None and sign == "*":
        return right.field.unit, None
    return units.product(left.field.unit, right.field.unit, -1 if sign == "/" else 1), None
