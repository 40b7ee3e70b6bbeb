"""Syntax trees made by us, for protocols whose parameters mean an ADQL query.

They go the way of a user's query from the resolver on: same windows, same indexes, same types.
Angles are ICRS degrees. Source of the functions: ADQL 2.1, "Geometrical Functions".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from vo_service.adql import nodes as n
from vo_service.model.region import Circle, Point, Polygon

__all__ = [
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "both",
    "box",
    "coalesce",
    "column",
    "compute",
    "contains",
    "equals",
    "find",
    "intersects",
    "item",
    "known",
    "like",
    "lower",
    "moc",
    "number",
    "one_of",
    "point",
    "region",
    "selected",
    "text",
]

#: No user wrote these trees, so a message about one would have no place to name.
_AT = n.Place(1, 1)


def column(name: str) -> n.ColumnName:
    """A column by its published name, with its quotes where it has some."""
    return n.ColumnName(at=_AT, parts=(_name(name),))


def number(value: float) -> n.Node:
    """A finite number."""
    written = n.Number(at=_AT, text=repr(abs(value)))
    return n.Signed(at=_AT, sign="-", operand=written) if math.copysign(1, value) < 0 else written


def text(value: str) -> n.String:
    """A character string."""
    return n.String(at=_AT, text=value)


def point(lon: n.Node, lat: n.Node) -> n.Node:
    """POINT."""
    return _call("POINT", lon, lat)


def region(shape: Point | Circle | Polygon) -> n.Node:
    """A constant POINT, CIRCLE or POLYGON."""
    match shape:
        case Point(lon, lat):
            return point(number(lon), number(lat))
        case Circle(lon, lat, radius):
            return _call("CIRCLE", number(lon), number(lat), number(radius))
        case Polygon(vertices):
            return _call("POLYGON", *(number(a) for v in vertices for a in (v.ra, v.dec)))


def box(centre: Point, width: float, height: float) -> n.Node:
    """BOX, of less than 180 degrees either way."""
    return _call("BOX", *(number(v) for v in (centre.ra, centre.dec, width, height)))


def moc(ascii_form: str) -> n.Node:
    """A constant MOC."""
    return _call("MOC", text(ascii_form))


def lower(value: n.Node) -> n.Node:
    """LOWER."""
    return _call("LOWER", value)


def coalesce(*values: n.Node) -> n.Node:
    """COALESCE."""
    return _call("COALESCE", *values)


def compute(left: n.Node, operator: str, right: n.Node) -> n.Node:
    """``left operator right``, of ``+ - * / ||``."""
    return n.Operation(at=_AT, operator=operator, left=left, right=right)


def contains(inner: n.Node, outer: n.Node) -> n.Node:
    """Whether *inner* lies in *outer*."""
    return _true("CONTAINS", inner, outer)


def intersects(a: n.Node, b: n.Node) -> n.Node:
    """Whether two geometries overlap."""
    return _true("INTERSECTS", a, b)


def at_least(value: n.Node, bound: float) -> n.Node:
    """``value >= bound``; known at all where that is infinite."""
    return _bounded(value, ">=", bound)


def at_most(value: n.Node, bound: float) -> n.Node:
    """``value <= bound``; known at all where that is infinite."""
    return _bounded(value, "<=", bound)


def equals(a: n.Node, b: n.Node) -> n.Node:
    """``a = b``."""
    return n.Comparison(at=_AT, operator="=", left=a, right=b)


def one_of(value: n.Node, items: Sequence[n.Node]) -> n.Node:
    """``value IN (...)``, of one item or more."""
    return n.InList(at=_AT, value=value, items=tuple(items), negated=False)


def like(value: n.Node, pattern: str) -> n.Node:
    """``value LIKE pattern``."""
    return n.Like(at=_AT, value=value, pattern=text(pattern), negated=False, ignore_case=False)


def known(value: n.Node) -> n.Node:
    """``value IS NOT NULL``."""
    return n.IsNull(at=_AT, value=value, negated=True)


def all_of(terms: Iterable[n.Node]) -> n.Node | None:
    """Terms joined by AND; None where there are none."""
    given = tuple(terms)
    return n.AllOf(at=_AT, terms=given) if len(given) > 1 else next(iter(given), None)


def both(first: n.Node, second: n.Node) -> n.Node:
    """Two terms joined by AND."""
    return n.AllOf(at=_AT, terms=(first, second))


def any_of(terms: Iterable[n.Node]) -> n.Node:
    """Terms, one or more, joined by OR."""
    given = tuple(terms)
    return n.Disjunction(at=_AT, terms=given) if len(given) > 1 else given[0]


def item(value: n.Node, alias: str) -> n.Item:
    """An expression of a select list, under a name that is a plain identifier."""
    return n.Item(at=_AT, value=value, alias=n.Name(alias, False, _AT))


def selected(name: str) -> n.Item:
    """A column of a select list, under its own name."""
    return n.Item(at=_AT, value=column(name), alias=None)


def find(table: str, where: n.Node | None, items: Sequence[n.Item] = ()) -> n.Statement:
    """SELECT *items* (all columns where there are none) FROM *table* WHERE *where*."""
    select = n.Select(
        at=_AT,
        distinct=False,
        top=None,
        items=tuple(items) or (n.AllColumns(at=_AT),),
        sources=(n.TableName(at=_AT, parts=tuple(map(_name, _parts(table))), alias=None),),
        where=where,
        groups=(),
        having=None,
    )
    return n.Statement(at=_AT, tables=(), query=n.Query(at=_AT, body=select))


def _call(name: str, *arguments: n.Node) -> n.Call:
    return n.Call(at=_AT, name=name, arguments=arguments)


def _true(name: str, *arguments: n.Node) -> n.Node:
    return equals(_call(name, *arguments), n.Number(at=_AT, text="1"))


def _bounded(value: n.Node, operator: str, bound: float) -> n.Node:
    if math.isinf(bound):
        return known(value)
    return n.Comparison(at=_AT, operator=operator, left=value, right=number(bound))


def _name(written: str) -> n.Name:
    if written.startswith('"'):
        return n.Name(written[1:-1].replace('""', '"'), True, _AT)
    return n.Name(written, False, _AT)


def _parts(table: str) -> list[str]:
    """The names of ``schema.table``; quoted ones may hold dots."""
    parts = [""]
    for place, piece in enumerate(table.split('"')):
        quoted = place % 2 == 1
        first, *rest = [f'"{piece}"'] if quoted else piece.split(".")
        parts[-1] += first
        parts += rest
    return parts
