"""Where records are harvested, how far, and what became of each: on a connection of the writer.

The caller owns the transaction. Moments are by the clock of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

__all__ = ["HarvestStore", "Known", "Source", "SourceCounts", "State", "Taken"]

State = Literal["active", "inactive", "deleted", "refused"]


@dataclass(frozen=True, slots=True)
class Source:
    """A row of `archive.harvest_source`; its columns are explained there."""

    source_id: int
    url: str
    set_name: str
    name: str | None
    day_only: bool
    until: datetime | None
    run: int
    whole: bool
    begun: datetime | None
    token: str | None
    taken: int
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """A source and how many records of each kind it has given."""

    source: Source
    active: int
    deleted: int
    refused: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a record: whose it is (None: of this archive), its state and digest."""

    source_id: int | None
    state: State
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a record that a source gave."""

    ivoid: str
    datestamp: str
    state: State
    digest: bytes | None = None
    reason: str | None = None


_SOURCE = (
    "source_id, url, set_name, name, day_only, until, run, whole, begun, token, taken, finished"
)


class HarvestStore:
    """Sources, and the records that they gave."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def source(self, url: str, set_name: str) -> Source:
        """The source at *url*, known from now on."""
        self._connection.execute(
            "INSERT INTO archive.harvest_source (url, set_name) VALUES (%s, %s) "
            "ON CONFLICT DO NOTHING",
            (url, set_name),
        )
        found = self._sources("WHERE url = %s AND set_name = %s", (url, set_name))
        return found[0]

    def sources(self) -> list[Source]:
        """All sources, by address."""
        return self._sources("ORDER BY url, set_name", ())

    def _sources(self, condition: str, values: Sequence[Any]) -> list[Source]:
        with self._connection.cursor(row_factory=class_row(Source)) as cursor:
            return cursor.execute(
                f"SELECT {_SOURCE} FROM archive.harvest_source {condition}".encode(),  # noqa: S608 - text of this module
                values,
            ).fetchall()

    def counts(self) -> list[SourceCounts]:
        """All sources with counts of their records."""
        rows = self._connection.execute(
            "SELECT source_id, count(*) FILTER (WHERE state = 'active'), "
            "count(*) FILTER (WHERE state IN ('deleted', 'inactive')), "
            "count(*) FILTER (WHERE state = 'refused') FROM archive.harvested GROUP BY source_id"
        ).fetchall()
        counted = {number: counts for number, *counts in rows}
        return [
            SourceCounts(source, *counted.get(source.source_id, (0, 0, 0)))
            for source in self.sources()
        ]

    def faults(self, source_id: int) -> list[tuple[str, str, str]]:
        """Records of a source with something wrong: identifier, state and what it is."""
        return self._connection.execute(
            "SELECT ivoid, state, reason FROM archive.harvested "
            "WHERE source_id = %s AND reason IS NOT NULL ORDER BY state DESC, ivoid",
            (source_id,),
        ).fetchall()

    def lock(self, source_id: int) -> bool:
        """Keep other harvests of a source out until the session ends; False if one is at it."""
        row = self._connection.execute(
            "SELECT pg_try_advisory_lock(hashtext('vo-service harvest'), %s::bigint::integer)",
            (source_id,),
        ).fetchone()
        return row is not None and bool(row[0])

    def begin(self, source_id: int, *, name: str | None, day_only: bool, whole: bool) -> None:
        """Begin a harvest from its start."""
        self._connection.execute(
            "UPDATE archive.harvest_source SET name = %s, day_only = %s, whole = %s, "
            "run = run + 1, begun = NULL, token = NULL, taken = 0 WHERE source_id = %s",
            (name, day_only, whole, source_id),
        )

    def advance(self, source_id: int, *, begun: datetime, token: str, taken: int) -> None:
        """Note that a page has been taken, and what continues the list."""
        self._connection.execute(
            "UPDATE archive.harvest_source SET begun = %s, token = %s, taken = %s "
            "WHERE source_id = %s",
            (begun, token, taken, source_id),
        )

    def finish(self, source_id: int, *, until: datetime, taken: int) -> None:
        """Note that a harvest has come to its end."""
        self._connection.execute(
            "UPDATE archive.harvest_source SET until = %s, taken = %s, begun = NULL, token = NULL,"
            " finished = clock_timestamp() WHERE source_id = %s",
            (until, taken, source_id),
        )

    def known(self, ivoids: Iterable[str]) -> dict[str, Known]:
        """What is known of records, those of this archive included."""
        wanted = list(ivoids)
        rows = self._connection.execute(
            "SELECT ivoid, source_id, state, digest FROM archive.harvested WHERE ivoid = ANY(%s)",
            (wanted,),
        ).fetchall()
        found = {ivoid: Known(source, state, digest) for ivoid, source, state, digest in rows}
        own = self._connection.execute(
            "SELECT ivoid FROM archive.record WHERE ivoid = ANY(%s)", (wanted,)
        )
        return found | {ivoid: Known(None, "active", None) for (ivoid,) in own}

    def note(self, source: Source, taken: Iterable[Taken]) -> None:
        """Write down what became of records in this harvest."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO archive.harvested (ivoid, source_id, datestamp, state, digest, "
                "reason, run) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (ivoid) DO UPDATE "
                "SET source_id = excluded.source_id, datestamp = excluded.datestamp, "
                "state = excluded.state, digest = excluded.digest, reason = excluded.reason, "
                "run = excluded.run",
                [
                    (t.ivoid, source.source_id, t.datestamp, t.state, t.digest, t.reason,
                     source.run)
                    for t in taken
                ],
            )  # fmt: skip

    def seen(self, source: Source, ivoids: Iterable[str]) -> None:
        """Note that records are still there, as they were."""
        self._connection.execute(
            "UPDATE archive.harvested SET run = %s WHERE ivoid = ANY(%s)",
            (source.run, list(ivoids)),
        )

    def let_go(self, source: Source) -> int:
        """Count as deleted what a source, having given all, no longer has; how many records."""
        return self._connection.execute(
            "WITH gone AS (UPDATE archive.harvested SET state = 'deleted', digest = NULL, "
            "reason = NULL WHERE source_id = %s AND run < %s AND state <> 'deleted' "
            "RETURNING ivoid), "
            "removed AS (DELETE FROM rr.resource WHERE ivoid IN (SELECT ivoid FROM gone)) "
            "SELECT FROM gone",
            (source.source_id, source.run),
        ).rowcount

    def drop_unused(self, source_id: int) -> None:
        """Remove a source that has never given anything."""
        self._connection.execute(
            "DELETE FROM archive.harvest_source s WHERE source_id = %s AND until IS NULL "
            "AND NOT EXISTS (SELECT FROM archive.harvested h WHERE h.source_id = s.source_id)",
            (source_id,),
        )

    def forget(self, url: str) -> int | None:
        """Remove a source (all its sets) with its records; how many, None if it is not known."""
        removed = self._connection.execute(
            "DELETE FROM rr.resource WHERE ivoid IN ("
            "SELECT ivoid FROM archive.harvested JOIN archive.harvest_source USING (source_id) "
            "WHERE url = %(url)s AND state = 'active') "
            "AND ivoid NOT IN (SELECT ivoid FROM archive.record)",
            {"url": url},
        ).rowcount
        sources = self._connection.execute(
            "DELETE FROM archive.harvest_source WHERE url = %s", (url,)
        ).rowcount
        return removed if sources else None
