"""Registry records in `archive.record`: written by publication, read by harvesters.

`RecordStore` serves commands, as the writer; the functions serve OAI-PMH, as the door. The
caller owns the transaction. Times are UTC, datestamps whole seconds.

A record that is written while somebody harvests is never lost: who writes takes the lock first
and the datestamp then, who reads waits for the lock, so a datestamp that is not yet seen is later
than the moment at which the reader began, which is what the answer's responseDate says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.errors import UsageError

__all__ = [
    "Covered",
    "KnownCollection",
    "Page",
    "RecordStore",
    "Selection",
    "StoredRecord",
    "database_time",
    "earliest",
    "record_count",
    "record_of",
    "record_page",
    "sets_in_use",
]

_LOCK = "hashtext('vo-service registry records')"

#: Bytes of documents in one page; a page has one record at least.
_PAGE_BYTES = 4_000_000

#: One pass over all rows. Wavelengths that begin within a fifth of a per cent of each other count
#: as one, so that there are few groups, which fit into memory, however many rows there are.
_COVERED = """
SELECT facility_name, instrument_name, dataproduct_type, min(t_min), max(t_max),
       min(em_min) FILTER (WHERE em_min > 0 AND em_max >= em_min),
       max(em_max) FILTER (WHERE em_min > 0 AND em_max >= em_min)
FROM archive.covered WHERE collection = %s
GROUP BY 1, 2, 3, CASE WHEN em_min > 0 AND em_max >= em_min THEN floor(1000 * log(em_min)) END
"""

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row; *document* and *simple* are None for a deleted record, or if not asked for."""

    record_id: int
    identifier: str
    sets: list[str]
    document: str | None
    simple: str | None
    deleted: bool
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records: datestamps from *since* to *until* (both included), those of a set."""

    since: datetime | None = None
    until: datetime | None = None
    set_name: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, in order of datestamps, and whether there are more."""

    records: list[StoredRecord]
    more: bool


@dataclass(frozen=True, slots=True)
class Covered:
    """What the open rows of a collection cover.

    *times* are MJD, *wavelengths* metres, shortest first; *products* are dataproduct_types.
    """

    facilities: list[str]
    instruments: list[str]
    times: tuple[float, float] | None
    wavelengths: list[tuple[float, float]]
    products: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownCollection:
    """A row of `archive.collection`; *definition* is its file as JSON."""

    name: str
    title: str
    description: str | None
    definition: dict[str, Any]


_COLUMNS = (
    "record_id, identifier, sets, {document} AS document, {simple} AS simple, "
    "document IS NULL AS deleted, created, updated"
)
_WHERE = (
    "(%(since)s::timestamptz IS NULL OR updated >= %(since)s) "
    "AND (%(until)s::timestamptz IS NULL OR updated <= %(until)s) "
    "AND (%(set_name)s::text IS NULL OR sets @> ARRAY[%(set_name)s])"
)


def _columns(form: str | None) -> str:
    return _COLUMNS.format(
        document="document" if form == "ivo_vor" else "NULL",
        simple="simple" if form == "oai_dc" else "NULL",
    )


async def record_page(
    connection: Connection,
    selection: Selection,
    form: str | None,
    after: tuple[datetime, int] | None,
    count: int,
) -> Page:
    """The records that follow *after* (datestamp and number), *count* at most.

    *form* is the metadata prefix whose text is wanted; None: headers only.
    """
    await _wait_for_writers(connection)
    text = {"ivo_vor": "document", "oai_dc": "simple"}.get(form or "", "''")
    size = f"coalesce(octet_length({text}), 0)"
    statement = (
        f"SELECT {_columns(form)} FROM ("  # noqa: S608 - names from this module only
        f"SELECT *, sum({size}) OVER (ORDER BY updated, record_id) - {size} AS before FROM ("
        f"SELECT * FROM archive.record WHERE {_WHERE} "
        "AND (%(moment)s::timestamptz IS NULL OR "
        "(updated, record_id) > (%(moment)s::timestamptz, %(number)s::bigint)) "
        "ORDER BY updated, record_id LIMIT %(count)s) AS chosen) AS sized "
        "WHERE before < %(bytes)s ORDER BY updated, record_id"
    )
    moment, number = after or (None, None)
    given = {
        **_given(selection), "moment": moment, "number": number, "count": count + 1,
        "bytes": _PAGE_BYTES,
    }  # fmt: skip
    async with connection.cursor(row_factory=class_row(StoredRecord)) as cursor:
        await cursor.execute(statement.encode(), given)
        found = await cursor.fetchall()
    if len(found) > count:
        return Page(found[:count], True)
    last = (found[-1].updated, found[-1].record_id) if found else None
    return Page(found, last is not None and await _follows(connection, selection, last))


async def _follows(
    connection: Connection, selection: Selection, after: tuple[datetime, int]
) -> bool:
    cursor = await connection.execute(
        f"SELECT FROM archive.record WHERE {_WHERE} "
        "AND (updated, record_id) > (%(moment)s, %(number)s) LIMIT 1".encode(),
        {**_given(selection), "moment": after[0], "number": after[1]},
    )
    return await cursor.fetchone() is not None


