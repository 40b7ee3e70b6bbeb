"""Statements about release: lists, what they decide, plans of groups, products to be changed.

Plans are made for groups of products that agree in night, proposal and instrument, of which
``archive.volume`` knows all; only products of groups whose plan is another than it was are
looked at. Source: MISSION A2; the order of rules is that of docs/release.md.

Runs as the writer; the caller owns the transactions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from vo_service.db.lists import ListStore
from vo_service.errors import TransientError
from vo_service.model.release import Group, GroupPlan, Planned

__all__ = ["Action", "GroupRow", "Registered", "RuleStore", "Step"]

_WAIT_S = 600

#: Stands for NULL where columns are compared by ``=``; no header holds it.
_NONE = "E'\\x01'"

#: Products of groups, with what the rules say of them today.
_OF_GROUPS = f"""
SELECT p.product_id, p.path, p.size, p.state, p.source IS NOT NULL OR p.elsewhere AS has_file,
       p.release_date AS old_day, p.release_rule AS old_rule,
       nullif(greatest(o.base_day, g.hold_day), 'infinity') AS day,
       CASE WHEN d.closed THEN d.rule WHEN g.hold_day > o.base_day THEN g.hold_rule
            WHEN d.opens < g.base_day THEN d.rule ELSE g.base_rule END AS rule
FROM unnest(%(night)s::date[], %(proposal)s::text[], %(instrument)s::text[],
            %(base_day)s::date[], %(base_rule)s::text[], %(hold_day)s::date[],
            %(hold_rule)s::text[])
     AS g (night, proposal_id, instrument, base_day, base_rule, hold_day, hold_rule)
JOIN archive.product p ON p.collection = %(collection)s AND p.current
     AND {{of_this_night}}
     AND coalesce(p.proposal_id, {_NONE}) = coalesce(g.proposal_id, {_NONE})
     AND coalesce(p.instrument, {_NONE}) = coalesce(g.instrument, {_NONE})
LEFT JOIN archive.decided d ON d.product_id = p.product_id
CROSS JOIN LATERAL (SELECT CASE WHEN d.closed OR d.opens < g.base_day THEN d.opens
                                ELSE g.base_day END AS base_day) AS o
WHERE p.state IN ('arrived', 'public')
"""  # noqa: S608 - no value from outside
#: Two halves, each with a condition that the index of nights serves.
_TARGET = " UNION ALL ".join(
    _OF_GROUPS.format(of_this_night=condition)
    for condition in ("p.night = g.night", "p.night IS NULL AND g.night IS NULL")
)

_PLANNED = f"""
SELECT product_id, day, rule FROM ({_TARGET}) AS t
WHERE old_day IS DISTINCT FROM day OR old_rule IS DISTINCT FROM rule
"""  # noqa: S608 - no value from outside

_PLAN = """
UPDATE archive.product p SET release_date = t.day, release_rule = t.rule
FROM unnest(%s::bigint[], %s::date[], %s::text[]) AS t (product_id, day, rule)
WHERE p.product_id = t.product_id AND p.current AND p.state IN ('arrived', 'public')
"""

#: What is to be done: today (publish, close), or only another plan.
_STEPS = f"""
SELECT CASE WHEN state = 'arrived' AND has_file AND day <= %(today)s THEN 'publish'
            WHEN state = 'public' AND coalesce(day, 'infinity') > %(today)s THEN 'close'
            ELSE 'plan' END AS action, rule, path, size, day, old_day, old_rule
FROM ({_TARGET}) AS t
WHERE old_day IS DISTINCT FROM day OR old_rule IS DISTINCT FROM rule
   OR state = 'arrived' AND has_file AND day <= %(today)s
   OR state = 'public' AND coalesce(day, 'infinity') > %(today)s
"""  # noqa: S608 - no value from outside

_ACTIONS = f"""
SELECT action, rule, count(*) AS files, sum(size)::bigint AS size,
       min(day) AS first_day, max(day) AS last_day,
       array_agg(path ORDER BY path) FILTER (WHERE place <= %(examples)s) AS examples
FROM (SELECT *, row_number() OVER (PARTITION BY action, rule ORDER BY path) AS place
      FROM ({_STEPS}) AS step) AS placed
GROUP BY action, rule ORDER BY action, rule
"""  # noqa: S608 - no value from outside


@dataclass(frozen=True, slots=True)
class Registered:
    """A collection as the database knows it."""

    name: str
    definition: dict[str, Any]
    file: str | None


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Products of a group that are in one state and have one plan."""

    group: Group
    state: str
    planned: Planned

    def is_settled(self, plan: GroupPlan, today: date) -> bool:
        """Whether their state is that of the plan, where no list of frames names them."""
        day = plan.result.day
        return (day is not None and day <= today) == (self.state == "public")


