"""Expressions: nodes to typed SQL values and to conditions.

An index serves a bare predicate, never a CASE around it, so comparisons of CONTAINS,
INTERSECTS and DISTANCE with constants become the operator itself, with RA bounds beside it.
Source: ADQL 2.1, "Search Condition" and "Value expressions".
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

from sqlalchemy import Integer, and_, cast, distinct, exists, func, not_, or_
from sqlalchemy.types import String as SqlString

from vo_service.adql import geometry, predicates, sphere
from vo_service.adql import nodes as n
from vo_service.adql.arithmetic import computed
from vo_service.adql.calls import Arguments, Function
from vo_service.adql.functions import FUNCTIONS
from vo_service.adql.scope import Label, Scope, nearest, same
from vo_service.adql.udf import USER_FUNCTIONS, is_aggregate
from vo_service.adql.values import (
    DOUBLE,
    NUMBERS,
    SQL_TYPES,
    Kind,
    Sql,
    Test,
    Value,
    common_kind,
    described,
    literal,
    output,
    require_number,
    require_text,
    typed,
)
from vo_service.errors import QueryError

__all__ = ["Context", "Expressions"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRROR = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where an expression stands.

    *clause* is its name in messages, *keys* are the GROUP BY expressions of a grouped query with
    their values (None in any other), *aggregates* whether COUNT and the like may stand here.
    """

    scope: Scope
    clause: str
    keys: tuple[tuple[n.Node, Value], ...] | None = None
    aggregates: bool = False


def _error(at: n.Place, message: str) -> QueryError:
    return QueryError(message, at.line, at.column)


