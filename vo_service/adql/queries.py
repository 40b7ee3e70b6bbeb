"""Queries: SELECT, WITH, grouping, ordering and limits, to SQLAlchemy selects.

Nothing is read but what the catalog names. Source: ADQL 2.1, "Query syntax", "Common Table
Expressions", "OFFSET".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, Select, select

from vo_service.adql import nodes as n
from vo_service.adql.expressions import Context, Expressions
from vo_service.adql.joins import FromBuilder
from vo_service.adql.relations import (
    Relation,
    Use,
    combined,
    hidden_columns,
    leaving,
    relation_source,
    sql_names,
)
from vo_service.adql.scope import Label, Named, Scope, Source, same
from vo_service.adql.udf import is_aggregate
from vo_service.adql.values import Sql, Value, described
from vo_service.adql.words import RESERVED
from vo_service.errors import QueryError
from vo_service.model.table import Catalog

__all__ = ["Queries"]

#: PostgreSQL stops at 1664, hidden columns included.
_MAX_COLUMNS = 800

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class _Purpose:
    """What a query is translated for.

    At most *limit* rows leave it; an *operand* of a set operation has its rows compared.
    """

    use: Use
    limit: int | None = None
    operand: bool = False


_SOURCE, _BARE = _Purpose("source"), _Purpose("bare")


class Queries:
    """One translation: the catalog, the tables read, and the names of WITH."""

    def __init__(self, catalog: Catalog) -> None:
        self.tables: dict[str, int] = {}
        self._common: list[tuple[Label, Relation, CTE]] = []
        self._expressions = Expressions(self._bare)
        self._from = FromBuilder(
            catalog=catalog,
            condition=self._on,
            derived=self._derived,
            common=self._common_table,
            used=self.tables,
        )

    def statement(self, node: n.Statement, limit: int | None) -> Relation:
        """A whole query; at most *limit* rows leave it.

        Raises
        ------
        QueryError
            What the catalog or the language does not allow, with its place.
        """
        for table in node.tables:
            label = Label(table.name.text, table.name.quoted)
            if any(table.name.matches(known.text, known.quoted) for known, _, _ in self._common):
                raise _error(table.name.at, f"two tables of WITH are called {label}")
            relation = self._query(table.query, Scope(), _SOURCE)
            self._common.append((label, relation, relation.select.cte()))
        return self._query(node.query, Scope(), _Purpose("final", limit))

    def condition_on(self, sources: Sequence[n.Node]) -> Callable[[n.Node], Sql]:
        """What translates a WHERE over the tables of a FROM; it raises QueryError."""
        _, scope = self._from.build(sources, Scope())
        where = Context(scope=scope, clause="WHERE")
        return lambda node: self._expressions.condition(node, where)

    def _bare(self, node: n.Query, outer: Scope) -> Relation:
        return self._query(node, outer, _BARE)

    def _on(self, node: n.Node, scope: Scope) -> Sql:
        return self._expressions.condition(node, Context(scope=scope, clause="ON"))

    def _derived(self, node: n.DerivedTable) -> Source:
        relation = self._query(node.query, Scope(), _SOURCE)
        label = Label(node.alias.text, node.alias.quoted)
        return relation_source(relation.select.subquery(), relation, label)

    def _common_table(self, name: n.Name, label: Label) -> Source | None:
        for known, relation, table in self._common:
            if name.matches(known.text, known.quoted):
                return relation_source(table.alias(), relation, label)
        return None

    def _query(self, node: n.Query, outer: Scope, purpose: _Purpose) -> Relation:
        if isinstance(node.body, n.Select):
            return self._select(node.body, node, outer, purpose)
        relation = self._body(node.body, outer, dataclasses.replace(purpose, limit=None))
        if not node.order and node.offset is None and purpose.limit is None:
            return relation
        return self._sorted(relation, node, purpose.limit)

    def _body(self, node: n.Node, outer: Scope, purpose: _Purpose) -> Relation:
        match node:
            case n.Query():
                return self._query(node, outer, purpose)
            case n.Select():
                return self._select(node, n.Query(at=node.at, body=node), outer, purpose)
            case n.SetOperation():
                operand = dataclasses.replace(purpose, operand=True)
                left = self._body(node.left, outer, operand)
                right = self._body(node.right, outer, operand)
                return combined(node, left, right)
        raise AssertionError(type(node).__name__)  # the grammar puts nothing else here

    def _sorted(self, relation: Relation, node: n.Query, limit: int | None) -> Relation:
        """ORDER BY and OFFSET of a set operation or of a query in parentheses."""
        source = relation_source(relation.select.subquery(), relation, Label("query"))
        scope = Scope(sources=(source,), columns=source.columns)
        context = Context(scope=scope, clause="ORDER BY")
        statement = select(*(c.label(c.name) for c in source.clause.c))
        terms = [self._order(sort, source.columns, context, []) for sort in node.order]
        statement = statement.order_by(*terms).offset(node.offset).limit(limit)
        return Relation(statement, relation.columns, relation.names)

    def _select(self, node: n.Select, query: n.Query, outer: Scope, purpose: _Purpose) -> Relation:
        clauses, scope = self._from.build(node.sources, outer)
        statement: Select[Any] = select().select_from(*clauses)
        # None: nothing of the queries around is meant but what this names.
        around = outer.clauses()
        statement = statement.correlate(*around) if around else statement.correlate(None)
        if node.where is not None:
            where = Context(scope=scope, clause="WHERE")
            statement = statement.where(self._expressions.condition(node.where, where))
        keys = self._keys(node, query, scope)
        context = Context(scope=scope, clause="SELECT", keys=keys, aggregates=True)
        columns, written = self._columns(node, context)
        if node.groups:
            statement = statement.group_by(*(key.sql for _, key in keys or ()))
        if node.having is not None:
            having = dataclasses.replace(context, clause="HAVING")
            statement = statement.having(self._expressions.condition(node.having, having))
        apart = node.distinct or purpose.operand
        outputs = tuple(Named(c.label, leaving(c.value, purpose.use, apart)) for c in columns)
        names = sql_names(outputs)
        labels = [o.value.sql.label(name) for o, name in zip(outputs, names, strict=True)]
        carries = purpose.use == "source" and not apart and keys is None
        hidden = hidden_columns(outputs, names) if carries else []
        statement = statement.add_columns(*labels, *hidden)
        order = dataclasses.replace(context, clause="ORDER BY")
        chosen = list(zip(written, labels, strict=True)) if node.distinct else []
        terms = [self._order(sort, columns, order, chosen) for sort in query.order]
        if node.distinct:
            statement = statement.distinct()
        top = min((n for n in (node.top, purpose.limit) if n is not None), default=None)
        statement = statement.order_by(*terms).offset(query.offset).limit(top)
        return Relation(statement, outputs, names)

    def _keys(
        self, node: n.Select, query: n.Query, scope: Scope
    ) -> tuple[tuple[n.Node, Value], ...] | None:
        """The expressions of GROUP BY and their values; None for a query that does not group."""
        parts = [*node.items, *((node.having,) if node.having else ()), *query.order]
        if not node.groups:
            grouped = node.having or any(
                is_aggregate(found) for part in parts for found in n.walk(part)
            )
            return () if grouped else None
        context = Context(scope=scope, clause="GROUP BY")
        groups = [_unaliased(group, node, scope) for group in node.groups]
        keys = [(group, self._expressions.value(group, context)) for group in groups]
        for (_, key), group in zip(keys, node.groups, strict=True):
            if key.kind in ("shape", "array"):
                raise _error(group.at, f"cannot group by {described(key)}")
        return tuple(keys)

    def _columns(
        self, node: n.Select, context: Context
    ) -> tuple[tuple[Named, ...], list[n.Node | None]]:
        """The select list, ``*`` written out, and what was written for each column but these."""
        found: list[Named] = []
        written: list[n.Node | None] = []
        for item in node.items:
            if isinstance(item, n.Item):
                found.append(self._column(item, context, len(found) + 1))
                written.append(item.value)
                continue
            scope = context.scope
            columns = scope.columns_of(item.qualifier) if item.qualifier else scope.columns
            if context.keys is not None:
                raise _error(item.at, "* cannot stand in a query that groups its rows")
            found.extend(columns)
            written.extend([None] * len(columns))
        if len(found) > _MAX_COLUMNS:
            raise _error(node.at, f"more than {_MAX_COLUMNS} columns")
        return tuple(found), written

    def _column(self, item: n.Item, context: Context, number: int) -> Named:
        value = self._expressions.value(item.value, context)
        if item.alias is not None:
            return Named(Label(item.alias.text, item.alias.quoted), value)
        match item.value:
            case n.ColumnName():
                return Named(Label(value.field.name, _needs_quotes(value.field.name)), value)
            case n.Call() | n.Aggregate() as call:
                return Named(Label(f"{call.name.lower()}_{number}"), value)
        return Named(Label(f"column_{number}"), value)

    def _order(
        self,
        sort: n.Sort,
        columns: Sequence[Named],
        context: Context,
        chosen: Sequence[tuple[n.Node | None, Sql]],
    ) -> Sql:
        """One term of ORDER BY; *chosen* are the only values that DISTINCT leaves."""
        index = _output_index(sort.value, columns)
        if index is None:
            value = self._expressions.value(sort.value, context)
            if chosen:
                equal = (
                    column.value.sql is value.sql
                    or (written is not None and same(sort.value, written, context.scope))
                    for column, (written, _) in zip(columns, chosen, strict=True)
                )
                index = next((i for i, yes in enumerate(equal) if yes), None)
                if index is None:
                    raise _error(sort.at, "ORDER BY: expected a column of this SELECT DISTINCT")
        else:
            value = columns[index].value
        if value.kind in ("shape", "array"):
            raise _error(sort.at, f"cannot order by {described(value)}")
        sql = chosen[index][1] if chosen and index is not None else value.sql
        return sql.desc() if sort.descending else sql.asc()


def _error(at: n.Place, message: str) -> QueryError:
    return QueryError(message, at.line, at.column)


def _needs_quotes(name: str) -> bool:
    return not _PLAIN_NAME.fullmatch(name) or name.upper() in RESERVED


def _unaliased(group: n.Node, node: n.Select, scope: Scope) -> n.Node:
    """The expression behind an alias in GROUP BY, where no column has that name."""
    if isinstance(group, n.ColumnName) and len(group.parts) == 1:
        name = group.parts[0]
        if scope.find(group.parts) is None:
            for item in node.items:
                alias = item.alias if isinstance(item, n.Item) else None
                if alias and isinstance(item, n.Item) and name.matches(alias.text, alias.quoted):
                    return item.value
    return group


def _output_index(node: n.Node, columns: Sequence[Named]) -> int | None:
    """Which column of the select list a term of ORDER BY means, by position or by name."""
    if isinstance(node, n.Number):
        if node.text.isdigit() and 1 <= int(node.text[:9]) <= len(columns) and len(node.text) < 10:
            return int(node.text) - 1
        raise _error(node.at, f"ORDER BY: {node.text[:40]} is no position of 1 to {len(columns)}")
    if not isinstance(node, n.ColumnName) or len(node.parts) != 1:
        return None
    name = node.parts[0]
    found = [i for i, c in enumerate(columns) if name.matches(c.label.text, c.label.quoted)]
    if len(found) > 1 and any(
        columns[i].value.sql is not columns[found[0]].value.sql for i in found
    ):
        raise _error(node.at, f"ORDER BY: {name.text} is ambiguous")
    return found[0] if found else None
