"""Release: rules and lists say what is public today; publication makes it so.

A run goes through the collections one by one. It reads the rules of the collection file again and
takes in lists that lie beside it and have changed; writes day and rule of every product whose plan
is another than it was, a batch a transaction; then hands the products that are due, and those that
are public too early, to `vo_service.services.publication`, rule by rule. A run that is stopped or
dies leaves nothing that the next one would not find. Where the rules of a collection
cannot be read, nothing of it is changed: what is closed stays closed. Source: MISSION A2.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice, takewhile
from typing import Any

import psycopg
from pydantic import ValidationError

from vo_service.db.connect import Role, conninfo
from vo_service.db.rules import Action, Registered, RuleStore, Step
from vo_service.errors import ConfigError, NotFoundError, VOError
from vo_service.model.release import Group, GroupPlan, Release, plan_group
from vo_service.services.alarm import AlarmKind, alarm_if_broken, alarm_of_problems
from vo_service.services.ingest import read_again
from vo_service.services.lists import take_lists
from vo_service.services.publication import close_again, operator, publish
from vo_service.settings import Settings

__all__ = ["Preview", "Released", "preview", "release_daily", "release_due"]

_EXAMPLES = 5

#: Products that are planned in one transaction: one or two tenths of a second.
_BATCH = 2000


@dataclass(slots=True)
class Released:
    """Products that became public, were closed again or planned anew, and what went wrong."""

    count: int = 0
    closed: int = 0
    planned: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do in one collection; *steps* may be read once, while it is at hand."""

    collection: str
    actions: Sequence[Action]
    steps: Iterator[Step]
    problem: str | None = None