class Expressions:
    """Values and conditions; *subquery* translates a query for IN and EXISTS."""

    def __init__(self, subquery: Callable[[n.Query, Scope], Any]) -> None:
        self._subquery = subquery

    # Values

    def value(self, node: n.Node, context: Context) -> Value:
        """The typed SQL of a value expression.

        Raises
        ------
        QueryError
            Unknown names, wrong types, values that a grouped query does not have.
        """
        if context.keys is not None and not isinstance(node, n.Number | n.String | n.Null):
            key = self._key(node, context)
            if key is not None:
                return key
        return self._value(node, context)

    def _key(self, node: n.Node, context: Context) -> Value | None:
        """The GROUP BY value that *node* is, with no row behind it any more."""
        if any(is_aggregate(part) for part in n.walk(node)):
            return None
        for written, key in context.keys or ():
            if same(node, written, context.scope):
                # The very same expression: PostgreSQL compares names inside of it as well.
                return dataclasses.replace(key, row=None, axis=None)
        return None

    @singledispatchmethod
    def _value(self, node: n.Node, context: Context) -> Value:
        raise _error(node.at, f"{context.clause}: expected a value, found a condition")

    @_value.register
    def _(self, node: n.Number, context: Context) -> Value:
        if node.text.isdigit() and len(node.text) < 20:
            return literal(int(node.text))
        number = float(node.text)
        if not math.isfinite(number):
            raise _error(node.at, f"{node.text[:40]} is too large for a number")
        return literal(number)

    @_value.register
    def _(self, node: n.String, context: Context) -> Value:
        return literal(node.text)

    @_value.register
    def _(self, node: n.Null, context: Context) -> Value:
        return literal(None)

    @_value.register
    def _(self, node: n.ColumnName, context: Context) -> Value:
        value = context.scope.column(node.parts)
        if context.keys is not None and not context.scope.is_outer(node.parts):
            name = ".".join(str(Label(part.text, part.quoted)) for part in node.parts)
            raise _error(
                node.at,
                f"{context.clause}: expected {name} in GROUP BY or inside of an aggregate "
                "function, since this query groups its rows",
            )
        return value

    @_value.register
    def _(self, node: n.Signed, context: Context) -> Value:
        value = require_number(self.value(node.operand, context), node.sign, node.at)
        if node.sign == "+":
            return value
        if value.constant is not None:
            return literal(-value.constant)
        return typed(-value.sql, value.kind, value)

    @_value.register
    def _(self, node: n.Operation, context: Context) -> Value:
        left, right = self.value(node.left, context), self.value(node.right, context)
        if node.operator == "||":
            left = require_text(left, "||", node.left.at)
            right = require_text(right, "||", node.right.at)
            return typed(left.sql.concat(right.sql), "char")
        left = require_number(left, node.operator, node.left.at)
        right = require_number(right, node.operator, node.right.at)
        return computed(node.operator, left, right)

    @_value.register
    def _(self, node: n.Call, context: Context) -> Value:
        if is_aggregate(node):
            context = _inside(node, context)
            if not any(isinstance(part, n.ColumnName) for part in n.walk(node)):
                # Of constants, SQL would not know which query's rows are meant.
                raise _error(node.at, f"{node.name}: expected an expression with a column in it")
        values = tuple(self.value(argument, context) for argument in node.arguments)
        return _function(node)(Arguments(node.name, values, node.at))

    @_value.register
    def _(self, node: n.Aggregate, context: Context) -> Value:
        inner = _inside(node, context)
        if node.argument is None:
            return typed(func.count(), "long", ucd="meta.number", description="Number of rows")
        value = self.value(node.argument, inner)
        if node.name in ("SUM", "AVG"):
            value = require_number(value, node.name, node.at)
        if node.distinct and value.kind == "shape":
            raise _error(node.at, f"cannot count different {described(value)[2:]}s")
        sql = distinct(value.sql) if node.distinct else value.sql
        if node.name == "COUNT":
            return typed(func.count(sql), "long", ucd="meta.number", description="Number of values")
        return _aggregate(node, value, sql)

    @_value.register
    def _(self, node: n.Cast, context: Context) -> Value:
        value = self.value(node.operand, context)
        if node.type in ("POINT", "CIRCLE", "POLYGON"):
            if value.text is None:
                raise _error(node.at, f"CAST AS {node.type}: expected a string literal")
            try:
                shape = geometry.constant(sphere.read_dali(node.type, value.text))
            except ValueError as error:
                raise _error(node.at, f"CAST AS {node.type}: {error}") from None
            return dataclasses.replace(typed(shape.sql, "shape"), shape=shape)
        return _cast(node, value)

    # Conditions

    @singledispatchmethod
    def condition(self, node: n.Node, context: Context) -> Sql:
        """The SQL of a search condition.

        Raises
        ------
        QueryError
            As `value`, and for a value that is no condition.
        """
        self.value(node, context)
        raise _error(
            node.at,
            f"{context.clause}: expected a condition, found a value (compare it, as in 1 = x)",
        )

    @condition.register
    def _(self, node: n.AllOf, context: Context) -> Sql:
        return and_(*(self.condition(term, context) for term in node.terms))

    @condition.register
    def _(self, node: n.Disjunction, context: Context) -> Sql:
        return or_(*(self.condition(term, context) for term in node.terms))

    @condition.register
    def _(self, node: n.Negated, context: Context) -> Sql:
        if (without := n.negation(node.term)) is not None:
            return self.condition(without, context)
        return not_(self.condition(node.term, context))

    @condition.register
    def _(self, node: n.Comparison, context: Context) -> Sql:
        left, right = self.value(node.left, context), self.value(node.right, context)
        positional = _positional(left, node.operator, right)
        if positional is None:
            positional = _positional(right, _MIRROR[node.operator], left)
        if positional is not None:
            return positional
        first, second = _comparable([left, right], node)
        return _COMPARE[node.operator](first, second)  # type: ignore[no-any-return]

    @condition.register
    def _(self, node: n.Between, context: Context) -> Sql:
        parts = [self.value(part, context) for part in (node.value, node.low, node.high)]
        value, low, high = _comparable(parts, node)
        between = value.between(low, high)
        nearest_to = _positional(parts[0], "<=", parts[2])
        if nearest_to is not None and not node.negated:
            # Of a distance, only the upper end can be served by an index.
            return and_(nearest_to, between)
        return not_(between) if node.negated else between

    @condition.register
    def _(self, node: n.InList, context: Context) -> Sql:
        parts = [self.value(part, context) for part in (node.value, *node.items)]
        value, *items = _comparable(parts, node)
        # One item at a time: SQLAlchemy's list parameter could not hold expressions.
        return value.not_in(items) if node.negated else value.in_(items)

    @condition.register
    def _(self, node: n.InQuery, context: Context) -> Sql:
        value = self.value(node.value, context)
        relation = self._subquery(node.query, context.scope)
        if len(relation.columns) != 1:
            raise _error(
                node.query.at,
                f"IN: expected one column, found {len(relation.columns)} in the subquery",
            )
        (sql,) = _comparable([value, relation.columns[0].value], node)[:1]
        return sql.not_in(relation.select) if node.negated else sql.in_(relation.select)

    @condition.register
    def _(self, node: n.Exists, context: Context) -> Sql:
        return exists(self._subquery(node.query, context.scope).select)

    @condition.register
    def _(self, node: n.Like, context: Context) -> Sql:
        word = "ILIKE" if node.ignore_case else "LIKE"
        value = require_text(self.value(node.value, context), word, node.at)
        pattern = require_text(self.value(node.pattern, context), word, node.pattern.at)
        # ADQL has no escape character, PostgreSQL's would be the backslash.
        like = value.sql.ilike if node.ignore_case else value.sql.like
        test = like(pattern.sql, escape="")
        return not_(test) if node.negated else test

    @condition.register
    def _(self, node: n.IsNull, context: Context) -> Sql:
        sql = self.value(node.value, context).sql
        return sql.is_not(None) if node.negated else sql.is_(None)


