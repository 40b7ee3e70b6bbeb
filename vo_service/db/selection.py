"""Which products an operator means, and what has become of them.

Questions of `vo-service withdraw`, `history` and `expire`, on a connection of the writer.
Source: MISSION A4, A6.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

T = TypeVar("T")

__all__ = ["Chosen", "Expired", "Life", "Part", "Selection", "SelectionStore", "StateChange"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Current products of which all that is given here is true.

    *frames* are ``collection/path``, identifiers (``ivo://``) or absolute paths of files;
    *dids* identifiers that a query found; *nights* first and last.
    """

    frames: tuple[str, ...] = ()
    dids: tuple[str, ...] | None = None
    collection: str | None = None
    instrument: str | None = None
    proposal: str | None = None
    nights: tuple[date, date] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given, so that all products are meant."""
        return self == Selection()


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a selection is in one collection and state; *size* is bytes."""

    collection: str
    state: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection: numbers of products in the states asked for, and how much there is in all."""

    product_ids: list[int]
    parts: list[Part]
    examples: list[str]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a product's state."""

    product_id: int
    changed: datetime
    old_state: str
    new_state: str
    rule: str
    actor: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Life:
    """A version of a product; *size* is bytes, times are UTC."""

    product_id: int
    collection: str
    path: str
    did: str
    version: int
    source: str | None
    size: int
    md5: str | None
    state: str
    arrived: datetime
    night: date | None
    release_date: date | None
    removed: datetime | None


@dataclass(frozen=True, slots=True)
class Expired:
    """An expired product whose file is to be deleted."""

    product_id: int
    collection: str
    path: str
    source: str
    size: int
    modified: datetime
    roots: list[str]


#: Numbers of current products called %(frames)s: by place, by identifier, by file below a
#: root. Each has an index to go by.
_CALLED = """
SELECT product_id FROM unnest(%(frames)s::text[]) AS f JOIN archive.product
    ON current AND collection = split_part(f, '/', 1) AND path = substr(f, strpos(f, '/') + 1)
UNION ALL SELECT product_id FROM archive.product WHERE current AND did = ANY(%(frames)s)
UNION ALL SELECT product_id FROM unnest(%(frames)s::text[]) AS f
    CROSS JOIN archive.collection c CROSS JOIN unnest(c.roots) AS root
    JOIN archive.product p ON p.current AND p.collection = c.name
         AND p.path = substr(f, length(root) + 2)
    WHERE starts_with(f, root || '/')
"""

#: What a product must be for each part of a selection that is given.
_CONDITIONS = {
    "frames": f"p.product_id IN ({_CALLED})",
    "dids": "p.did = ANY(%(dids)s)",
    "collection": "p.collection = %(collection)s",
    "instrument": "p.instrument = %(instrument)s",
    "proposal": "p.proposal_id = %(proposal)s",
    "nights": "p.night BETWEEN %(first)s AND %(last)s",
}

#: Products of volatile collections whose time is over.
_OVER = """
FROM archive.product p JOIN archive.collection c ON c.name = p.collection
WHERE p.state IN ('arrived', 'public') AND p.source IS NOT NULL
  AND c.name = ANY(%s) AND c.definition ->> 'lifetime_days' IS NOT NULL
  AND p.arrived <= %s - make_interval(secs => (c.definition ->> 'lifetime_days')::float8 * 86400)
"""


