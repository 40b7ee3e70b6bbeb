"""ADQL 2.1 text to SQLAlchemy: parse, resolve against the catalog, translate to pgSphere.

Source: ADQL 2.1 REC 2023-12-15. Nothing that a user wrote becomes SQL text: names are looked
up in the catalog, values are bound parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Select

from vo_service.adql.features import FEATURES, Feature
from vo_service.adql.nodes import Statement
from vo_service.adql.parse import parse
from vo_service.adql.queries import Queries
from vo_service.model.table import Catalog, Field

__all__ = ["FEATURES", "Feature", "Statement", "Translation", "translate"]


@dataclass(frozen=True, slots=True)
class Translation:
    """A query ready to run.

    *select* yields one column for each of *fields*, in order and of exactly its type; *tables*
    are the published names of the tables that are read.
    """

    select: Select[Any] | CompoundSelect[Any]
    fields: tuple[Field, ...]
    tables: tuple[str, ...]


def translate(query: str | Statement, catalog: Catalog, limit: int | None = None) -> Translation:
    """An ADQL query as an executable statement.

    Parameters
    ----------
    query
        ADQL 2.1, or the syntax tree of such a text (`vo_service.adql.build`).
    catalog
        The tables that may be named.
    limit
        The largest number of rows that may leave the query, None for all of them.

    Raises
    ------
    QueryError
        What is wrong, where (line and column from 1), what was expected, the nearest name.
    """
    statement = parse(query) if isinstance(query, str) else query
    queries = Queries(catalog)
    relation = queries.statement(statement, limit)
    fields: list[Field] = []
    taken: set[str] = set()
    for number, column in enumerate(relation.columns, start=1):
        name = column.label.text
        if name.lower() in taken:
            name = f"{name}_{number}"
        taken.add(name.lower())
        field = column.value.field
        fields.append(field if field.name == name else dataclasses.replace(field, name=name))
    return Translation(relation.select, tuple(fields), tuple(queries.tables))