def _function(node: n.Call) -> Function:
    if node.name in FUNCTIONS:
        return FUNCTIONS[node.name]
    if node.name in USER_FUNCTIONS:
        return USER_FUNCTIONS[node.name].call
    known = [*FUNCTIONS, *(entry.name for entry in USER_FUNCTIONS.values())]
    name = n.Name(node.name, False, node.at)
    raise _error(node.at, f"no function {node.name}" + nearest(name, known))


def _inside(node: n.Aggregate | n.Call, context: Context) -> Context:
    """Where the arguments of an aggregate function stand."""
    if not context.aggregates:
        raise _error(node.at, f"{node.name} cannot stand in {context.clause}")
    return dataclasses.replace(
        context, keys=None, aggregates=False, clause=f"the argument of {node.name}"
    )


def _positional(value: Value, sign: str, other: Value) -> Sql | None:
    """A comparison of a test with a constant, or of a distance, as a bare operator."""
    test = None
    if value.test is not None:
        if other.constant is None:
            return None
        yes, no = (_COMPARE[sign](answer, other.constant) for answer in (1, 0))
        if no and not yes:
            test = value.test.opposite or Test(not_(value.test.holds))
        elif yes and not no:
            test = value.test
    elif value.ends is not None and other.is_number:
        test = predicates.distance(value, sign, other)
    if test is None or test.bounds is None:
        return test.holds if test else None
    return and_(test.bounds, test.holds)


def _comparable(values: list[Value], node: n.Node) -> list[Sql]:
    """The SQL of values that are compared with each other."""
    kinds: set[Kind] = {value.kind for value in values}
    if {"timestamp", "char"} <= kinds <= {"timestamp", "char", "null"}:
        return [cast(value.sql, SQL_TYPES["timestamp"]) for value in values]
    if "boolean" in kinds and kinds & set(NUMBERS):
        # ADQL has no words for true and false; clients write 1 and 0.
        values = [_as_integer(value) for value in values]
        kinds = {value.kind for value in values}
    kind = common_kind(list(kinds))
    if kind is None or kind in ("shape", "array"):
        found = list(dict.fromkeys(described(value) for value in values))
        raise _error(node.at, f"cannot compare {' with '.join(found)}")
    if kind == "null":
        return [cast(value.sql, SQL_TYPES["char"]) for value in values]
    return [cast(v.sql, SQL_TYPES[kind]) if v.kind == "null" else v.sql for v in values]


def _as_integer(value: Value) -> Value:
    return typed(cast(value.sql, Integer()), "int") if value.kind == "boolean" else value


def _aggregate(node: n.Aggregate, value: Value, sql: Any) -> Value:
    """MIN, MAX, SUM, AVG with the unit of their argument."""
    if node.name in ("MIN", "MAX"):
        if value.kind in ("shape", "array", "boolean"):
            raise _error(
                node.at, f"{node.name}: expected a number or string, found {described(value)}"
            )
        function = func.min if node.name == "MIN" else func.max
        statistic = f"stat.{node.name.lower()}"
        return typed(function(sql), value.kind, value, ucd=_with_ucd(value, statistic))
    if node.name == "AVG":
        mean: Sql = cast(func.avg(sql), DOUBLE)
        return typed(mean, "double", value, ucd=_with_ucd(value, "stat.mean"))
    kind: Kind = value.kind if value.kind in ("float", "double") else "long"
    return typed(cast(func.sum(sql), SQL_TYPES[kind]), kind, value)


def _with_ucd(value: Value, word: str) -> str | None:
    """A column's UCD with a secondary word, once."""
    ucd = value.field.ucd
    return f"{ucd};{word}" if ucd and word not in ucd else ucd


def _cast(node: n.Cast, value: Value) -> Value:
    kinds: dict[str, Kind] = {
        "SMALLINT": "short",
        "INTEGER": "int",
        "BIGINT": "long",
        "REAL": "float",
        "DOUBLE PRECISION": "double",
        "TIMESTAMP": "timestamp",
        "CHAR": "char",
        "VARCHAR": "char",
    }
    kind = kinds[node.type]
    allowed = {"char", "null"} | ({"timestamp"} if kind in ("timestamp", "char") else set())
    if kind != "timestamp":
        allowed |= set(NUMBERS)
    if value.kind not in allowed:
        raise _error(node.at, f"{described(value)} cannot be cast to {node.type}")
    sql = output(value)[0] if kind == "char" else value.sql
    if kind == "char" and node.length is not None:
        if not 0 < node.length <= 10_485_760:
            raise _error(node.at, f"{node.type}({node.length}): expected 1 to 10485760 characters")
        sql = cast(sql, SqlString(node.length))
    constant = value.constant if kind in ("int", "long", "double") else None
    if constant is not None and kind != "double" and not isinstance(constant, int):
        constant = None
    result = typed(cast(sql, SQL_TYPES[kind]), kind, value)
    return dataclasses.replace(result, constant=constant)
