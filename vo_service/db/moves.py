"""Moves of partitions, and of collections out of them, between servers, while searches go on.

Writers wait while rows are copied, readers do not. Then the old table is detached and the new
ones are attached in one transaction of the centre, which is the one moment in which the move
happens: killed before, it has not happened, killed afterwards, it has. What is left over lies on
a node and belongs to nobody (`leftovers`).

A partition that a collection leaves is divided by ``obs_collection``: into a table of that
collection, and one of the rest, which is made anew beside the old one. A row cannot be deleted
from the one and come with the other at a moment that is the same for every search.

The swap needs the table to itself for a few milliseconds. It asks for that again and again,
for a short time each, so that no search waits longer than that behind it, and gets it between
two searches. No row is read then: a check of each table says what is in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from vo_service.db.nodes import Definition, Node
from vo_service.errors import TransientError, VOError
from vo_service.model.shard import Part

__all__ = ["Mover", "leftovers"]

Connection = psycopg.Connection[Any]

#: How long searches may wait behind an attempt, and what is between two attempts.
_ATTEMPT_MS = 300
_PAUSE_S = (0.1, 2.0)

#: How long writers under way may take until they let a move begin.
_WRITERS_S = 600
_TELL = 1000

_PARENT = sql.Identifier("archive", "observation")


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves partitions of the archive that *centre* is connected to, as the owner.

    Parameters
    ----------
    centre
        Not in a transaction.
    nodes
        The shards that take part, by name.
    readers
        Another session at each of them, and (None) at the centre.
    definition
        What the tables are made of.
    patience_s
        Seconds that the swap may be tried for.
    told
        Called with the rows copied so far, and with -1 while the swap waits for searches.
    """

    centre: Connection
    nodes: Mapping[str, Node]
    readers: Mapping[str | None, Connection]
    definition: Definition
    patience_s: float
    told: Callable[[int], None] = field(default=lambda rows: None)

    def move(self, part: Part, target: str | None) -> None:
        """Move a part to a shard, or to the centre (None).

        Raises
        ------
        TransientError
            Writers or searches did not make room in time; nothing has changed.
        VOError
            If a server refuses; nothing has changed.
        """
        self._exchange(part, [dataclasses.replace(part, shard=target)])

    def split(self, rest: Part, collections: Sequence[str], target: str | None) -> None:
        """Move collections out of a part to a shard, or to the centre (None), in one go.

        The part is of no collection, and has rows of these, or will have.

        Raises
        ------
        TransientError, VOError
            As `move`.
        """
        within = rest.within or rest.partition
        name, *names = self._free_names(within, 1 + len(collections))
        leaves = [
            Part(rest.low, rest.high, leaf, target, collection, within)
            for leaf, collection in zip(names, collections, strict=True)
        ]
        self._exchange(rest, [*leaves, dataclasses.replace(rest, partition=name, within=within)])

    def _exchange(self, old: Part, new: Sequence[Part]) -> None:
        """Have *new* in the place of *old*; the default one of a divided partition comes last."""
        try:
            with self.centre.transaction():
                self._keep_writers_out(old)
                others = self._collections(new)
                rows = 0
                for part in new:
                    rows = self._build(old, part, others, rows)
                self._alone(old)
                self._drop_old(old)
                if new[-1].within != old.within:
                    self._divide(new[-1])
                for part in new:
                    self._attach(part, old)
        except psycopg.Error as error:
            said = (error.diag.message_primary or str(error)).strip().partition("\n")[0]
            raise VOError(f"{old.partition} was not moved: {said}") from error
        if old.shard is not None:
            with contextlib.suppress(psycopg.Error):  # it is nobody's now, and found by a check
                self.nodes[old.shard].drop(old.partition)
        for part in new:
            if part.shard is not None:
                # Or the planner would know nothing of it; here alone, as everybody may go on.
                with contextlib.suppress(psycopg.Error):
                    self.centre.execute(
                        sql.SQL("ANALYZE {}").format(sql.Identifier("archive", part.partition))
                    )

    def _free_names(self, within: str, count: int) -> list[str]:
        """Names for tables of a divided partition: the smallest numbers not in use."""
        rows = self.centre.execute(
            "SELECT name FROM (SELECT n, %s || '_' || n AS name FROM generate_series(1, 9999) n) t "
            "WHERE to_regclass('archive.' || name) IS NULL ORDER BY n LIMIT %s",
            (within, count),
        )
        return [name for (name,) in rows]

    def _collections(self, new: Sequence[Part]) -> list[str]:
        """The collections that have tables of their own in the partition, or will have."""
        rows = self.centre.execute(
            "SELECT collection FROM archive.shard_part "
            "WHERE within = %s AND collection IS NOT NULL",
            (new[-1].within,),
        )
        found = {name for (name,) in rows} | {p.collection for p in new if p.collection is not None}
        return sorted(found)

    def _keep_writers_out(self, part: Part) -> None:
        """Let nobody write until the transaction ends, anywhere in the table.

        Who locked one partition first, and the table for the swap, would meet writers that came
        the other way round.
        """
        self.centre.execute(f"SET LOCAL lock_timeout = '{_WRITERS_S}s'".encode())
        try:
            self.centre.execute("LOCK TABLE ONLY archive.observation IN SHARE MODE")
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                f"{part.partition} was not moved: an ingest or release has been writing for "
                f"{_WRITERS_S} s; try again when it has ended"
            ) from None

    def _build(self, old: Part, part: Part, others: Iterable[str], before: int) -> int:
        """Make the table of a part where it shall be, from rows of *old*; rows with *before*."""
        only = _conditions(part, others)
        node = self.nodes[part.shard] if part.shard is not None else None
        target, table = (
            (node.connection, part.partition) if node else (self.centre, _fresh(part, old))
        )
        with target.transaction():
            if node is not None:
                node.drop(table)  # what a killed move left
            for statement in self.definition.table(table, only):
                target.execute(statement)
            rows = self._copy(old, target, table, only, before)
            for statement in self.definition.indexing(table):
                target.execute(statement)
            for statement in node.open_to(table) if node is not None else ():
                target.execute(statement)
            target.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("archive", table)))
        return before + rows

    def _copy(
        self, old: Part, target: Connection, table: str, only: Iterable[sql.Composed], before: int
    ) -> int:
        """Copy the rows of *old* that belong there; as many arrive as there are, or none does."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name, _, _ in self.definition.columns)
        away = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(
            columns, sql.Identifier("archive", old.partition), sql.SQL(" AND ").join(only)
        )
        # Frozen: a search that waits behind the swap has an older view of what is committed.
        home = sql.SQL("COPY {} ({}) FROM STDIN (FREEZE)").format(
            sql.Identifier("archive", table), columns
        )
        count = 0
        with self.readers[old.shard].cursor() as reading, target.cursor() as writing:
            with reading.copy(away) as rows, writing.copy(home) as sink:
                for row in rows:
                    sink.write(row)
                    count += 1
                    if count % _TELL == 0:
                        self.told(before + count)
            if not count == reading.rowcount == writing.rowcount:
                raise VOError(
                    f"{old.partition} was not moved: {reading.rowcount} rows were read and "
                    f"{writing.rowcount} arrived"
                )
        self.told(before + count)
        return count

    def _alone(self, old: Part) -> None:
        """Have the table to ourselves from now on to the end of the transaction.

        Raises
        ------
        TransientError
            If searches left no gap in time.
        """
        begun, pause = time.monotonic(), _PAUSE_S[0]
        # Default partitions are looked at when another one comes; foreign ones have no locks.
        here = self.centre.execute(
            "SELECT partition FROM archive.shard_part "
            "WHERE shard IS NULL AND (partition = %s OR within = %s) ORDER BY partition",
            (old.partition, old.within),
        ).fetchall()
        names = ["observation", "observation_no_position", *([old.within] if old.within else [])]
        tables = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier("archive", name))
            for name in (*names, *(name for (name,) in here))
        )
        self.centre.execute(f"SET LOCAL lock_timeout = '{_ATTEMPT_MS}ms'".encode())
        while True:
            with contextlib.suppress(psycopg.errors.LockNotAvailable), self.centre.transaction():
                self.centre.execute(
                    sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables)
                )
                return
            if time.monotonic() - begun > self.patience_s:
                raise TransientError(
                    f"{old.partition} was not moved: searches have been running for "
                    f"{self.patience_s:g} s without a gap; try again, or wait longer (--wait)"
                )
            self.told(-1)
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_S[1])

    def _drop_old(self, old: Part) -> None:
        table = sql.Identifier("archive", old.partition)
        self.centre.execute(
            sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(_parent(old), table)
        )
        kind = sql.SQL("TABLE" if old.shard is None else "FOREIGN TABLE")
        self.centre.execute(sql.SQL("DROP {} {}").format(kind, table))

    def _divide(self, part: Part) -> None:
        """Make the partition that is divided, for what *part* is the rest of."""
        self.centre.execute(
            sql.SQL(
                "CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({}) "
                "PARTITION BY LIST (obs_collection)"
            ).format(_parent(part), _PARENT, part.low, part.high)
        )

    def _attach(self, part: Part, old: Part) -> None:
        table = sql.Identifier("archive", part.partition)
        if part.shard is not None:
            self.centre.execute(
                sql.SQL(
                    "CREATE FOREIGN TABLE {} PARTITION OF {} {} SERVER {} "
                    "OPTIONS (schema_name 'archive', table_name {})"
                ).format(
                    table, _parent(part), _bounds(part), sql.Identifier(f"vo_{part.shard}"),
                    part.partition,
                )
            )  # fmt: skip
            return
        if (made := _fresh(part, old)) != part.partition:
            self.centre.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                    sql.Identifier("archive", made), sql.Identifier(part.partition)
                )
            )
        self.centre.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(
                _parent(part), table, _bounds(part)
            )
        )


def _conditions(part: Part, others: Iterable[str]) -> list[sql.Composed]:
    """What is true of the rows of a part, where *others* have parts of their own."""
    only = [sql.SQL("s_ra IS NOT NULL AND s_ra >= {} AND s_ra < {}").format(part.low, part.high)]
    if part.collection is not None:
        return [*only, sql.SQL("obs_collection = {}").format(part.collection)]
    return only + [sql.SQL("obs_collection <> {}").format(other) for other in others]


def _parent(part: Part) -> sql.Identifier:
    return sql.Identifier("archive", part.within) if part.within else _PARENT


def _bounds(part: Part) -> sql.Composed:
    if part.within is None:
        return sql.SQL("FOR VALUES FROM ({}) TO ({})").format(part.low, part.high)
    if part.collection is None:
        return sql.SQL("DEFAULT").format()
    return sql.SQL("FOR VALUES IN ({})").format(part.collection)


def _fresh(part: Part, old: Part) -> str:
    """What a new table of the centre is called while that of the shard is still there."""
    return f"{part.partition}_home" if part.partition == old.partition else part.partition


def leftovers(parts: list[Part], node: Node) -> list[str]:
    """Tables of a node that are no partition of the centre: what killed moves left there."""
    used = {part.partition for part in parts if part.shard == node.name}
    return [table for table in node.tables() if table not in used]
