"""The results of queries: what their columns are called in SQL, and how they are combined.

A query that is a table for another one carries more than its columns say: beside a footprint
as text its pgSphere polygon, beside a right ascension the indexed position.
Source: ADQL 2.1, "Set Operators".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy
from sqlalchemy import CompoundSelect, FromClause, Select, cast, select

from vo_service.adql import geometry
from vo_service.adql import nodes as n
from vo_service.adql.scope import Label, Named, Source
from vo_service.adql.values import (
    SQL_TYPES,
    Row,
    Sql,
    Value,
    common_kind,
    described,
    output,
    typed,
)
from vo_service.errors import QueryError

__all__ = [
    "Relation",
    "Use",
    "combined",
    "hidden_columns",
    "leaving",
    "relation_source",
    "sql_names",
]

#: What a select is for: rows that leave the service, a table of another query, or a bare set
#: of values for IN and EXISTS.
Use: TypeAlias = Literal["final", "source", "bare"]

#: Names that PostgreSQL takes as they are, with room below its limit of 63 bytes.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")


@dataclass(frozen=True, slots=True)
class Relation:
    """A translated query and its columns; *names* are what SQL calls them."""

    select: Select[Any] | CompoundSelect[Any]
    columns: tuple[Named, ...]
    names: tuple[str, ...]


def sql_names(columns: Sequence[Named]) -> tuple[str, ...]:
    """Distinct names for SQL: as the user has it where that is plain, else c1, c2 ..."""
    taken: set[str] = set()
    names = []
    for number, column in enumerate(columns, start=1):
        name = column.label.text
        if not _PLAIN.fullmatch(name) or name.lower() in taken:
            # No plain name of a user's has a space in it.
            name = f"column {number}"
        taken.add(name.lower())
        names.append(name)
    return tuple(names)


def leaving(value: Value, use: Use, apart: bool) -> Value:
    """A value as a column of a query's result.

    *apart* is a query whose rows are compared (DISTINCT, set operations): geometries, which
    PostgreSQL cannot compare, become arrays there already.
    """
    if use != "final" and not (apart and value.kind == "shape"):
        return value if value.kind != "null" else dataclasses.replace(value, sql=output(value)[0])
    sql, field = output(value)
    kind = {"shape": "array", "timestamp": "char"}.get(value.kind, value.kind)
    if value.shape is not None and value.shape.kind == "moc" and value.kind == "shape":
        kind = "char"
    return Value(sql=sql, kind=kind, field=field)  # type: ignore[arg-type]


def hidden_columns(columns: Sequence[Named], names: Sequence[str]) -> list[Sql]:
    """What goes along with the columns of a subquery without being one of them."""
    hidden: list[Sql] = []
    for column, name in zip(columns, names, strict=True):
        value = column.value
        if value.shape is not None and value.kind != "shape":
            hidden.append(value.shape.sql.label(_hidden(name, "shape")))
        if value.row is not None and value.axis == "ra":
            hidden.append(value.row.point.label(_hidden(name, "point")))
    return hidden


def _hidden(name: str, what: str) -> str:
    return f"{name} {what}"


def relation_source(clause: FromClause, relation: Relation, label: Label) -> Source:
    """The columns of a subquery as a table called *label*, positions and footprints kept."""
    rows = {
        named.value.row: Row(
            ra=clause.c[name],
            point=clause.c[_hidden(name, "point")],
            partitioned=named.value.row.partitioned,
            uploaded=named.value.row.uploaded,
        )
        for named, name in zip(relation.columns, relation.names, strict=True)
        if named.value.row is not None and _hidden(name, "point") in clause.c
    }
    columns = tuple(
        Named(named.label, _carried(named, clause, name, rows))
        for named, name in zip(relation.columns, relation.names, strict=True)
    )
    return Source(name=(label,), clause=clause, columns=columns)


def _carried(named: Named, clause: FromClause, name: str, rows: dict[Row, Row]) -> Value:
    """A value of a subquery, seen from the query around it."""
    value = named.value
    row = rows.get(value.row) if value.row else None
    shape = None
    if value.shape is not None:
        inside = name if value.kind == "shape" else _hidden(name, "shape")
        if inside in clause.c:
            place = rows.get(value.shape.row) if value.shape.row else None
            shape = geometry.kept(value.shape, clause.c[inside], place)
    return Value(
        sql=clause.c[name],
        kind=value.kind,
        field=dataclasses.replace(value.field, name=named.label.text),
        shape=shape,
        row=row,
        axis=value.axis if row else None,
    )


def combined(node: n.SetOperation, left: Relation, right: Relation) -> Relation:
    """UNION, EXCEPT or INTERSECT of two queries; names and metadata are the left one's.

    Raises
    ------
    QueryError
        Different numbers of columns, or columns of different types.
    """
    if len(left.columns) != len(right.columns):
        raise QueryError(
            f"{node.operator}: expected as many columns on both sides, "
            f"found {len(left.columns)} and {len(right.columns)}",
            node.right.at.line,
            node.right.at.column,
        )
    kinds = []
    for ours, theirs in zip(left.columns, right.columns, strict=True):
        kind = common_kind([ours.value.kind, theirs.value.kind])
        if kind is None or (kind == "array" and ours.value.field.xtype != theirs.value.field.xtype):
            raise QueryError(
                f"{node.operator}: column {ours.label} is {described(ours.value)} on the left "
                f"and {described(theirs.value)} on the right",
                node.right.at.line,
                node.right.at.column,
            )
        kinds.append(kind)
    columns = tuple(
        Named(named.label, _of_kind(named.value, kind))
        for named, kind in zip(left.columns, kinds, strict=True)
    )
    selects = [_recast(side, columns) for side in (left, right)]
    operators: dict[tuple[str, bool], Any] = {
        ("UNION", False): sqlalchemy.union,
        ("UNION", True): sqlalchemy.union_all,
        ("EXCEPT", False): sqlalchemy.except_,
        ("EXCEPT", True): sqlalchemy.except_all,
        ("INTERSECT", False): sqlalchemy.intersect,
        ("INTERSECT", True): sqlalchemy.intersect_all,
    }
    return Relation(operators[node.operator, node.all](*selects), columns, left.names)


def _of_kind(value: Value, kind: Any) -> Value:
    if kind in (value.kind, "null"):
        return value
    return typed(value.sql, kind, value, name=value.field.name)


def _recast(side: Relation, columns: Sequence[Named]) -> Any:
    """A query whose columns have the types of *columns*."""
    kinds = [column.value.kind for column in columns]
    if [column.value.kind for column in side.columns] == kinds:
        return side.select
    inner = side.select.subquery().c
    return select(
        *(
            cast(inner[name], SQL_TYPES[kind]).label(name) if kind in SQL_TYPES else inner[name]
            for name, kind in zip(side.names, kinds, strict=True)
        )
    )
