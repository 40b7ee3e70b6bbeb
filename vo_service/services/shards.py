"""Shards: other PostgreSQL servers that keep parts of the archive.

They are added, looked at, compared with the centre, and given up. What they keep is moved by
`vo_service.services.shard_moves`.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from vo_service.db.connect import DATABASE, Role, admin_conninfo, conninfo, private_cluster
from vo_service.db.moves import leftovers
from vo_service.db.nodes import Node, connect_node, definition_of
from vo_service.db.shards import Shard, ShardStore, clear_misfits, enlist, strike_off
from vo_service.errors import ConfigError, UsageError, VOError
from vo_service.model.shard import CENTRE, Part, by_collection, joined, kept, unplaced
from vo_service.services.shard_moves import Manner, bring_home, known_shard, working
from vo_service.settings import Settings

__all__ = [
    "Report",
    "Standing",
    "add_shard",
    "check_shards",
    "list_shards",
    "remove_shard",
]


@dataclass(frozen=True, slots=True)
class Standing:
    """A shard as `list_shards` finds it; *problem* is None where it answers.

    *collections* are those that have been placed, with the ranges of RA where they are there.
    """

    name: str
    address: str
    ranges: list[tuple[float, float]]
    collections: dict[str, list[tuple[float, float]]]
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
    with working(settings) as store:
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


def remove_shard(
    settings: Settings,
    name: str,
    manner: Manner,
) -> int:
    """Bring the partitions of a shard home and forget it; how many came.

    Raises
    ------
    VOError
        What came home before is at home.
    """
    with working(settings) as store:
        shard = known_shard(store, name)
        moved = bring_home(settings, store, name, manner)
        with connect_node(name, shard.url) as node:
            for table in leftovers(store.parts(), node):
                node.drop(table)
            with store.connection.transaction():
                store.remove(name)
            with psycopg.connect(_admin(settings), autocommit=True) as admin:
                strike_off(admin, name)
            node.forget()
        return moved


def list_shards(settings: Settings) -> tuple[list[Standing], Standing]:
    """The shards, and the centre: what each has, and whether it answers."""
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        store = ShardStore(owner)
        parts, rows = store.parts(), store.estimated_rows()

        def standing(name: str | None, address: str, problem: str | None) -> Standing:
            own = [part for part in parts if part.shard == name]
            placed = {held: joined(some) for held, some in by_collection(own).items()}
            return Standing(
                name or CENTRE, address, joined(unplaced(own)), placed, len(own),
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
    with working(settings) as store:
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
                report.problems.append(_with_what(str(error), own))
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
            part = by_name[partition]
            beside = by_collection(p for p in store.parts() if part.within == p.within is not None)
            with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
                gone = clear_misfits(writer, part, list(beside))
            report.mended.append(f"{partition}: {gone} rows of no open product were deleted")
        elif strange:
            report.problems.append(
                f"{partition}: {strange} rows of no open product, left by a commit that broke off "
                "(--repair)"
            )
        if twice:
            report.problems.append(f"{partition}: {twice} rows more than products")


def _with_what(message: str, own: list[Part]) -> str:
    return f"{message}; it keeps {kept(own)}" if own else message


def _admin(settings: Settings) -> str:
    return admin_conninfo(settings, DATABASE if private_cluster(settings) else None)