def release_due(
    settings: Settings,
    today: date,
    *,
    collections: Sequence[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Released:
    """Do what the rules ask for on *today*: publish, close again, plan.

    Parameters
    ----------
    settings, today
        The archive, and the day (UTC) that it is.
    collections
        Names; all where None.
    stopped
        Asked now and then whether to end before all is done; the next run goes on.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    TransientError
        If the tree of links cannot be written, or another run takes very long.
    """
    with (
        alarm_if_broken(settings, AlarmKind.RELEASE, "release"),
        _store(settings) as store,
        store.lock(),
    ):
        run = _Run(settings=settings, store=store, today=today, actor=operator(), stopped=stopped)
        return run.go(collections)


def release_daily(
    settings: Settings, today: date, *, stopped: Callable[[], bool] = lambda: False
) -> Released | None:
    """The run of the day, once for all workers; None if it was, or another is at it."""
    with alarm_if_broken(settings, AlarmKind.RELEASE, "release"), _store(settings) as store:
        if store.has_run(today):
            return None
        with store.lock(wait=False) as ours:
            if not ours or store.has_run(today):
                return None
            run = _Run(
                settings=settings, store=store, today=today, actor="daily release",
                stopped=stopped,
            )  # fmt: skip
            return run.go(None, daily=True)


@contextmanager
def preview(
    settings: Settings, today: date, *, collections: Sequence[str] | None = None
) -> Iterator[Iterator[Preview]]:
    """What `release_due` would do; nothing is changed."""
    with (
        _store(settings) as store,
        store.lock(),
        closing(_previews(settings, store, today, collections)) as found,
    ):
        yield found


def _previews(
    settings: Settings, store: RuleStore, today: date, names: Sequence[str] | None
) -> Generator[Preview, None, None]:
    for collection in _registered(store, names):
        # Lists are taken in to see what follows, and forgotten again.
        with store.connection.transaction(force_rollback=True):
            try:
                plans = _plans(settings, store, collection, today, states=True)
            except VOError as error:
                yield Preview(collection.name, (), iter(()), str(error))
                continue
            actions = store.actions(collection.name, plans, today, _EXAMPLES)
            yield Preview(collection.name, actions, store.steps(collection.name, plans, today))


@contextmanager
def _store(settings: Settings) -> Iterator[RuleStore]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        yield RuleStore(connection)


def _registered(store: RuleStore, names: Sequence[str] | None) -> list[Registered]:
    found = store.registered(names)
    known = {collection.name for collection in found}
    if unknown := [name for name in names or () if name not in known]:
        raise NotFoundError(f"nothing of a collection {unknown[0]!r} has been ingested")
    return found


def _plans(
    settings: Settings,
    store: RuleStore,
    collection: Registered,
    today: date,
    *,
    states: bool = False,
) -> dict[Group, GroupPlan]:
    """Plans of groups that are to be planned anew; lists are taken in for it.

    With *states* also those that keep their plan, but whose state it is to change.

    Raises
    ------
    ConfigError
        If the rules, or a list that they name, are wrong.
    """
    name = collection.name
    release = _release(settings, collection)
    store.set_release(name, release.model_dump(mode="json"))
    take_lists(store, name, release.lists)
    store.decide(name, today)
    holds = store.holds(name)
    prolonged: dict[str | None, list[Any]] = {}
    for entry in store.prolongations(name):
        prolonged.setdefault(entry.proposal_id, []).append(entry)
    decided = store.decided_groups(name)
    plans: dict[Group, GroupPlan] = {}
    wanted: dict[Group, GroupPlan] = {}
    for row in store.groups(name):
        group = row.group
        if group not in plans:
            listed = prolonged.get(group.proposal_id, ())
            plans[group] = plan_group(group, release, listed, holds, today)
        if (
            group in decided
            or row.planned != plans[group].result
            or (states and not row.is_settled(plans[group], today))
        ):
            wanted[group] = plans[group]
    return wanted


def _release(settings: Settings, collection: Registered) -> Release:
    """The rules of a collection as its file has them now, or as they were last known."""
    found = read_again(settings, collection.name, collection.file)
    if found is not None:
        return found.release
    try:
        return Release.model_validate(collection.definition.get("release", {}))
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise ConfigError(f"the rules of {collection.name} as registered: {fault}") from error


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run under way: for whom, on which day, and what it did so far."""

    settings: Settings
    store: RuleStore
    today: date
    actor: str
    stopped: Callable[[], bool]
    done: Released = field(default_factory=Released)

    def go(self, names: Sequence[str] | None, *, daily: bool = False) -> Released:
        """Run over collections; written down where that was over all of them."""
        started = datetime.now(UTC)
        done = self.done
        for collection in _registered(self.store, names):
            self._apply(collection)
            if self.stopped():
                return done
        self.store.fold()
        if names is None:
            self.store.write_run(
                self.today, self.actor, daily=daily, started=started,
                counts=(done.count, done.closed, done.planned), problems=done.problems,
            )  # fmt: skip
        alarm_of_problems(self.settings, AlarmKind.RELEASE, "release", done.problems)
        return done

    def _apply(self, collection: Registered) -> None:
        """Plan, then publish and close again, rule by rule."""
        name, store = collection.name, self.store
        try:
            with store.connection.transaction():
                plans = _plans(self.settings, store, collection, self.today)
        except ConfigError as error:
            self.done.problems.append(str(error))
            return
        self._plan(name, plans)
        for action, rule in store.rules_at_work(name, self.today):
            if action == "publish":
                numbers = self._until_stopped(store.due(name, rule, self.today))
                outcome = publish(self.settings, numbers, rule=rule, actor=self.actor)
                self.done.count += outcome.count
            else:
                numbers = self._until_stopped(store.closing(name, rule, self.today))
                outcome = close_again(self.settings, numbers, rule=rule, actor=self.actor)
                self.done.closed += outcome.count
            self.done.problems += outcome.problems

    def _plan(self, name: str, plans: Mapping[Group, GroupPlan]) -> None:
        """Write plans; what is not written when we are stopped is still another than it was."""
        with _store(self.settings) as second, closing(self.store.planned_anew(name, plans)) as new:
            while not self.stopped() and (batch := list(islice(new, _BATCH))):
                self.done.planned += second.plan(batch)

    def _until_stopped(self, numbers: Iterator[int]) -> Iterator[int]:
        return takewhile(lambda _: not self.stopped(), numbers)
