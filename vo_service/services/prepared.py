"""ADQL made ready to run, and what was made ready lately.

A portal, a script or a crowd asks the same again and again; its SQL is then at hand. What was
made for a catalogue is forgotten with it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from anyio import to_thread

from vo_service.adql import Statement, translate
from vo_service.db.stream import render
from vo_service.model.table import Catalog, Field

__all__ = ["Prepared", "PreparedQueries", "prepare"]

#: Queries that are kept, and characters of the longest.
_KEPT, _KEPT_LENGTH = 500, 4000

#: Characters of a query that is translated sooner than another thread would begin with it.
_SHORT = 600


@dataclass(frozen=True, slots=True)
class Prepared:
    """SQL with its values in place, and what its columns are."""

    sql: str
    fields: tuple[Field, ...]


def prepare(query: str | Statement, catalog: Catalog, limit: int) -> Prepared:
    """Translate a query for a catalogue; at most *limit* rows leave it.

    Raises
    ------
    QueryError
        As `vo_service.adql.translate`.
    UsageError
        If a value cannot be said in PostgreSQL.
    """
    made = translate(query, catalog, limit)
    return Prepared(render(made.select), made.fields)


class PreparedQueries:
    """Prepares queries, and remembers the latest of them for the catalogue that holds now."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._known: OrderedDict[tuple[str, int], Prepared] = OrderedDict()

    async def get(self, query: str | Statement, catalog: Catalog, limit: int) -> Prepared:
        """As `prepare`; long queries are translated in another thread.

        Raises
        ------
        QueryError, UsageError
            As `prepare`.
        """
        if not isinstance(query, str) or len(query) > _KEPT_LENGTH:
            return await to_thread.run_sync(prepare, query, catalog, limit)
        if catalog is not self._catalog:
            self._catalog = catalog
            self._known.clear()
        key = (query, limit)
        if (found := self._known.get(key)) is None:
            if len(query) > _SHORT:
                found = await to_thread.run_sync(prepare, query, catalog, limit)
            else:
                found = prepare(query, catalog, limit)
            if catalog is not self._catalog:  # it changed meanwhile
                return found
            self._known[key] = found
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found
