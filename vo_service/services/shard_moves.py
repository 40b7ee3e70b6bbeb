"""What shards keep: ranges of right ascension and collections move to them, and home again.

Whatever is begun here can be killed at any moment and begun again: a partition is in one place
or in the other, and the same command goes on with the rest. One such command works at a time.
A collection stays where it was placed, whatever range around it moves.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from vo_service.db.bulk import count_missing
from vo_service.db.connect import Role, conninfo, private_cluster
from vo_service.db.moves import Mover
from vo_service.db.nodes import Node, connect_node, definition_of, free_bytes
from vo_service.db.shards import Shard, ShardStore
from vo_service.errors import ConfigError, NotFoundError, TransientError, UsageError
from vo_service.model.shard import CENTRE, Part, by_collection, chosen_parts, unplaced
from vo_service.settings import Settings

__all__ = [
    "Manner",
    "bring_home",
    "check_choice",
    "known_shard",
    "move_collections",
    "move_parts",
    "placed",
    "working",
]

#: Called before each partition: partition, its number, how many, rows (as last counted).
Begun = Callable[[Part, int, int, int], None]

#: Called with the rows copied of a partition, and with -1 while its swap waits for searches.
Told = Callable[[int], None]

#: Room that a copy needs beside what it takes in the end, for sorting and its log.
_SPARE = 1.5


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command moves: the seconds that each swap waits at most, and whom it tells."""

    patience_s: float
    begun: Begun
    told: Told


@dataclass(frozen=True, slots=True)
class _Step:
    """A part that moves as a whole; or of which *leaving* move, where there are some."""

    part: Part
    leaving: tuple[str, ...] = ()


def check_choice(settings: Settings, ra: str | None, collections: Sequence[str]) -> None:
    """See that a range of RA, or collections, can be moved.

    Raises
    ------
    UsageError
        The range is not one of partitions.
    NotFoundError
        There is no such collection; the message names those that there are.
    """
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        store = ShardStore(owner)
        if ra is not None:
            chosen_parts(store.parts(), ra)
        if collections:
            _check_collections(store, collections)


def move_parts(
    settings: Settings,
    name: str,
    ra: str,
    manner: Manner,
) -> int:
    """Move the partitions in a range of RA to a shard, or home to the centre; how many moved.

    Those that are there already stay, and so do collections that have been placed.

    Raises
    ------
    VOError
        What was moved before stays moved.
    """
    with working(settings) as store:
        target = _target(store, name)
        chosen = [part for part in chosen_parts(store.parts(), ra) if part.shard != target]
        _move_all(settings, store, map(_Step, chosen), target, manner)
        return len(chosen)


def move_collections(
    settings: Settings,
    name: str,
    collections: Sequence[str],
    manner: Manner,
) -> int:
    """Move whole collections to a shard, or home to the centre; how many partitions changed.

    Every partition is divided, so that what is ingested later goes there, too. What is there
    already stays.

    Raises
    ------
    VOError
        What was moved before stays moved.
    """
    with working(settings) as store:
        target = _target(store, name)
        _check_collections(store, collections)
        steps = list(_steps(store.parts(), sorted(set(collections)), target))
        _move_all(settings, store, steps, target, manner)
        return len(steps)


def placed(settings: Settings) -> dict[str, list[str]]:
    """Collections that have been moved by their names, and where they are."""
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        found = by_collection(ShardStore(owner).parts())
    return {name: sorted({part.shard or CENTRE for part in parts}) for name, parts in found.items()}


def bring_home(settings: Settings, store: ShardStore, name: str, manner: Manner) -> int:
    """Move all that a shard keeps to the centre; how many parts there were.

    Raises
    ------
    VOError
        What was moved before stays moved.
    """
    away = [part for part in store.parts() if part.shard == name]
    _move_all(settings, store, map(_Step, away), None, manner)
    return len(away)


@contextlib.contextmanager
def working(settings: Settings) -> Iterator[ShardStore]:
    """The store, while nobody else adds, moves or removes anything.

    Raises
    ------
    TransientError
        If somebody does.
    """
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        store = ShardStore(owner)
        if not store.lock():
            raise TransientError("another 'vo-service shard' command is at work; let it finish")
        yield store