async def record_count(connection: Connection, selection: Selection) -> int:
    """How many records are selected."""
    cursor = await connection.execute(
        f"SELECT count(*) FROM archive.record WHERE {_WHERE}".encode(),  # noqa: S608 - as above
        _given(selection),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _given(selection: Selection) -> dict[str, Any]:
    return {
        "since": selection.since,
        "until": selection.until,
        "set_name": selection.set_name,
    }


async def record_of(connection: Connection, identifier: str, form: str) -> StoredRecord | None:
    """One record by its identifier, which is compared without case (Identifiers 2.0)."""
    await _wait_for_writers(connection)
    async with connection.cursor(row_factory=class_row(StoredRecord)) as cursor:
        await cursor.execute(
            f"SELECT {_columns(form)} FROM archive.record WHERE ivoid = %s".encode(),  # noqa: S608 - names from this module only
            (identifier.lower(),),
        )
        return await cursor.fetchone()


async def sets_in_use(connection: Connection) -> list[str]:
    """Names of all sets that have records, deleted ones too."""
    cursor = await connection.execute(
        'SELECT DISTINCT unnest(sets) COLLATE "C" AS name FROM archive.record ORDER BY name'
    )
    return [name for (name,) in await cursor.fetchall()]


async def database_time(connection: Connection) -> datetime:
    """The second that it is, by the clock that gives datestamps."""
    cursor = await connection.execute("SELECT date_trunc('second', clock_timestamp())")
    row = await cursor.fetchone()
    if row is None:  # a function always gives a row
        raise UsageError("the database gave no time")
    moment: datetime = row[0]
    return moment


async def earliest(connection: Connection) -> datetime | None:
    """A moment before which no record has its datestamp; None where there is no record."""
    cursor = await connection.execute("SELECT min(created) FROM archive.record")
    row = await cursor.fetchone()
    return row[0] if row else None


async def _wait_for_writers(connection: Connection) -> None:
    await connection.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK})".encode())


class RecordStore:
    """What publication asks and writes, as the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def lock(self) -> datetime:
        """Keep readers and other writers out until the transaction ends; the datestamp to give.

        It is later than every one before, even if the clock was set back meanwhile.
        """
        self._connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})".encode())
        row = self._connection.execute(
            "SELECT greatest(date_trunc('second', clock_timestamp()), "
            "(SELECT max(updated) FROM archive.record))"
        ).fetchone()
        if row is None:  # an aggregate always has a row
            raise UsageError("the database gave no time")
        moment: datetime = row[0]
        return moment

    def digests(self) -> dict[str, tuple[bytes, bool, datetime]]:
        """Of each record, by lower-case identifier: digest, whether deleted, when created."""
        found = self._connection.execute(
            "SELECT ivoid, digest, document IS NULL, created FROM archive.record"
        )
        return {ivoid: (digest, deleted, created) for ivoid, digest, deleted, created in found}

    def put(
        self,
        identifier: str,
        *,
        title: str,
        sets: Sequence[str],
        document: str,
        simple: str,
        digest: bytes,
        created: datetime,
        updated: datetime,
    ) -> None:
        """Add a record, or replace what there was under its identifier."""
        self._connection.execute(
            "INSERT INTO archive.record (ivoid, identifier, title, sets, document, simple, digest,"
            " created, updated) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (ivoid) DO UPDATE SET identifier = excluded.identifier, "
            "title = excluded.title, sets = excluded.sets, document = excluded.document, "
            "simple = excluded.simple, digest = excluded.digest, updated = excluded.updated",
            (
                identifier.lower(), identifier, title, list(sets), document, simple, digest,
                created, updated,
            ),
        )  # fmt: skip

    def delete(self, ivoid: str, updated: datetime) -> None:
        """Leave of a record what says that it was deleted."""
        self._connection.execute(
            "UPDATE archive.record SET document = NULL, simple = NULL, updated = %s "
            "WHERE ivoid = %s",
            (updated, ivoid),
        )

    def listed(self) -> list[StoredRecord]:
        """All records without their texts, by identifier."""
        with self._connection.cursor(row_factory=class_row(StoredRecord)) as cursor:
            return cursor.execute(
                f"SELECT {_columns(None)} FROM archive.record ORDER BY ivoid".encode()  # noqa: S608 - names from this module only
            ).fetchall()

    def document(self, ivoid: str) -> str | None:
        """The document of a record; None where it is deleted or not known."""
        row = self._connection.execute(
            "SELECT document FROM archive.record WHERE ivoid = %s", (ivoid.lower(),)
        ).fetchone()
        return row[0] if row else None

    def collections(self) -> list[KnownCollection]:
        """All collections, by name."""
        with self._connection.cursor(row_factory=class_row(KnownCollection)) as cursor:
            return cursor.execute(
                "SELECT name, title, description, definition FROM archive.collection ORDER BY name"
            ).fetchall()

    def covered(self, collection: str) -> Covered:
        """What the open rows of a collection cover."""
        parts = self._connection.execute(_COVERED, (collection,)).fetchall()
        firsts = [part[3] for part in parts if part[3] is not None]
        lasts = [part[4] for part in parts if part[4] is not None]
        bands = sorted((low, high) for *_, low, high in parts if low is not None)
        return Covered(
            sorted({part[0] for part in parts if part[0]}),
            sorted({part[1] for part in parts if part[1]}),
            (min(firsts), max(lasts)) if firsts and lasts else None,
            list(_merged(bands)),
            frozenset(part[2] for part in parts if part[2]),
        )


def _merged(intervals: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Intervals in order, with those that touch joined."""
    held: tuple[float, float] | None = None
    for low, high in intervals:
        if held is not None and low <= held[1]:
            held = (held[0], max(held[1], high))
            continue
        if held is not None:
            yield held
        held = (low, high)
    if held is not None:
        yield held
