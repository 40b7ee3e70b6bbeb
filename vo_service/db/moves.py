"""Moves of a partition between PostgreSQL servers, while searches go on.

Writers wait while rows are copied, readers do not. Then the old partition is detached and the
new one attached in one transaction of the centre, which is the one moment in which the move
happens: killed before, it has not happened, killed afterwards, it has. What is left over lies on
a node and belongs to nobody (`leftovers`).

The swap needs the table to itself for a few milliseconds. It asks for that again and again,
for a short time each, so that no search waits longer than that behind it, and gets it between
two searches.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
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
    definition
        What the tables are made of.
    patience_s
        Seconds that the swap may be tried for.
    told
        Called with the rows copied so far, and with -1 while the swap waits for searches.
    """

    centre: Connection
    definition: Definition
    patience_s: float
    told: Callable[[int], None] = field(default=lambda rows: None)

    def move(self, part: Part, source: Node | None, target: Node | None) -> int:
        """Move a partition between two nodes, None being the centre; rows moved.

        Raises
        ------
        TransientError
            Writers or searches did not make room in time; nothing has changed.
        VOError
            If a server refuses; nothing has changed.
        """
        try:
            with self.centre.transaction():
                self._keep_writers_out(part)
                if target is None:
                    rows = self._bring_home(part, source)
                else:
                    rows = self._take_away(part, source, target)
        except psycopg.Error as error:
            said = (error.diag.message_primary or str(error)).strip().partition("\n")[0]
            raise VOError(f"{part.partition} was not moved: {said}") from error
        if source is not None:
            with contextlib.suppress(psycopg.Error):  # it is nobody's now, and found by a check
                source.drop(part.partition)
        if target is not None:
            # Or the planner would know nothing of it; here alone, as everybody may go on.
            self.centre.execute(
                sql.SQL("ANALYZE {}").format(sql.Identifier("archive", part.partition))
            )
        return rows

    def _keep_writers_out(self, part: Part) -> None:
        """Let nobody write until the transaction ends, anywhere in the table.

        Who locked one partition first, and the table for the swap, would meet writers that came
        the other way round.
        """
        self.centre.execute(f"SET LOCAL lock_timeout = '{_WRITERS_S}s'".encode())
        self.centre.execute("SET LOCAL extra_float_digits = 3")  # every bit of a position
        try:
            self.centre.execute("LOCK TABLE ONLY archive.observation IN SHARE MODE")
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                f"{part.partition} was not moved: an ingest or release has been writing for "
                f"{_WRITERS_S} s; try again when it has ended"
            ) from None

    def _take_away(self, part: Part, source: Node | None, target: Node) -> int:
        table = part.partition
        with target.connection.transaction():
            target.drop(table)  # what a killed move left
            for statement in self.definition.table(table, part.low, part.high):
                target.connection.execute(statement)
            rows = self._copy(source.connection if source else self.centre, target.connection, part)
            for statement in (*self.definition.indexing(table), *target.open_to(table)):
                target.connection.execute(statement)
            target.connection.execute(
                sql.SQL("ANALYZE {}").format(sql.Identifier("archive", table))
            )
        self._alone(part, source)
        self._drop_old(part, source)
        self.centre.execute(
            sql.SQL(
                "CREATE FOREIGN TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({}) SERVER {} "
                "OPTIONS (schema_name 'archive', table_name {})"
            ).format(
                sql.Identifier("archive", table), _PARENT, part.low, part.high,
                sql.Identifier(f"vo_{target.name}"), table,
            )
        )  # fmt: skip
        return rows

    def _bring_home(self, part: Part, source: Node | None) -> int:
        if source is None:
            raise ValueError(f"{part.partition} is at home")
        fresh = f"{part.partition}_home"
        for statement in self.definition.table(fresh, part.low, part.high):
            self.centre.execute(statement)
        # Frozen: a search that waits behind the swap has an older view of what is committed.
        rows = self._copy(source.connection, self.centre, part, into=fresh, how="(FREEZE)")
        for statement in self.definition.indexing(fresh):
            self.centre.execute(statement)
        self.centre.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("archive", fresh)))
        self._alone(part, source)
        self._drop_old(part, source)
        self.centre.execute(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                sql.Identifier("archive", fresh), sql.Identifier(part.partition)
            )
        )
        self.centre.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                _PARENT, sql.Identifier("archive", part.partition), part.low, part.high
            )
        )
        return rows

    def _copy(
        self, source: Connection, target: Connection, part: Part, into: str = "", how: str = ""
    ) -> int:
        """Copy all rows; as many arrive as there are, or nothing does."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name, _, _ in self.definition.columns)
        away = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT").format(
            columns, sql.Identifier("archive", part.partition)
        )
        home = sql.SQL("COPY {} ({}) FROM STDIN {}").format(
            sql.Identifier("archive", into or part.partition), columns, sql.SQL(how)
        )
        count = 0
        with source.cursor() as reading, target.cursor() as writing:
            with reading.copy(away) as rows, writing.copy(home) as sink:
                for row in rows:
                    sink.write(row)
                    count += 1
                    if count % _TELL == 0:
                        self.told(count)
            if not count == reading.rowcount == writing.rowcount:
                raise VOError(
                    f"{part.partition} was not moved: {reading.rowcount} rows were read and "
                    f"{writing.rowcount} arrived"
                )
        self.told(count)
        return count

    def _alone(self, part: Part, source: Node | None) -> None:
        """Have the table to ourselves from now on to the end of the transaction.

        Raises
        ------
        TransientError
            If searches left no gap in time.
        """
        begun, pause = time.monotonic(), _PAUSE_S[0]
        # The default partition is looked at when another one comes; foreign ones have no locks.
        names = ["observation", "observation_no_position", *([] if source else [part.partition])]
        tables = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier("archive", name)) for name in names
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
                    f"{part.partition} was not moved: searches have been running for "
                    f"{self.patience_s:g} s without a gap; try again, or wait longer (--wait)"
                )
            self.told(-1)
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_S[1])

    def _drop_old(self, part: Part, source: Node | None) -> None:
        self.centre.execute(
            sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(
                _PARENT, sql.Identifier("archive", part.partition)
            )
        )
        self.centre.execute(
            sql.SQL("DROP {} {}").format(
                sql.SQL("TABLE" if source is None else "FOREIGN TABLE"),
                sql.Identifier("archive", part.partition),
            )
        )


def leftovers(parts: list[Part], node: Node) -> list[str]:
    """Tables of a node that are no partition of the centre: what killed moves left there."""
    used = {part.partition for part in parts if part.shard == node.name}
    return [table for table in node.tables() if table not in used]
