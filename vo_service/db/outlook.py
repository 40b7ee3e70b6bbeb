"""Questions of an operator: what is here, what arrived, how much is to be released when.

Sums are read from ``archive.volume``, so they are quick at any size. Sizes are bytes, weeks
begin on Monday. Runs as the writer. Source: MISSION A1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = ["Night", "OutlookStore", "Run", "Summary", "Transfer", "Week"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A collection: files and bytes, files by state, files refused, the last ingest."""

    collection: str
    files: int
    size: int
    public: int
    waiting: int
    gone: int
    refused: int
    last_ingest: datetime | None


@dataclass(frozen=True, slots=True)
class Night:
    """What one night brought."""

    collection: str
    night: date
    files: int
    size: int
    public: int


@dataclass(frozen=True, slots=True)
class Week:
    """What is to be released in a week; of files *later* than asked for, in the first such."""

    week: date | None
    collection: str
    files: int
    size: int
    later: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of the release rules over all collections."""

    day: date
    actor: str
    ended: datetime
    published: int
    closed: int
    planned: int
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A line of the transfer table."""

    collection: str
    path: str
    version: int
    arrived: datetime
    origin: str | None
    size: int
    md5_given: str | None
    md5: str | None
    night: date | None
    proposal_id: str | None
    data_typ: str | None
    obs_mod: str | None
    observer: str | None
    state: str
    release_date: date | None
    release_rule: str | None


class OutlookStore:
    """Statements about the archive as a whole."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def summaries(self) -> list[Summary]:
        """Collections, what they hold and how the last ingest was."""
        with self._connection.cursor(row_factory=class_row(Summary)) as cursor:
            cursor.execute(
                "SELECT c.name AS collection, coalesce(sum(files), 0)::bigint AS files, "
                "coalesce(sum(size), 0)::bigint AS size, "
                "coalesce(sum(files) FILTER (WHERE state = 'public'), 0)::bigint AS public, "
                "coalesce(sum(files) FILTER (WHERE state = 'arrived'), 0)::bigint AS waiting, "
                "coalesce(sum(files) FILTER (WHERE state NOT IN ('public', 'arrived')), 0)::bigint "
                "AS gone, "
                "(SELECT count(*) FROM archive.refusal r WHERE r.collection = c.name) AS refused, "
                "(SELECT max(ended) FROM archive.ingest_run i WHERE i.collection = c.name) "
                "AS last_ingest "
                "FROM archive.collection c LEFT JOIN archive.volume v ON v.collection = c.name "
                "GROUP BY c.name ORDER BY c.name"
            )
            return cursor.fetchall()

    def nights(self, limit: int) -> list[Night]:
        """The latest nights, the newest first; all collections that have one of them."""
        with self._connection.cursor(row_factory=class_row(Night)) as cursor:
            cursor.execute(
                "SELECT collection, night, sum(files)::bigint AS files, "
                "sum(size)::bigint AS size, "
                "coalesce(sum(files) FILTER (WHERE state = 'public'), 0)::bigint AS public "
                "FROM archive.volume WHERE night IN (SELECT night FROM archive.volume "
                "WHERE night IS NOT NULL GROUP BY night HAVING sum(files) <> 0 "
                "ORDER BY night DESC LIMIT %s) "
                "GROUP BY collection, night HAVING sum(files) <> 0 ORDER BY night DESC, collection",
                (limit,),
            )
            return cursor.fetchall()

    def weeks(self, today: date, last: date) -> list[Week]:
        """What is to be released after *today*: by week up to *last*, together after it.

        What has no day in sight comes at the end, its week None.
        """
        with self._connection.cursor(row_factory=class_row(Week)) as cursor:
            cursor.execute(
                "WITH part AS (SELECT date_trunc('week', release_date)::date AS week, collection, "
                "sum(files)::bigint AS files, sum(size)::bigint AS size, "
                "coalesce(release_date > %(last)s, false) AS later FROM archive.volume "
                "WHERE state = 'arrived' AND (release_date > %(today)s OR release_date IS NULL) "
                "GROUP BY 1, 2, 5 HAVING sum(files) <> 0) "
                "SELECT min(week) AS week, collection, sum(files)::bigint AS files, "
                "sum(size)::bigint AS size, later FROM part "
                "GROUP BY CASE WHEN NOT later THEN week END, collection, later "
                "ORDER BY week NULLS LAST, collection",
                {"today": today, "last": last},
            )
            return cursor.fetchall()

    def last_run(self) -> Run | None:
        """The run that ended last."""
        with self._connection.cursor(row_factory=class_row(Run)) as cursor:
            cursor.execute(
                "SELECT day, actor, ended, published, closed, planned, problems "
                "FROM archive.release_run ORDER BY run_id DESC LIMIT 1"
            )
            return cursor.fetchone()

    def transfers(
        self, collection: str | None, night: date | None, since: date | None, limit: int
    ) -> Iterator[Transfer]:
        """The transfer table, the newest first: all that came since a day, or of a night."""
        with psycopg.ServerCursor(
            self._connection, "transfers", row_factory=class_row(Transfer)
        ) as cursor:
            cursor.execute(
                "SELECT collection, path, version, arrived, origin, size, md5_given, md5, night, "
                "proposal_id, data_typ, obs_mod, observer, state, release_date, release_rule "
                "FROM archive.product WHERE (%(collection)s::text IS NULL "
                "OR collection = %(collection)s) AND (%(night)s::date IS NULL OR night = %(night)s)"
                " AND (%(since)s::date IS NULL OR arrived >= %(since)s) "
                "ORDER BY product_id DESC LIMIT %(limit)s",
                {"collection": collection, "night": night, "since": since, "limit": limit},
            )
            yield from cursor
