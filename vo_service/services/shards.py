"""Shards: partitions of the archive that are kept by other PostgreSQL servers.

Whatever is begun here can be killed at any moment and begun again: a partition is in one place
or in the other, and the same command goes on with the rest. One such command works at a time.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from vo_service.db.connect import DATABASE, Role, admin_conninfo, conninfo, private_cluster
from vo_service.db.moves import Mover, leftovers
from vo_service.db.nodes import Node, connect_node, definition_of, free_bytes
from vo_service.db.shards import Shard, ShardStore, clear_misfits, enlist, strike_off
from vo_service.errors import ConfigError, NotFoundError, TransientError, UsageError, VOError
from vo_service.model.shard import CENTRE, Part, chosen_parts, joined, sky
from vo_service.settings import Settings

__all__ = [
    "Report",
    "Standing",
    "add_shard",
    "check_shards",
    "list_shards",
    "move_parts",
    "remove_shard",
]

#: Called before each partition: partition, its number, how many, rows (as last counted).
Begun = Callable[[Part, int, int, int], None]

#: Called with the rows copied of a partition, and with -1 while its swap waits for searches.
Told = Callable[[int], None]

#: Room that a copy needs beside what it takes in the end, for sorting and its log.
_SPARE = 1.5


@dataclass(frozen=True, slots=True)
class Standing:
    """A shard as `list_shards` finds it; *problem* is None where it answers."""

    name: str
    address: str
    ranges: list[tuple[float, float]]
    partitions: int
    rows: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: sentences about what is wrong, and about what was put right."""

    problems: list[str]
    mended: list[str]


def add_shard(settings: Settings, name: str, url: str) -> None:
    """Make a PostgreSQL database a shard, or tell where a shard is now; moves nothing.

    Raises
    ------
    VOError
        If the name or the database will not do.
    """
    with _working(settings) as store:
        shard = Shard(name, url)
        _check_name(name)
        old = next((known for known in store.shards() if known.name == name), None)
        held = any(part.shard == name for part in store.parts())
        with connect_node(name, url) as node:
            node.check(store.connection)
            centre, version = store.identity()
            if old is not None and held and node.claimed() != (centre, name):
                raise ConfigError(
                    f"shard {name}: {shard.address} is not where its partitions are; move them "
                    f"first: vo-service shard remove {name}"
                )
            node.claim(centre, version)
            node.renew(definition_of(store.connection), version)
            with psycopg.connect(_admin(settings), autocommit=True) as admin:
                enlist(admin, shard, node.let_in())
            with store.connection.transaction():
                store.add(shard)
        _answers(store, name)


def _check_name(name: str) -> None:
    if name == CENTRE or not (name[:1].isalpha() and name.isascii()) or len(name) > 31:
        raise UsageError(
            f"{name!r}: expected a name of at most 31 small letters, digits and _, not 'centre'"
        )
    if not name.replace("_", "a").isalnum() or name != name.lower():
        raise UsageError(f"{name!r}: expected small letters, digits and _")


def _answers(store: ShardStore, name: str) -> None:
    """See that the centre gets through to the node in its own way, with its own roles."""
    try:
        store.connection.execute(f'SELECT answer FROM archive."node_{name}"'.encode())  # noqa: S608 - checked above
    except psycopg.Error as error:
        said = (error.diag.message_detail or error.diag.message_primary or str(error)).strip()
        raise ConfigError(
            f"shard {name}: the centre's PostgreSQL does not get through to it: {said} "
            "(the node must ask for a password: scram-sha-256 in its pg_hba.conf)"
        ) from error


def move_parts(
    settings: Settings,
    name: str,
    ra: str,
    *,
    patience_s: float,
    begun: Begun,
    told: Told,
) -> int:
    """Move the partitions in a range of RA to a shard, or home to the centre; how many moved.

    Those that are there already stay. The swap of each waits *patience_s* seconds at most.

    Raises
    ------
    VOError
        What was moved before stays moved.
    """
    with _working(settings) as store:
        target = None if name == CENTRE else name
        if target is not None:
            _known(store, name)
        chosen = [part for part in chosen_parts(store.parts(), ra) if part.shard != target]
        mover = Mover(store.connection, definition_of(store.connection), patience_s, told)
        _move_all(settings, mover, chosen, target, begun)
        return len(chosen)


def remove_shard(
    settings: Settings,
    name: str,
    *,
    patience_s: float,
    begun: Begun,
    told: Told,
) -> int:
    """Bring the partitions of a shard home and forget it; how many came.

    Raises
    ------
    VOError
        What came home before is at home.
    """
    with _working(settings) as store:
        shard = _known(store, name)
        away = [part for part in store.parts() if part.shard == name]
        mover = Mover(store.connection, definition_of(store.connection), patience_s, told)
        _move_all(settings, mover, away, None, begun)
        with connect_node(name, shard.url) as node:
            for table in leftovers(store.parts(), node):
                node.drop(table)
            with store.connection.transaction():
                store.remove(name)
            with psycopg.connect(_admin(settings), autocommit=True) as admin:
                strike_off(admin, name)
            node.forget()
        return len(away)


