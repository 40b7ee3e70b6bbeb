"""Which names a query may use where, and what they mean.

A `Scope` is the FROM clause of one query with the scopes of the queries around it. Nothing
but columns of the catalog and outputs of subqueries can be found in one. Source: ADQL 2.1,
"Identifiers", "Column references"; joins as SQL-92 7.5.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import FromClause

from vo_service.adql.nodes import ColumnName, Name, Node
from vo_service.adql.values import NUMBERS, SMOC, SQL_TYPES, Row, Shape, Sql, Value
from vo_service.errors import QueryError
from vo_service.model.table import Field

if TYPE_CHECKING:
    from vo_service.adql.values import Kind, ShapeKind
    from vo_service.model.table import Catalog, Column, Gap, Table

__all__ = [
    "Label",
    "Named",
    "Scope",
    "Source",
    "find_table",
    "nearest",
    "same",
    "split_name",
    "table_source",
]

_SHAPES: dict[str, ShapeKind] = {
    "point": "point",
    "circle": "circle",
    "polygon": "polygon",
    "moc": "moc",
}

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')

#: What collections are told apart by, where tables of observations leave some out.
_COLLECTION = "obs_collection"


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a thing; *quoted* where it can be referred to only in quotes."""

    text: str
    quoted: bool = False

    def __str__(self) -> str:
        return '"' + self.text.replace('"', '""') + '"' if self.quoted else self.text