@dataclass(frozen=True, slots=True)
class Action:
    """Products with which the same is to be done by the same rule; sizes in bytes."""

    action: str
    rule: str
    files: int
    size: int
    first_day: date | None
    last_day: date | None
    examples: list[str]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done with one product."""

    action: str
    rule: str
    path: str
    size: int
    day: date | None
    old_day: date | None
    old_rule: str | None


class RuleStore(ListStore):
    """Statements of release, on a connection of the writer."""

    @contextlib.contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[bool]:
        """Keep other runs out; False if another is at it and we do not *wait*.

        Raises
        ------
        TransientError
            If another run takes very long.
        """
        if wait:
            self._wait_for_lock()
        else:
            row = self.connection.execute(
                "SELECT pg_try_advisory_lock(hashtext('release'), 0)"
            ).fetchone()
            if row is None or not row[0]:
                yield False
                return
        try:
            yield True
        finally:
            if not self.connection.closed:  # a session that was lost has lost its lock as well
                self.connection.execute("SELECT pg_advisory_unlock(hashtext('release'), 0)")

    def _wait_for_lock(self) -> None:
        self.connection.execute(f"SET lock_timeout = '{_WAIT_S}s'".encode())
        try:
            self.connection.execute("SELECT pg_advisory_lock(hashtext('release'), 0)")
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                f"another release has been running for {_WAIT_S} s; let it finish first"
            ) from None
        finally:
            self.connection.execute("RESET lock_timeout")

    def registered(self, names: Sequence[str] | None = None) -> list[Registered]:
        """Collections by name; all, or those of *names* that there are."""
        with self.connection.cursor(row_factory=class_row(Registered)) as cursor:
            cursor.execute(
                "SELECT name, definition, file FROM archive.collection "
                "WHERE %(names)s::text[] IS NULL OR name = ANY(%(names)s) ORDER BY name",
                {"names": None if names is None else list(names)},
            )
            return cursor.fetchall()

    def set_release(self, name: str, release: Mapping[str, Any]) -> None:
        """Bring the release rules that are registered up to date."""
        self.connection.execute(
            "UPDATE archive.collection SET definition = definition || %s, updated = now() "
            "WHERE name = %s AND definition -> 'release' IS DISTINCT FROM %s",
            (Jsonb({"release": release}), name, Jsonb(release)),
        )

    def groups(self, collection: str) -> list[GroupRow]:
        """All groups of a collection that are not withdrawn, by state and plan."""
        rows = self.connection.execute(
            "SELECT night, proposal_id, instrument, state, release_date, release_rule "
            "FROM archive.volume WHERE collection = %s AND state IN ('arrived', 'public') "
            "GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(files) <> 0",
            (collection,),
        )
        return [GroupRow(Group(*key), state, Planned(day, rule)) for *key, state, day, rule in rows]

    def decided_groups(self, collection: str) -> set[Group]:
        """Groups of which lists of frames name some."""
        rows = self.connection.execute(
            "SELECT DISTINCT p.night, p.proposal_id, p.instrument FROM archive.decided d "
            "JOIN archive.product p ON p.product_id = d.product_id WHERE d.collection = %s",
            (collection,),
        )
        return {Group(*row) for row in rows}

    def planned_anew(
        self, collection: str, plans: Mapping[Group, GroupPlan]
    ) -> Generator[tuple[int, date | None, str], None, None]:
        """Numbers of the products of these groups that get another plan; day and rule of it.

        Read as they are asked for; what `plan` writes meanwhile, in another session, is not seen.
        """
        if not plans:
            return
        with (
            self.connection.transaction(),
            psycopg.ServerCursor(self.connection, "planned") as cursor,
        ):
            cursor.execute(_PLANNED.encode(), _values(collection, plans))
            yield from cursor

    def plan(self, planned: Sequence[tuple[int, date | None, str]]) -> int:
        """Write day and rule of products; how many were planned anew."""
        numbers, days, rules = (list(column) for column in zip(*planned, strict=True))
        return self.connection.execute(_PLAN.encode(), (numbers, days, rules)).rowcount

    def actions(
        self, collection: str, plans: Mapping[Group, GroupPlan], today: date, examples: int
    ) -> list[Action]:
        """What is to be done with products of these groups, summed up by rule."""
        values = _values(collection, plans) | {"today": today, "examples": examples}
        with self.connection.cursor(row_factory=class_row(Action)) as cursor:
            cursor.execute(_ACTIONS.encode(), values)
            return cursor.fetchall()

    def steps(
        self, collection: str, plans: Mapping[Group, GroupPlan], today: date
    ) -> Iterator[Step]:
        """What is to be done, product by product, in the order of `actions`."""
        values = _values(collection, plans) | {"today": today}
        with psycopg.ServerCursor(self.connection, "steps", row_factory=class_row(Step)) as cursor:
            cursor.execute(f"{_STEPS} ORDER BY action, rule, path".encode(), values)
            yield from cursor

    def rules_at_work(self, collection: str, today: date) -> list[tuple[str, str]]:
        """Actions (``publish``, ``close``) that plans ask for today, with their rules."""
        return self.connection.execute(
            "SELECT * FROM (SELECT CASE WHEN state = 'arrived' AND release_date <= %(today)s "
            "THEN 'publish' WHEN state = 'public' AND coalesce(release_date, 'infinity') > "
            "%(today)s THEN 'close' END AS action, release_rule FROM archive.volume "
            "WHERE collection = %(collection)s GROUP BY state, release_date, release_rule "
            "HAVING sum(files) <> 0) AS asked WHERE action IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
            {"collection": collection, "today": today},
        ).fetchall()

    def due(self, collection: str, rule: str, today: date) -> Iterator[int]:
        """Numbers of products that a rule makes public; read as they are asked for."""
        return self._numbers(
            "state = 'arrived' AND release_date <= %(today)s AND release_rule = %(rule)s",
            {"collection": collection, "rule": rule, "today": today},
        )

    def closing(self, collection: str, rule: str, today: date) -> Iterator[int]:
        """Numbers of public products that a rule closes again; read as they are asked for."""
        return self._numbers(
            "state = 'public' AND coalesce(release_date, 'infinity') > %(today)s "
            "AND release_rule = %(rule)s",
            {"collection": collection, "rule": rule, "today": today},
        )

    def _numbers(self, condition: str, values: Mapping[str, Any]) -> Iterator[int]:
        """Products that have a file; the index of nights serves, since counts tell which."""
        nights = self.connection.execute(
            "SELECT DISTINCT night FROM archive.volume WHERE collection = %(collection)s "  # noqa: S608 - a condition of ours
            f"AND {condition}".encode(),
            values,
        ).fetchall()
        with (
            self.connection.transaction(),
            psycopg.ServerCursor(self.connection, "numbers") as cursor,
        ):
            cursor.execute(
                "SELECT product_id FROM archive.product WHERE collection = %(collection)s "  # noqa: S608 - a condition of ours
                "AND (night = ANY(%(nights)s) OR night IS NULL) AND current "
                f"AND (source IS NOT NULL OR elsewhere) AND {condition}".encode(),
                {**values, "nights": [night for (night,) in nights]},
            )
            for (number,) in cursor:
                yield number

    def write_run(
        self, day: date, actor: str, *, daily: bool, started: datetime,
        counts: tuple[int, int, int], problems: Sequence[str],
    ) -> None:  # fmt: skip
        """Write down a run that ended: products published, closed again, planned anew."""
        self.connection.execute(
            "INSERT INTO archive.release_run "
            "(day, actor, daily, started, published, closed, planned, problems) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (day, actor, daily, started, *counts, list(problems)),
        )

    def has_run(self, day: date) -> bool:
        """Whether the daily run for *day*, or for a later one, has ended."""
        row = self.connection.execute(
            "SELECT EXISTS (SELECT FROM archive.release_run WHERE daily AND day >= %s)", (day,)
        ).fetchone()
        return bool(row and row[0])

    def fold(self) -> None:
        """Make ``archive.volume`` as short as it can be."""
        self.connection.execute("SELECT archive.fold_volume()")


def _values(collection: str, plans: Mapping[Group, GroupPlan]) -> dict[str, Any]:
    """The values of `_TARGET`: groups and their plans as arrays."""

    def day_of(planned: Planned) -> str:
        return "infinity" if planned.day is None else planned.day.isoformat()

    return {
        "collection": collection,
        "night": [group.night for group in plans],
        "proposal": [group.proposal_id for group in plans],
        "instrument": [group.instrument for group in plans],
        "base_day": [day_of(plan.base) for plan in plans.values()],
        "base_rule": [plan.base.rule for plan in plans.values()],
        "hold_day": [day_of(plan.hold) if plan.hold else "-infinity" for plan in plans.values()],
        "hold_rule": [plan.hold.rule if plan.hold else None for plan in plans.values()],
    }
