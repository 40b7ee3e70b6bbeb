"""A query without its WHERE, translated once for many of them.

What a protocol, a portal or a script asks is nearly always the same but for what WHERE says.
Columns, grouping and order do not depend on WHERE, nor WHERE on anything but the table of FROM:
so each can be translated without the other, for as long as the catalogue stays what it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, CompoundSelect, Select, literal_column

from vo_service.adql import nodes as n
from vo_service.adql import translate
from vo_service.adql.queries import Queries
from vo_service.adql.values import Sql
from vo_service.model.table import Catalog, Field

__all__ = ["HOLE", "Outline", "outlined", "where_of"]

#: What stands in the place of WHERE in the SQL of an outline.
HOLE = "vo_where_of_an_outline"


@dataclass(frozen=True, slots=True)
class Outline:
    """A query whose WHERE is a hole in *select*; *condition* is what may be put there."""

    select: Select[Any] | CompoundSelect[Any]
    fields: tuple[Field, ...]
    condition: Callable[[n.Node], Sql]


def where_of(statement: n.Statement) -> tuple[n.Statement, n.Node] | None:
    """A query of one published table without its WHERE, and that; None for any other query."""
    select = statement.query.body
    if (
        statement.tables
        or not isinstance(select, n.Select)
        or select.where is None
        or not all(isinstance(source, n.TableName) for source in select.sources)
        or len(select.sources) != 1
    ):
        return None
    bare = dataclasses.replace(select, where=None)
    query = dataclasses.replace(statement.query, body=bare)
    return dataclasses.replace(statement, query=query), select.where


def outlined(bare: n.Statement, catalog: Catalog, limit: int) -> Outline:
    """The outline of a query that `where_of` gave.

    Raises
    ------
    QueryError
        As `vo_service.adql.translate`.
    """
    made = translate(bare, catalog, limit)
    select = made.select
    assert isinstance(select, Select)  # noqa: S101 - of one table, as `where_of` sees to
    assert isinstance(bare.query.body, n.Select)  # noqa: S101 - the same
    condition = Queries(catalog).condition_on(bare.query.body.sources)
    hole: Sql = literal_column(HOLE, Boolean())
    return Outline(select.where(hole), made.fields, condition)
