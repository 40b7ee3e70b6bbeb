"""The log of downloads: rows written in batches, asked by product, counted and purged by day.

Source: MISSION A4 (who had downloaded a withdrawn product), B9 (no personal data beyond that).
Sizes are bytes, days are UTC. The door writes and cannot read; the writer reads and deletes.
The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = [
    "DownloadRow",
    "Downloader",
    "Month",
    "count_days",
    "day_key",
    "downloaders",
    "log_downloads",
    "months",
    "purge_downloads",
]


@dataclass(frozen=True, slots=True)
class DownloadRow:
    """One answer with content of a product; *person* or else *client* says to whom.

    *whole* tells that all of the product was asked for, *complete* that all that was asked for
    was sent.
    """

    product_id: int
    ended: datetime
    kind: str
    method: str
    whole: bool
    complete: bool
    size: int
    person: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Downloader:
    """Somebody who was sent a product, or parts of it, and when."""

    product_id: int
    collection: str
    path: str
    person: str | None
    client: str | None
    downloads: int
    complete: bool
    size: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Month:
    """Downloads of a collection in a month; *visitor_days* counts each visitor once a day."""

    collection: str
    month: str
    files: int
    size: int
    visitor_days: int


async def log_downloads(
    connection: psycopg.AsyncConnection[Any], rows: Sequence[DownloadRow]
) -> None:
    """Write rows, as the door."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO archive.download "
            "(product_id, ended, kind, method, whole, complete, bytes, person, client) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    row.product_id, row.ended, row.kind, row.method, row.whole, row.complete,
                    row.size, row.person, row.client,
                )
                for row in rows
            ],
        )  # fmt: skip


async def day_key(connection: psycopg.AsyncConnection[Any], day: date, fresh: bytes) -> bytes:
    """The key of a day, which is *fresh* if there was none; the same in all processes."""
    await connection.execute(
        "INSERT INTO archive.download_key (day, key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (day, fresh),
    )
    cursor = await connection.execute("SELECT key FROM archive.download_key WHERE day = %s", (day,))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it was there or was made just now
    return bytes(row[0])


def downloaders(
    connection: psycopg.Connection[Any], product_ids: Sequence[int]
) -> list[Downloader]:
    """Who was sent any of these products, as far as the log goes back; as the writer.

    Returns
    -------
    list of Downloader
        By product, then by who came last; *complete* tells whether one of the downloads was
        of the whole product and arrived whole.
    """
    with connection.cursor(row_factory=class_row(Downloader)) as cursor:
        cursor.execute(
            "SELECT product_id, p.collection, p.path, d.person, d.client, "
            "count(*) AS downloads, bool_or(d.whole AND d.complete) AS complete, "
            "sum(d.bytes)::bigint AS size, min(d.ended) AS first, max(d.ended) AS last "
            "FROM archive.download d JOIN archive.product p USING (product_id) "
            "WHERE product_id = ANY(%s) "
            "GROUP BY product_id, p.collection, p.path, d.person, d.client "
            "ORDER BY product_id, last DESC",
            (list(product_ids),),
        )
        return cursor.fetchall()


def count_days(connection: psycopg.Connection[Any], today: date) -> None:
    """Count the days before *today* that are in the log, again if they were counted before.

    A file counts once for each visitor and day, in however many parts it was sent. Counting
    begins two days before the last day that was counted: rows come late by hours at most. A
    day's numbers only grow, so that what was purged since takes nothing away.
    """
    connection.execute(
        "WITH sent AS (SELECT p.collection, (d.ended AT TIME ZONE 'UTC')::date AS day, "
        "coalesce('name ' || d.person, d.client) AS who, d.product_id, d.bytes "
        "FROM archive.download d JOIN archive.product p USING (product_id) "
        "WHERE d.ended < %s::timestamp AT TIME ZONE 'UTC' AND d.ended >= coalesce("
        "(SELECT max(day) - 2 FROM archive.download_day)::timestamp AT TIME ZONE 'UTC', "
        "'-infinity')) "
        "INSERT INTO archive.download_day AS counted (collection, day, files, bytes, visitors) "
        "SELECT collection, day, count(DISTINCT (product_id, who)), sum(bytes), "
        "count(DISTINCT who) FROM sent GROUP BY collection, day "
        "ON CONFLICT (collection, day) DO UPDATE SET "
        "files = greatest(counted.files, excluded.files), "
        "bytes = greatest(counted.bytes, excluded.bytes), "
        "visitors = greatest(counted.visitors, excluded.visitors)",
        (today,),
    )


def purge_downloads(connection: psycopg.Connection[Any], before: date, today: date) -> int:
    """Delete rows of days before *before*, and the keys of all days before *today*; how many rows.

    To be done in the transaction of `count_days`.
    """
    connection.execute("DELETE FROM archive.download_key WHERE day < %s", (today,))
    gone = connection.execute(
        "DELETE FROM archive.download WHERE ended < %s::timestamp AT TIME ZONE 'UTC'", (before,)
    )
    return gone.rowcount


def months(connection: psycopg.Connection[Any]) -> list[Month]:
    """Downloads by month (YYYY-MM) and collection, closed ones included, newest month first."""
    with connection.cursor(row_factory=class_row(Month)) as cursor:
        cursor.execute(
            "SELECT collection, to_char(day, 'YYYY-MM') AS month, sum(files)::bigint AS files, "
            "sum(bytes)::bigint AS size, sum(visitors)::bigint AS visitor_days "
            "FROM archive.download_day GROUP BY 1, 2 ORDER BY month DESC, collection"
        )
        return cursor.fetchall()