class SelectionStore:
    """Questions about chosen products, and what their collections say of their end."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def choose(self, selection: Selection, states: Sequence[str], examples: int) -> Chosen:
        """The products meant that are in one of *states*, and some of their paths."""
        found, values = _found(selection)
        parts = self._rows(
            Part,
            "SELECT p.collection, p.state, count(*) AS files, sum(p.size)::bigint AS size "
            f"{found} GROUP BY 1, 2 ORDER BY 1, 2",
            values,
        )
        rows = self._connection.execute(
            f"SELECT p.product_id, p.collection || '/' || p.path {found} "
            "AND p.state = ANY(%(states)s) ORDER BY p.product_id".encode(),
            values | {"states": list(states)},
        )
        numbers: list[int] = []
        paths: list[str] = []
        for number, path in rows:
            numbers.append(number)
            if len(paths) < examples:
                paths.append(path)
        return Chosen(numbers, parts, paths)

    def is_known(self, frame: str) -> bool:
        """Whether there is a product called so."""
        found, values = _found(Selection(frames=(frame,)))
        row = self._connection.execute(f"SELECT 1 {found} LIMIT 1".encode(), values).fetchone()
        return row is not None

    def lives(self, frame: str) -> list[Life]:
        """All versions of a product called by path, identifier or file, oldest first."""
        columns = ", ".join(field.name for field in fields(Life))
        versions = (
            f"SELECT {columns} FROM archive.product WHERE (collection, path) IN "  # noqa: S608 - ours
            f"(SELECT collection, path FROM archive.product WHERE product_id IN ({_CALLED})) AND"
        )
        return self._rows(
            Life,
            f"{versions} current UNION ALL {versions} NOT current "
            "ORDER BY collection, path, version",
            {"frames": [frame]},
        )

    def changes(self, product_ids: Sequence[int]) -> list[StateChange]:
        """What happened to products, oldest first."""
        return self._rows(
            StateChange,
            "SELECT product_id, changed, old_state, new_state, rule, actor, reason "
            "FROM archive.state_change WHERE product_id = ANY(%s) ORDER BY changed, change_id",
            (list(product_ids),),
        )

    def set_policy(self, collection: str, policy: Mapping[str, Any]) -> bool:
        """Bring some fields of a collection's definition up to date; whether they differed."""
        cursor = self._connection.execute(
            "UPDATE archive.collection SET definition = definition || %(policy)s, updated = now() "
            "WHERE name = %(name)s AND NOT definition @> %(policy)s",
            {"name": collection, "policy": Jsonb(policy)},
        )
        return cursor.rowcount > 0

    def over(self, collections: Sequence[str], now: datetime) -> list[Part]:
        """How much of these collections has outlived its time."""
        return self._rows(
            Part,
            "SELECT p.collection, p.state, count(*) AS files, sum(p.size)::bigint AS size "
            f"{_OVER} GROUP BY 1, 2 ORDER BY 1, 2",
            (list(collections), now),
        )

    def over_ids(
        self, collections: Sequence[str], now: datetime
    ) -> Generator[tuple[int, float], None, None]:
        """Numbers of these products, with the lifetime of their collection in days."""
        with (
            self._connection.transaction(),
            psycopg.ServerCursor(self._connection, "over") as cursor,
        ):
            cursor.execute(
                "SELECT p.product_id, (c.definition ->> 'lifetime_days')::float8 "
                f"{_OVER} ORDER BY 2, 1".encode(),
                (list(collections), now),
            )
            yield from cursor

    def to_remove(self, collections: Sequence[str], after: int, limit: int) -> list[Expired]:
        """Expired products whose files are to be deleted and are not yet, by number."""
        return self._rows(
            Expired,
            "SELECT p.product_id, p.collection, p.path, p.source, p.size, p.modified, c.roots "
            "FROM archive.product p JOIN archive.collection c ON c.name = p.collection "
            "WHERE p.state = 'expired' AND p.removed IS NULL AND p.source IS NOT NULL "
            "AND c.name = ANY(%s) AND c.definition ->> 'expired_files' = 'delete' "
            "AND p.product_id > %s ORDER BY p.product_id LIMIT %s",
            (list(collections), after, limit),
        )

    def removed(self, product_id: int) -> None:
        """Note that the file itself is deleted."""
        self._connection.execute(
            "UPDATE archive.product SET removed = now() WHERE product_id = %s", (product_id,)
        )

    def _rows(self, kind: type[T], statement: str, values: Any) -> list[T]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            cursor.execute(statement.encode(), values)
            return cursor.fetchall()


def _found(selection: Selection) -> tuple[str, dict[str, Any]]:
    """FROM and WHERE of a selection, and the values in it."""
    given = {name: getattr(selection, name) for name in _CONDITIONS}
    # No frames were not meant; no identifiers are what a query found, and nothing is meant.
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    if selection.dids is not None:
        given["dids"] = selection.dids
    first, last = selection.nights or (None, None)
    values: dict[str, Any] = given | {"first": first, "last": last}
    for name in ("frames", "dids"):
        if name in given:
            values[name] = list(given[name])
    conditions = " AND ".join(_CONDITIONS[name] for name in given)
    return f"FROM archive.product p WHERE p.current AND {conditions or 'true'}", values
