"""FROM: tables, subqueries and joins, and the columns that they make visible.

Source: ADQL 2.1, "FROM Subquery", "Joins"; SQL-92, 7.5 (what USING and NATURAL merge).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import FromClause, and_, cast, func, join, true

from vo_service.adql import nodes as n
from vo_service.adql.scope import Label, Named, Scope, Source, find_table, nearest, table_source
from vo_service.adql.values import SQL_TYPES, Sql, Value, common_kind, described, typed
from vo_service.errors import QueryError

if TYPE_CHECKING:
    from vo_service.model.table import Catalog

__all__ = ["FromBuilder", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A table or join: its SQL, the tables in it, the columns visible without qualifier."""

    clause: FromClause
    sources: tuple[Source, ...]
    columns: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class FromBuilder:
    """Reads FROM clauses.

    Parameters
    ----------
    catalog
        What may be named.
    condition
        Translates the condition of ON.
    derived, common
        Make a source of a subquery, and of a name of WITH (None where there is no such name).
    used
        Counts how often each table is read, by published names, in order.
    """

    catalog: Catalog
    condition: Callable[[n.Node, Scope], Sql]
    derived: Callable[[n.DerivedTable], Source]
    common: Callable[[n.Name, Label], Source | None]
    used: MutableMapping[str, int]

    def build(self, nodes: Sequence[n.Node], outer: Scope) -> tuple[list[FromClause], Scope]:
        """The FROM clauses of a query and the scope that they open."""
        parts = [self._part(node, outer) for node in nodes]
        sources = tuple(source for part in parts for source in part.sources)
        seen: set[tuple[str, ...]] = set()
        for source in sources:
            key = tuple(s.text if s.quoted else s.text.lower() for s in source.name)
            if key in seen:
                at = nodes[0].at
                message = f"two tables are called {source}, expected different aliases"
                raise QueryError(message, at.line, at.column)
            seen.add(key)
        columns = tuple(named for part in parts for named in part.columns)
        return [part.clause for part in parts], Scope(
            sources=sources, columns=columns, outer=outer if outer.sources else None
        )

    def _part(self, node: n.Node, outer: Scope) -> Part:
        match node:
            case n.Join():
                return self._join(node, outer)
            case n.DerivedTable():
                source = self.derived(node)
            case n.TableName():
                source = self._table(node)
            case _:  # the grammar puts nothing else here
                raise AssertionError(type(node).__name__)
        return Part(source.clause, (source,), source.columns)

    def _table(self, node: n.TableName) -> Source:
        if len(node.parts) == 1:
            name = node.alias or node.parts[0]
            common = self.common(node.parts[0], Label(name.text, name.quoted))
            if common is not None:
                return common
        table = find_table(self.catalog, node.parts)
        number = self.used.get(table.name, 0) + 1
        self.used[table.name] = number
        return table_source(table, node.alias, number)

    def _join(self, node: n.Join, outer: Scope) -> Part:
        left, right = self._part(node.left, outer), self._part(node.right, outer)
        sources = left.sources + right.sources
        columns = left.columns + right.columns
        if node.condition is not None:
            scope = Scope(sources=sources, columns=columns, outer=outer if outer.sources else None)
            on = self.condition(node.condition, scope)
        else:
            names = node.using or _shared(left, right, node.at)
            pairs = [(_only(left, name), _only(right, name)) for name in names]
            on = and_(true(), *(_equal(a.value, b.value, node) for a, b in pairs))
            merged = tuple(Named(a.label, _merged(a.value, b.value, node.kind)) for a, b in pairs)
            gone = {id(named) for pair in pairs for named in pair}
            columns = merged + tuple(named for named in columns if id(named) not in gone)
        ends = (right, left) if node.kind == "RIGHT" else (left, right)
        clause = join(
            ends[0].clause,
            ends[1].clause,
            on,
            isouter=node.kind in ("LEFT", "RIGHT"),
            full=node.kind == "FULL",
        )
        return Part(clause, sources, columns)


def _shared(left: Part, right: Part, at: n.Place) -> tuple[n.Name, ...]:
    """The names that NATURAL merges, as if they had been written in USING."""
    there = {_key(named) for named in right.columns}
    names = {_key(named): named.label for named in left.columns if _key(named) in there}
    return tuple(n.Name(label.text, label.quoted, at) for label in names.values())


def _key(named: Named) -> str:
    return named.label.text if named.label.quoted else named.label.text.lower()


def _only(part: Part, name: n.Name) -> Named:
    found = [c for c in part.columns if name.matches(c.label.text, c.label.quoted)]
    if len(found) == 1:
        return found[0]
    tables = " and ".join(str(source) for source in part.sources)
    how = "no column" if not found else "more than one column"
    hint = "" if found else nearest(name, (str(column.label) for column in part.columns))
    raise QueryError(f"{how} {name.text} in {tables}{hint}", name.at.line, name.at.column)


def _equal(a: Value, b: Value, node: n.Join) -> Sql:
    kind = common_kind([a.kind, b.kind])
    if kind is None or kind in ("shape", "array"):
        message = f"cannot join {described(a)} ({a.field.name}) with {described(b)}"
        raise QueryError(message, node.at.line, node.at.column)
    return a.sql == b.sql


def _merged(a: Value, b: Value, kind: str) -> Value:
    """The one column that both become: that of the side whose rows are all there."""
    if kind == "RIGHT":
        return b
    if kind != "FULL":
        return a
    common = common_kind([a.kind, b.kind])
    assert common is not None  # noqa: S101 - `_equal` was asked before
    if common == "null":
        return a
    both = func.coalesce(*(cast(value.sql, SQL_TYPES[common]) for value in (a, b)))
    return typed(both, common, a)