def _move_all(
    settings: Settings, mover: Mover, chosen: Sequence[Part], target: str | None, begun: Begun
) -> None:
    """Move partitions one after the other, each in a transaction of its own."""
    store = ShardStore(mover.centre)
    rows = store.estimated_rows()
    with contextlib.ExitStack() as stack:
        nodes = {
            shard.name: stack.enter_context(connect_node(shard.name, shard.url))
            for shard in store.shards()
            if shard.name == target or shard.name in {part.shard for part in chosen}
        }
        for number, part in enumerate(chosen, 1):
            begun(part, number, len(chosen), rows.get(part.partition, 0))
            source = nodes[part.shard] if part.shard else None
            goal = nodes[target] if target else None
            _check_room(settings, part, source.connection if source else store.connection, goal)
            mover.move(part, source, goal)


def _check_room(
    settings: Settings, part: Part, source: psycopg.Connection[Any], target: Node | None
) -> None:
    """Refuse a move to where there is no room, as far as that can be seen."""
    if target is not None:
        place, free = f"shard {target.name}", free_bytes(target.connection)
    else:
        place = "the centre"
        free = shutil.disk_usage(settings.home).free if private_cluster(settings) else None
    needed = int(ShardStore(source).size(part.partition) * _SPARE)
    if free is not None and needed > free:
        raise UsageError(
            f"{part.partition} was not moved: {place} has {free} bytes free: expected {needed}"
        )


def list_shards(settings: Settings) -> tuple[list[Standing], Standing]:
    """The shards, and the centre: what each has, and whether it answers."""
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        store = ShardStore(owner)
        parts, rows = store.parts(), store.estimated_rows()

        def standing(name: str | None, address: str, problem: str | None) -> Standing:
            own = [part for part in parts if part.shard == name]
            return Standing(
                name or CENTRE, address, joined(own), len(own),
                sum(rows.get(part.partition, 0) for part in own), problem,
            )  # fmt: skip

        found = []
        for shard in store.shards():
            problem = None
            try:
                with connect_node(shard.name, shard.url) as node:
                    if node.version != store.identity()[1]:
                        problem = (
                            f"shard {shard.name} is of another version; run 'vo-service db upgrade'"
                        )
            except VOError as error:
                problem = str(error)
            found.append(standing(shard.name, shard.address, problem))
        return found, standing(None, "", None)


def check_shards(settings: Settings, *, repair: bool = False) -> Report:
    """Compare each shard with what the centre knows of it; reads all rows of all shards.

    With *repair*, what killed moves and broken commits left is deleted: tables that are no
    partition, rows that no product has.
    """
    report = Report([], [])
    with _working(settings) as store:
        parts, (centre, version) = store.parts(), store.identity()
        for shard in store.shards():
            own = [part for part in parts if part.shard == shard.name]
            try:
                with connect_node(shard.name, shard.url) as node:
                    node.check(store.connection)
                    _check_node(node, own, (centre, version), report, repair)
                _answers(store, shard.name)
                _check_rows(settings, store, own, report, repair)
            except VOError as error:
                report.problems.append(_with_sky(str(error), own))
        if not report.problems:
            count, some = store.rowless()
            if count:
                report.problems.append(
                    f"{count} products have no row in any partition ({', '.join(some)}): take "
                    "their files in again"
                )
    return report


def _check_node(
    node: Node, own: list[Part], identity: tuple[str, str], report: Report, repair: bool
) -> None:
    centre, version = identity
    if node.claimed() != (centre, node.name):
        report.problems.append(f"shard {node.name}: its database is not that of this archive")
        return
    if node.version != version:
        report.problems.append(
            f"shard {node.name}: made for schema {node.version}: expected {version}; run "
            "'vo-service db upgrade'"
        )
    missing = {part.partition for part in own} - set(node.tables())
    report.problems.extend(f"shard {node.name}: {table} is missing there" for table in missing)
    for table in leftovers(own, node):
        if repair:
            node.drop(table)
            report.mended.append(f"shard {node.name}: {table}, left by a killed move, was dropped")
        else:
            report.problems.append(
                f"shard {node.name}: {table} is left from a move that was killed (--repair)"
            )


def _check_rows(
    settings: Settings, store: ShardStore, own: list[Part], report: Report, repair: bool
) -> None:
    by_name = {part.partition: part for part in own}
    for partition, (strange, twice) in store.misfits(own).items():
        if strange and repair:
            with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
                gone = clear_misfits(writer, by_name[partition])
            report.mended.append(f"{partition}: {gone} rows of no open product were deleted")
        elif strange:
            report.problems.append(
                f"{partition}: {strange} rows of no open product, left by a commit that broke off "
                "(--repair)"
            )
        if twice:
            report.problems.append(f"{partition}: {twice} rows more than products")


def _with_sky(message: str, own: list[Part]) -> str:
    return f"{message}; it keeps {sky(joined(own))}" if own else message


def _known(store: ShardStore, name: str) -> Shard:
    shards = {shard.name: shard for shard in store.shards()}
    if name not in shards:
        names = ", ".join(shards) or "none"
        raise NotFoundError(f"no shard {name!r}: there are {names}; see 'vo-service shard add'")
    return shards[name]


def _admin(settings: Settings) -> str:
    return admin_conninfo(settings, DATABASE if private_cluster(settings) else None)


@contextlib.contextmanager
def _working(settings: Settings) -> Iterator[ShardStore]:
    """The store, while nobody else adds, moves or removes anything."""
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        store = ShardStore(owner)
        if not store.lock():
            raise TransientError("another 'vo-service shard' command is at work; let it finish")
        yield store
