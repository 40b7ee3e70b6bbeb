"""Statements about imported lists: kept, replaced, forgotten, and what they decide of frames.

A list is replaced by one of the same name. Runs as the writer; the caller owns the transactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.model.release_lists import (
    Hold,
    Kind,
    Prolongation,
    ReleaseList,
)

__all__ = ["Imported", "ListStore"]

_TABLES = {
    Kind.PROLONGATIONS: ("prolongation", ("proposal_id", "until", "reason")),
    Kind.HOLDS: ("hold", ("first_night", "last_night", "instrument", "until", "reason")),
    Kind.FRAMES: ("frame_decision", ("frame", "state", "since", "reason")),
}

#: Products that lists of frames name. A name that several files have is no name: it closes all
#: of them, but opens none.
_NAMED = """
WITH entry AS (
    SELECT f.list_id, f.line, f.frame, f.state, f.since, l.name || coalesce(' (' || f.reason || ')',
           '') AS list
    FROM archive.frame_decision f JOIN archive.release_list l ON l.list_id = f.list_id
    WHERE l.collection = %(collection)s),
frame AS (SELECT DISTINCT frame FROM entry),
by_path AS (
    SELECT frame, product_id, 1 AS files
    FROM frame JOIN archive.product p ON p.collection = %(collection)s AND p.path = frame
    WHERE p.current),
by_name AS (
    SELECT frame, product_id, count(*) OVER (PARTITION BY frame) AS files
    FROM frame JOIN archive.product p ON p.collection = %(collection)s
         AND p.frame_id IN (frame, archive.frame_name(frame))
    WHERE p.current AND frame NOT LIKE '%%/%%' AND frame NOT IN (SELECT frame FROM by_path)),
named AS (SELECT * FROM by_path UNION ALL SELECT * FROM by_name)
"""

#: The newest decision up to today is in force; the first public one after today comes next.
_DECIDE = f"""{_NAMED},
meant AS (
    SELECT product_id, e.* FROM named JOIN entry e USING (frame)
    WHERE files = 1 OR e.state = 'private'),
present AS (
    SELECT DISTINCT ON (product_id) product_id, state, since, list FROM meant
    WHERE since <= %(today)s ORDER BY product_id, since DESC, list_id DESC, line DESC),
coming AS (
    SELECT DISTINCT ON (product_id) product_id, since, list FROM meant
    WHERE since > %(today)s AND state = 'public' ORDER BY product_id, since, list_id DESC)
INSERT INTO archive.decided (product_id, collection, closed, opens, rule)
SELECT product_id, %(collection)s, coalesce(p.state = 'private', false),
       CASE p.state WHEN 'public' THEN p.since ELSE coalesce(c.since, 'infinity') END,
       CASE WHEN p.state IS NULL THEN 'public from ' || c.since || ' by list ' || c.list
            ELSE p.state || ' from ' || p.since || ' by list ' || p.list END