def known_shard(store: ShardStore, name: str) -> Shard:
    """The shard of that name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    shards = {shard.name: shard for shard in store.shards()}
    if name not in shards:
        names = ", ".join(shards) or "none"
        raise NotFoundError(f"no shard {name!r}: there are {names}; see 'vo-service shard add'")
    return shards[name]


def _target(store: ShardStore, name: str) -> str | None:
    return None if name == CENTRE else known_shard(store, name).name


def _check_collections(store: ShardStore, collections: Sequence[str]) -> None:
    known = store.collections(collections)
    for name in collections:
        if name not in known:
            raise NotFoundError(
                f"--collection: no collection {name!r}: expected one of "
                f"{', '.join(known) or 'none, since nothing is registered yet'}"
            )


def _steps(
    parts: Sequence[Part], collections: Sequence[str], target: str | None
) -> Iterator[_Step]:
    """What has to be done, range after range, for collections to be in one place."""
    placed = by_collection(parts)
    for rest in unplaced(parts):
        own = {
            name: part
            for name in collections
            for part in placed.get(name, ())
            if part.low == rest.low
        }
        if leaving := tuple(name for name in collections if name not in own):
            yield _Step(rest, leaving)
        yield from (_Step(part) for part in own.values() if part.shard != target)


def _move_all(
    settings: Settings,
    store: ShardStore,
    wanted: Iterable[_Step],
    target: str | None,
    manner: Manner,
) -> None:
    """Take steps one after the other, each in a transaction of its own.

    Raises
    ------
    ConfigError
        If a bulk load has taken indexes away: tables of a node would never get them.
    VOError
        As `Mover.move`.
    """
    if count_missing(store.connection):
        raise ConfigError(
            "indexes of observations are away for a bulk load: let it finish, or build them with "
            "'vo-service db indexes'"
        )
    steps = list(wanted)
    rows = store.estimated_rows()
    with contextlib.ExitStack() as stack:
        places = {target, *(step.part.shard for step in steps)}
        nodes: dict[str, Node] = {}
        readers: dict[str | None, psycopg.Connection[Any]] = {
            None: stack.enter_context(_reading(settings))
        }
        for shard in store.shards():
            if shard.name in places:
                open_ = partial(connect_node, shard.name, shard.url)
                nodes[shard.name] = stack.enter_context(open_())
                readers[shard.name] = stack.enter_context(open_()).connection
        definition = definition_of(store.connection)
        mover = Mover(store.connection, nodes, readers, definition, manner.patience_s, manner.told)
        for number, step in enumerate(steps, 1):
            manner.begun(step.part, number, len(steps), rows.get(step.part.partition, 0))
            _check_room(settings, step, target, mover)
            if step.leaving:
                mover.split(step.part, step.leaving, target)
            else:
                mover.move(step.part, target)


def _reading(settings: Settings) -> psycopg.Connection[Any]:
    """Another session of the owner, that tells every bit of a position."""
    dsn = conninfo(settings, Role.OWNER, extra_float_digits=3)
    return psycopg.connect(dsn, autocommit=True)


def _check_room(settings: Settings, step: _Step, target: str | None, mover: Mover) -> None:
    """Refuse a step for which there is no room, as far as that can be seen."""
    part = step.part
    source = ShardStore(mover.readers[part.shard])
    size = source.size(part.partition)
    needs = {target: float(size)}
    if step.leaving:
        share = source.share(part.partition, step.leaving)
        needs = {target: share * size}
        needs[part.shard] = needs.get(part.shard, 0.0) + (1 - share) * size
    for place, bytes_ in needs.items():
        if place is not None:
            said, free = f"shard {place}", free_bytes(mover.nodes[place].connection)
        else:
            said = "the centre"
            free = shutil.disk_usage(settings.home).free if private_cluster(settings) else None
        needed = int(bytes_ * _SPARE)
        if free is not None and needed > free:
            raise UsageError(
                f"{part.partition} was not moved: {said} has {free} bytes free: expected {needed}"
            )
