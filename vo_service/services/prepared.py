"""ADQL made ready to run, and what was made ready lately.

A portal, a script or a crowd asks the same again and again; its SQL is then at hand. What differs
from a query before in its WHERE alone takes the rest from there. What was made for a catalogue is
forgotten with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from anyio import to_thread

from vo_service.adql import Statement, translate
from vo_service.adql import nodes as n
from vo_service.adql.literals import Known, known, written
from vo_service.adql.outline import HOLE, outlined, where_of
from vo_service.adql.parse import parse
from vo_service.adql.values import Sql
from vo_service.db.stream import render
from vo_service.errors import QueryError, UsageError
from vo_service.model.table import Catalog, Field

__all__ = ["Prepared", "PreparedQueries", "prepare"]

_T = TypeVar("_T")

#: Queries that are kept, and characters of the longest.
_KEPT, _KEPT_LENGTH = 500, 4000

#: Characters of a query that is translated sooner than another thread would begin with it; and
#: nodes of a tree, where strings count by their length.
_SHORT, _FEW = 600, 100
_WORD = 10


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


class _Latest(Generic[_T]):
    """The values that were asked for last."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, _T] = OrderedDict()

    def get(self, key: Hashable) -> _T | None:
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def keep(self, key: Hashable, value: _T) -> None:
        self._held[key] = value
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)

    def clear(self) -> None:
        self._held.clear()


@dataclass(frozen=True, slots=True)
class _Frame:
    """The SQL before and after a WHERE."""

    before: str
    after: str
    fields: tuple[Field, ...]
    condition: Callable[[n.Node], Sql]

    def around(self, where: n.Node) -> Prepared | None:
        """The whole query; None where names that SQL gives could depend on all of it."""
        condition = render(self.condition(where))
        if "SELECT" in condition:
            return None
        return Prepared(f"{self.before}{condition}{self.after}", self.fields)


def _frame(bare: Statement, catalog: Catalog, limit: int) -> _Frame | None:
    """None where somebody's own text holds what marks the place of WHERE."""
    made = outlined(bare, catalog, limit)
    match render(made.select).split(HOLE):
        case [before, after]:
            return _Frame(before, after, made.fields, made.condition)
        case _:
            return None


class PreparedQueries:
    """Prepares queries, and remembers the latest of them for the catalogue that holds now."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._parsed: _Latest[Known] = _Latest()
        self._frames: _Latest[_Frame] = _Latest()
        self._known: _Latest[Prepared] = _Latest()

    async def get(self, query: str | Statement, catalog: Catalog, limit: int) -> Prepared:
        """As `prepare`; long queries are translated in another thread.

        Raises
        ------
        QueryError, UsageError
            As `prepare`.
        """
        if catalog is not self._catalog:
            self._catalog = catalog
            self._frames.clear()
            self._known.clear()
        if not isinstance(query, str):
            if _is_small(query):
                return self._of_tree(query, catalog, limit)
            return await to_thread.run_sync(prepare, query, catalog, limit)
        if len(query) > _KEPT_LENGTH:
            return await to_thread.run_sync(prepare, query, catalog, limit)
        if (found := self._known.get((query, limit))) is None:
            if len(query) > _SHORT:
                found = await to_thread.run_sync(prepare, query, catalog, limit)
            else:
                found = self._of_text(query, catalog, limit)
            if catalog is self._catalog:  # it may have changed meanwhile
                self._known.keep((query, limit), found)
        return found

    def _of_text(self, query: str, catalog: Catalog, limit: int) -> Prepared:
        parts = written(query)
        if parts is None:
            return prepare(query, catalog, limit)
        seen = self._parsed.get(parts.words)
        where = seen.where(parts.literals) if seen else None
        if seen is None or where is None:
            statement = parse(query)
            if (new := known(query, statement, parts)) is not None:
                self._parsed.keep(parts.words, new)
            return prepare(statement, catalog, limit)
        try:
            made = self._framed(seen.key, seen.bare, where, catalog, limit)
        except (QueryError, UsageError):
            made = None  # to be told with its place in this text
        return made or prepare(query, catalog, limit)

    def _of_tree(self, query: Statement, catalog: Catalog, limit: int) -> Prepared:
        if (parts := where_of(query)) is None:
            return prepare(query, catalog, limit)
        bare, where = parts
        made = self._framed(bare, bare, where, catalog, limit)
        return made or prepare(query, catalog, limit)

    def _framed(
        self, key: Hashable, bare: Statement, where: n.Node, catalog: Catalog, limit: int
    ) -> Prepared | None:
        frame = self._frames.get((key, limit))
        if frame is None:
            frame = _frame(bare, catalog, limit)
            if frame is None:
                return None
            self._frames.keep((key, limit), frame)
        return frame.around(where)


def _is_small(tree: Statement) -> bool:
    """Whether a WHERE is said in few words."""
    where = getattr(tree.query.body, "where", None)
    words = 0
    for node in n.walk(where) if where is not None else ():
        words += 1 + (len(node.text) // _WORD if isinstance(node, n.String) else 0)
        if words > _FEW:
            return False
    return True