FROM present p FULL JOIN coming c USING (product_id)
"""  # noqa: S608 - no value from outside


@dataclass(frozen=True, slots=True)
class Imported:
    """A list that the archive has taken in; *by_file*: the collection file names it."""

    list_id: int
    collection: str
    name: str
    kind: str
    by_file: bool
    digest: str
    lines: int
    imported: datetime
    actor: str


class ListStore:
    """Statements about lists, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def has_collection(self, name: str) -> bool:
        """Whether there is a collection of that name."""
        row = self.connection.execute(
            "SELECT EXISTS (SELECT FROM archive.collection WHERE name = %s)", (name,)
        ).fetchone()
        return bool(row and row[0])

    def lists(self, collection: str | None = None) -> list[Imported]:
        """Lists of a collection, or all, in the order in which they came."""
        with self.connection.cursor(row_factory=class_row(Imported)) as cursor:
            cursor.execute(
                "SELECT list_id, collection, name, kind, by_file, digest, lines, imported, actor "
                "FROM archive.release_list WHERE collection = coalesce(%s, collection) "
                "ORDER BY collection, list_id",
                (collection,),
            )
            return cursor.fetchall()

    def put_list(
        self, collection: str, given: ReleaseList, name: str, *, by_file: bool, actor: str
    ) -> int:
        """Take in a list in place of one of the same name; its number."""
        self.drop_list(collection, name, by_file=by_file)
        row = self.connection.execute(
            "INSERT INTO archive.release_list "
            "(collection, name, kind, by_file, digest, lines, actor) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING list_id",
            (collection, name, given.kind, by_file, given.digest, len(given.entries), actor),
        ).fetchone()
        assert row is not None  # noqa: S101 - RETURNING gives a row
        table, columns = _TABLES[given.kind]
        with self.connection.cursor().copy(
            f"COPY archive.{table} (list_id, line, {', '.join(columns)}) FROM STDIN"
        ) as copy:
            for entry in given.entries:
                copy.write_row(
                    (row[0], entry.line, *(getattr(entry, column) for column in columns))
                )
        return int(row[0])

    def drop_list(self, collection: str, name: str, *, by_file: bool) -> bool:
        """Forget a list; False if there was none of that name."""
        cursor = self.connection.execute(
            "DELETE FROM archive.release_list WHERE collection = %s AND name = %s AND by_file = %s",
            (collection, name, by_file),
        )
        return cursor.rowcount == 1

    def unknown(self, collection: str, list_id: int, kind: Kind) -> list[tuple[int, str, int]]:
        """Lines of a list that name nothing here, or several files: line, name, files."""
        question = {
            Kind.PROLONGATIONS: "SELECT line, proposal_id, 0 FROM archive.prolongation l "
            "WHERE list_id = %(list)s AND NOT EXISTS (SELECT FROM archive.volume v WHERE "
            "v.collection = %(collection)s AND v.proposal_id = l.proposal_id) ORDER BY line",
            Kind.HOLDS: "SELECT line, instrument, 0 FROM archive.hold l WHERE list_id = %(list)s "
            "AND instrument IS NOT NULL AND NOT EXISTS (SELECT FROM archive.volume v WHERE "
            "v.collection = %(collection)s AND v.instrument = l.instrument) ORDER BY line",
            Kind.FRAMES: _NAMED + "SELECT line, frame, coalesce(max(files), 0) "
            "FROM entry LEFT JOIN named USING (frame) WHERE list_id = %(list)s "
            "GROUP BY line, frame HAVING coalesce(max(files), 0) <> 1 ORDER BY line",
        }[kind]
        values = {"collection": collection, "list": list_id}
        return self.connection.execute(question.encode(), values).fetchall()

    def prolongations(self, collection: str) -> list[Prolongation]:
        """What all lists of a collection say of proposals."""
        with self.connection.cursor(row_factory=class_row(Prolongation)) as cursor:
            cursor.execute(
                "SELECT line, proposal_id, until, p.reason FROM archive.prolongation p "
                "JOIN archive.release_list l USING (list_id) WHERE collection = %s "
                "ORDER BY list_id, line",
                (collection,),
            )
            return cursor.fetchall()

    def holds(self, collection: str) -> list[Hold]:
        """What all lists of a collection say of nights."""
        with self.connection.cursor(row_factory=class_row(Hold)) as cursor:
            cursor.execute(
                "SELECT line, first_night, last_night, instrument, until, h.reason "
                "FROM archive.hold h JOIN archive.release_list l USING (list_id) "
                "WHERE collection = %s ORDER BY list_id, line",
                (collection,),
            )
            return cursor.fetchall()

    def decide(self, collection: str, today: date) -> None:
        """Work out anew what lists of frames say of products today."""
        self.connection.execute("DELETE FROM archive.decided WHERE collection = %s", (collection,))
        if any(known.kind == Kind.FRAMES for known in self.lists(collection)):
            self.connection.execute(_DECIDE.encode(), {"collection": collection, "today": today})
