"""The expressions of collection files: Python's syntax, a small and closed part of it.

``{DATE-OBS}`` is the value of a keyword, ``t_min`` a column mapped before, ``filename`` the
name of the file; there are arithmetic, comparisons, ``and or not``, ``x if c else y``, slices
of text and the functions of `FUNCTIONS`. Nothing is ever handed to Python's own evaluator:
the syntax tree is checked once, when the file is loaded, and walked by `evaluate`.

A keyword that is absent is None, and None goes through arithmetic, comparisons and functions
as NULL does in SQL; `first` picks what is there.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from vo_service.model.dates import mjd

__all__ = ["FUNCTIONS", "Expression", "Value", "evaluate", "parse_expression"]

Value = str | int | float | bool | None

_LENGTH_LIMIT = 2000
_NODE_LIMIT = 400
_KEYWORD = re.compile(r"'[^']*'|\"[^\"]*\"|\{([^{}]*)\}", re.ASCII)
_KEYWORD_NAME = re.compile(r"[A-Z0-9_-]+(?: [A-Z0-9_-]+)*", re.ASCII)
_SEXAGESIMAL = re.compile(
    r"([+-]?)(\d{1,3})[: ]\s*(\d{1,2})(?:[: ]\s*(\d{1,2}(?:\.\d*)?))?", re.ASCII
)


class _Function(NamedTuple):
    call: Callable[..., Any]
    least: int
    most: int


def _sexagesimal(text: Any, limit: float) -> float:
    if isinstance(text, (int, float)):
        return float(text)
    found = _SEXAGESIMAL.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"expected dd:mm:ss or hh:mm:ss, found {text!r}")
    minutes, seconds = int(found[3]), float(found[4] or 0.0)
    value = int(found[2]) + minutes / 60.0 + seconds / 3600.0
    if minutes > 59 or seconds >= 60.0 or value > limit:
        raise ValueError(f"{text!r} is out of range")
    return -value if found[1] == "-" else value


def _dms(text: Any) -> float:
    return _sexagesimal(text, 360.0)


def _hms(text: Any) -> float:
    """Degrees of hh:mm:ss; a bare number is taken for degrees already."""
    if isinstance(text, (int, float)):
        return float(text)
    return 15.0 * _sexagesimal(text, 24.0)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a whole number, found {value!r}") from error


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"expected a number, found {value!r}") from error


def _pad(value: Any, width: Any) -> str:
    return str(_whole(value)).zfill(min(_whole(width), 80))


def _date(date: Any, *more: Any) -> float | None:
    """`mjd`; None where a clock was asked for and neither it nor the date tells the time."""
    clock = more[0] if more else None
    scale = more[1] if len(more) > 1 and more[1] is not None else "UTC"
    moment = mjd(str(date), None if clock is None else str(clock), str(scale))
    return None if more and clock is None and ":" not in str(date) else moment


#: What an expression may call; None as an argument gives None, but for `first` and `given`.
FUNCTIONS: Mapping[str, _Function] = {
    "abs": _Function(abs, 1, 1),
    "contains": _Function(lambda text, part: str(part) in str(text), 2, 2),
    "dms": _Function(_dms, 1, 1),
    "ends": _Function(lambda text, part: str(text).endswith(str(part)), 2, 2),
    "first": _Function(lambda *values: next((v for v in values if v is not None), None), 1, 9),
    "float": _Function(_number, 1, 1),
    "given": _Function(lambda value: value is not None, 1, 1),
    "hms": _Function(_hms, 1, 1),
    "int": _Function(_whole, 1, 1),
    "len": _Function(lambda text: len(str(text)), 1, 1),
    "lower": _Function(lambda text: str(text).lower(), 1, 1),
    "max": _Function(max, 2, 9),
    "min": _Function(min, 2, 9),
    "mjd": _Function(_date, 1, 3),
    "pad": _Function(_pad, 2, 2),
    "round": _Function(round, 1, 2),
    "starts": _Function(lambda text, part: str(text).startswith(str(part)), 2, 2),
    "strip": _Function(lambda text: str(text).strip(), 1, 1),
    "text": _Function(str, 1, 1),
    "upper": _Function(lambda text: str(text).upper(), 1, 1),
}

_NULL_AWARE = frozenset({"first", "given"})
#: `mjd` takes None for its clock and its scale: both have a default.
_OPTIONAL_AFTER = {"mjd": 1}

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, choices: value in choices,
    ast.NotIn: lambda value, choices: value not in choices,
}
_ALLOWED: tuple[type[ast.AST], ...] = (
    *(ast.Constant, ast.Name, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Call, ast.Subscript, ast.Slice, ast.Tuple, ast.Load, ast.And, ast.Or),
    *(ast.Not, ast.USub, ast.UAdd),
)
_OPERATORS = {*_BINARY, *_COMPARE}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression.

    *keywords* are the FITS keywords and *names* the plain names that it reads; *places* maps
    the position of a keyword in the text to the keyword.
    """

    text: str
    tree: ast.expr
    keywords: frozenset[str]
    names: frozenset[str]
    places: Mapping[int, str]


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Check and parse *text*.

    Raises
    ------
    ValueError
        Gives the column (from 1) and what is wrong there.
    """
    if len(text) > _LENGTH_LIMIT or not text.isascii() or "\\" in text:
        raise ValueError(f"expected at most {_LENGTH_LIMIT} ASCII characters and no backslash")
    places: dict[int, str] = {}

    def name(found: re.Match[str]) -> str:
        keyword = found[1]
        if keyword is None:
            return found[0]
        if not _KEYWORD_NAME.fullmatch(keyword):
            raise _fault(
                found.start(), f"{keyword!r} is no FITS keyword (capitals, digits, - and _)"
            )
        places[found.start()] = keyword
        return "K" + "_" * (len(keyword) + 1)  # of the same length: columns stay true

    flat = _KEYWORD.sub(name, re.sub(r"\s", " ", text))
    indent = len(flat) - len(flat.lstrip())
    flat = flat.lstrip()
    places = {place - indent: keyword for place, keyword in places.items()}
    try:
        tree = ast.parse(flat, mode="eval").body
    except SyntaxError as error:
        raise _fault((error.offset or 1) - 1 + indent, "cannot be understood here") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError("cannot be understood") from error
    names: set[str] = set()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for count, node in enumerate(ast.walk(tree)):
        if count > _NODE_LIMIT:
            raise ValueError(f"expected at most {_NODE_LIMIT} parts")
        _check(node)
        if isinstance(node, ast.Name) and node.col_offset not in places and id(node) not in called:
            names.add(node.id)
    return Expression(text, tree, frozenset(places.values()), frozenset(names), places)


def evaluate(
    expression: Expression,
    keyword: Callable[[str], Value],
    name: Callable[[str], Value],
) -> Value:
    """The value of *expression*; *keyword* and *name* look up what it reads.

    Raises
    ------
    ValueError
        Says which operation cannot be done with which values.
    """

    def value(node: ast.expr | None) -> Any:  # noqa: PLR0911 - one return per kind of node
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                place = expression.places.get(node.col_offset)
                return name(node.id) if place is None else keyword(place)
            case ast.Tuple():
                return tuple(value(item) for item in node.elts)
            case ast.IfExp():
                return value(node.body) if value(node.test) else value(node.orelse)
            case ast.BoolOp():
                decide = all if isinstance(node.op, ast.And) else any
                return decide(bool(value(item)) for item in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not value(node.operand)
            case ast.UnaryOp():
                operand = _arithmetic(value(node.operand))
                return (
                    -operand if operand is not None and isinstance(node.op, ast.USub) else operand
                )
            case ast.BinOp():
                return _combine(node.op, value(node.left), value(node.right))
            case ast.Compare():
                return _compare(node, value)
            case ast.Subscript():
                return _part(node, value)
            case ast.Call(func=ast.Name(id=function)):
                return _call(function, [value(item) for item in node.args])
        raise ValueError("cannot be evaluated")

    try:
        result = value(expression.tree)
    except (TypeError, OverflowError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"{expression.text!r} cannot be worked out: {error}") from error
    if result is not None and not isinstance(result, (str, int, float)):
        raise ValueError(f"{expression.text!r} gives neither a text nor a number")
    return result


def _fault(offset: int, message: str) -> ValueError:
    return ValueError(f"column {offset + 1}: {message}")


def _check(node: ast.AST) -> None:
    offset = getattr(node, "col_offset", 0)
    if not isinstance(node, _ALLOWED) and type(node) not in _OPERATORS:
        raise _fault(offset, f"{type(node).__name__} is not part of the expression language")
    if isinstance(node, ast.Constant) and not isinstance(node.value, (str, int, float, type(None))):
        raise _fault(offset, f"{node.value!r} is neither a text nor a number")
    if isinstance(node, ast.Call):
        known = FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if known is None or node.keywords:
            raise _fault(offset, f"expected one of the functions {', '.join(FUNCTIONS)}")
        if not known.least <= len(node.args) <= known.most:
            raise _fault(offset, f"wrong number of arguments ({known.least} to {known.most})")


def _arithmetic(value: Any) -> Any:
    if isinstance(value, str | tuple):
        raise ValueError(f"expected a number, found {value!r}")
    return value


def _combine(kind: ast.operator, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    # Text may be joined to text; every other sign wants numbers ('a' * 10**9, 'x' % ...).
    if not (isinstance(kind, ast.Add) and isinstance(left, str) and isinstance(right, str)):
        left, right = _arithmetic(left), _arithmetic(right)
    return _BINARY[type(kind)](left, right)


def _compare(node: ast.Compare, value: Callable[[ast.expr | None], Any]) -> bool | None:
    left = value(node.left)
    for kind, operand in zip(node.ops, node.comparators, strict=True):
        right = value(operand)
        if left is None or right is None:
            return None
        if not _COMPARE[type(kind)](left, right):
            return False
        left = right
    return True


def _part(node: ast.Subscript, value: Callable[[ast.expr | None], Any]) -> str | None:
    text = value(node.value)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"only a text can be cut, found {text!r}")
    if isinstance(node.slice, ast.Slice):
        lower, upper = node.slice.lower, node.slice.upper
        return text[value(lower) if lower else None : value(upper) if upper else None]
    index = value(node.slice)
    return text[index : index + 1 or None]


def _call(name: str, arguments: list[Any]) -> Any:
    needed = 0 if name in _NULL_AWARE else _OPTIONAL_AFTER.get(name, len(arguments))
    if any(item is None for item in arguments[:needed]):
        return None
    return FUNCTIONS[name].call(*arguments)