@dataclass(frozen=True, slots=True)
class Named:
    """A column that can be referred to."""

    label: Label
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One table reference of a FROM clause; *name* is its alias, or the parts of its name."""

    name: tuple[Label, ...]
    clause: FromClause
    columns: tuple[Named, ...]

    def is_called(self, qualifier: Sequence[Name]) -> bool:
        """Whether a qualifier (``o``, ``obscore``, ``ivoa.obscore``) means this table."""
        tail = self.name[-len(qualifier) :]
        return len(tail) == len(qualifier) and all(
            name.matches(label.text, label.quoted)
            for name, label in zip(qualifier, tail, strict=True)
        )

    def __str__(self) -> str:
        return ".".join(map(str, self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The tables of a FROM clause.

    *columns* are the columns that need no qualifier, in order, those merged by USING and
    NATURAL once; *outer* is the scope of the query around this one.
    """

    sources: tuple[Source, ...] = ()
    columns: tuple[Named, ...] = ()
    outer: Scope | None = None

    def column(self, parts: Sequence[Name]) -> Value:
        """The value of a column reference.

        Raises
        ------
        QueryError
            Unknown or ambiguous, with the nearest name.
        """
        if (found := self.find(parts)) is not None:
            return found
        *qualifier, name = parts
        candidates = _called(self.columns_of(qualifier) if qualifier else self.columns)
        tables = f" in {' or '.join(str(source) for source in self.sources)}"
        if qualifier:
            tables = f" in {_written(qualifier)}"
        message = f"no column {_written([name])}{tables}"
        raise QueryError(message + nearest(name, candidates), name.at.line, name.at.column)

    def find(self, parts: Sequence[Name]) -> Value | None:
        """As `column`, but None where there is no such column here or further out."""
        *qualifier, name = parts
        scope: Scope | None = self
        while scope is not None:
            if qualifier:
                sources = [source for source in scope.sources if source.is_called(qualifier)]
                pool = [named for source in sources for named in source.columns]
            else:
                pool = list(scope.columns)
            found = [n for n in pool if name.matches(n.label.text, n.label.quoted)]
            if len(found) > 1:
                raise QueryError(
                    f"{_written(parts)} is ambiguous, expected a table name before it",
                    name.at.line,
                    name.at.column,
                )
            if found:
                return found[0].value
            scope = scope.outer
        return None

    def is_outer(self, parts: Sequence[Name]) -> bool:
        """Whether a column comes from a query around this one."""
        return dataclasses.replace(self, outer=None).find(parts) is None

    def columns_of(self, qualifier: Sequence[Name]) -> tuple[Named, ...]:
        """All columns of the table called *qualifier*, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            for source in scope.sources:
                if source.is_called(qualifier):
                    return source.columns
            scope = scope.outer
        here = [".".join(map(str, source.name)) for source in self.sources]
        at = qualifier[0].at
        raise QueryError(
            f"no table {_written(qualifier)} in this FROM" + nearest(qualifier[-1], here),
            at.line,
            at.column,
        )

    def clauses(self) -> list[FromClause]:
        """The tables of this query and of all queries around it."""
        scope: Scope | None = self
        found: list[FromClause] = []
        while scope is not None:
            found.extend(source.clause for source in scope.sources)
            scope = scope.outer
        return found


def same(a: Any, b: Any, scope: Scope) -> bool:
    """Whether two expressions (or parts of them) say the same with the names of a scope.

    They are compared as written: SQLAlchemy takes forever to compare nested subqueries.
    """
    if isinstance(a, ColumnName) and isinstance(b, ColumnName):
        left, right = scope.find(a.parts), scope.find(b.parts)
        return left is not None and right is not None and left.sql is right.sql
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(lambda x, y: same(x, y, scope), a, b))
    if isinstance(a, Node):
        parts = [field.name for field in dataclasses.fields(a) if field.compare]
        return type(a) is type(b) and all(
            same(getattr(a, part), getattr(b, part), scope) for part in parts
        )
    return bool(a == b)


def nearest(name: Name, known: Iterable[str]) -> str:
    """``; did you mean x?`` where something known looks like *name*, else nothing."""
    by_lower = {text.lower(): text for text in known}
    best = difflib.get_close_matches(name.text.lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[best[0]]}?" if best else ""


def _called(columns: Iterable[Named]) -> list[str]:
    return [str(named.label) for named in columns]


def _written(parts: Sequence[Name]) -> str:
    return ".".join(str(Label(part.text, part.quoted)) for part in parts)


@lru_cache(4096)
def split_name(name: str) -> tuple[Label, ...]:
    """A published name (``tap_schema.columns``, ``"size"``) in its parts."""
    return tuple(
        Label(quoted.replace('""', '"'), True) if quoted else Label(plain)
        for quoted, plain in _PART.findall(name)
    )


def find_table(catalog: Catalog, parts: Sequence[Name]) -> Table:
    """The published table of that name.

    Raises
    ------
    QueryError
        Not in the catalog, with the nearest name.
    """
    for table in catalog.tables:
        labels = split_name(table.name)
        if len(labels) == len(parts) and all(
            name.matches(label.text, label.quoted)
            for name, label in zip(parts, labels, strict=True)
        ):
            return table
    at = parts[0].at
    wanted = Name(".".join(part.text for part in parts), False, at)
    known = {table.name: table.name for table in catalog.tables}
    ends = [name for name in known if name.lower().endswith("." + wanted.text.lower())]
    hint = f"; did you mean {ends[0]}?" if ends else nearest(wanted, known)
    raise QueryError(f"no table {_written(parts)}{hint}", at.line, at.column)


def table_source(table: Table, alias: Name | None, number: int) -> Source:
    """A reference to a published table in a FROM clause, the *number*-th to it of the query."""
    name = (Label(alias.text, alias.quoted),) if alias else split_name(table.name)
    clause, columns = _reference(table, number)
    return Source(name=name, clause=clause, columns=columns)


@lru_cache(256)
def _reference(table: Table, number: int) -> tuple[FromClause, tuple[Named, ...]]:
    """What *number* tells apart: the same table twice in a query is two things in SQL."""
    *schema, relation = table.relation.split(".")
    hidden = {column.geometry for column in table.columns if column.geometry}
    if table.position:
        hidden.add(table.position.point)
    if table.without:
        hidden.add(_COLLECTION)
    physical = {split_name(column.name)[0].text for column in table.columns} | hidden
    clause: FromClause = sqlalchemy.table(
        relation, *map(sqlalchemy.column, sorted(physical)), schema=".".join(schema) or None
    ).alias()
    if table.position and table.without:
        clause = _without(clause, clause.c[split_name(table.position.ra)[0].text], table.without)
    row = _row(table, clause)
    return clause, tuple(_named(table, column, clause, row) for column in table.columns)


def _without(clause: FromClause, ra: Sql, gap: Gap) -> FromClause:
    """Rows outside of a gap, in words that let PostgreSQL skip their partitions."""
    collection = clause.c[_COLLECTION]
    kept = [sqlalchemy.or_(ra < low, ra >= high, ra.is_(None)) for low, high in gap.ranges]
    kept += [sqlalchemy.or_(collection != name, collection.is_(None)) for name in gap.collections]
    return sqlalchemy.select(clause).where(*kept).subquery()


def _row(table: Table, clause: FromClause) -> Row | None:
    if table.position is None:
        return None
    ra = split_name(table.position.ra)[0].text
    position = table.position
    return Row(
        ra=clause.c[ra],
        point=clause.c[position.point],
        partitioned=position.partitioned,
        uploaded=split_name(table.name)[0].text.lower() == "tap_upload",
    )


def _named(table: Table, column: Column, clause: FromClause, row: Row | None) -> Named:
    label = split_name(column.name)[0]
    kind, sql = _kind(column), clause.c[label.text]
    field = Field(**{f.name: getattr(column, f.name) for f in dataclasses.fields(Field)})
    field = dataclasses.replace(field, name=label.text)
    if kind in NUMBERS:
        field = dataclasses.replace(field, datatype=kind, arraysize=None)
    value = Value(
        sql=sqlalchemy.cast(sql, SQL_TYPES[kind]) if kind == "timestamp" else sql,
        kind=kind,
        field=field,
    )
    if kind == "shape":
        held: Sql = clause.c[column.geometry] if column.geometry else sql
        kind_of_shape = _SHAPES[column.xtype or ""]
        if kind_of_shape == "moc":
            # An uploaded MOC is still text.
            held = sqlalchemy.cast(held, SMOC)
        shape = Shape(kind=kind_of_shape, sql=held)
        value = dataclasses.replace(value, sql=shape.sql, shape=shape)
    elif column.geometry:
        reach = table.position.reach if table.position else 0.0
        geometry = clause.c[column.geometry]
        value = dataclasses.replace(
            value, shape=Shape(kind="polygon", sql=geometry, row=row, reach=reach)
        )
    if row and table.position and column.name == table.position.ra:
        value = dataclasses.replace(value, row=row, axis="ra")
    if row and table.position and column.name == table.position.dec:
        value = dataclasses.replace(value, row=row, axis="dec")
    return Named(label, value)


def _kind(column: Column) -> Kind:
    if column.datatype in ("char", "unicodeChar"):
        if column.xtype == "moc":
            return "shape"
        return "timestamp" if column.xtype == "timestamp" else "char"
    if column.xtype in _SHAPES and column.datatype in ("double", "float"):
        return "shape"
    if column.arraysize not in (None, "1"):
        return "array"
    kinds: dict[str, Kind] = {
        "boolean": "boolean",
        "short": "short",
        "unsignedByte": "short",
        "int": "int",
        "long": "long",
        "float": "float",
        "double": "double",
    }
    # What PostgreSQL keeps for a type that ADQL cannot compute with leaves as it is.
    return kinds.get(column.datatype, "array")
