"""What products were made of, kept: from headers, and from tables of the operator.

What was imported stands until it is imported anew; what headers say is written over by headers.
Runs as the writer, on one psycopg connection; the caller owns the transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from vo_service.model.observation import Frame, HDUHeader
from vo_service.model.provenance import Activity, Provenance, Reference

__all__ = ["Kept", "ProvenanceStore", "keep_frames"]

Connection = psycopg.Connection[Any]

#: A run may be told of by many files, each of which knows a part.
_ACTIVITY = """
INSERT INTO archive.activity
    (activity_id, collection, run, software, version, start_time, end_time, comment)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (activity_id) DO UPDATE SET
    software = coalesce(EXCLUDED.software, activity.software),
    start_time = coalesce(EXCLUDED.start_time, activity.start_time),
    end_time = coalesce(EXCLUDED.end_time, activity.end_time),
    comment = coalesce(EXCLUDED.comment, activity.comment)
WHERE (EXCLUDED.software, EXCLUDED.start_time, EXCLUDED.end_time, EXCLUDED.comment)
      IS DISTINCT FROM (activity.software, activity.start_time, activity.end_time, activity.comment)
"""
_FORGET_GENERATION = "DELETE FROM archive.generation WHERE product_id = ANY(%s) AND imported = %s"
_FORGET_DERIVATION = "DELETE FROM archive.derivation WHERE product_id = ANY(%s) AND imported = %s"
_GENERATION = """
INSERT INTO archive.generation (product_id, activity_id, generated, imported)
SELECT product_id, activity_id, generated, %s
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS t (product_id, activity_id, generated)
ON CONFLICT (product_id) DO NOTHING
"""
_DERIVATION = """
INSERT INTO archive.derivation (product_id, role, kind, collection, name, imported)
SELECT product_id, role, kind, collection, name, %s
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
     AS t (product_id, role, kind, collection, name)
ON CONFLICT DO NOTHING
"""
_RESOLVE = """
SELECT 'did', did, product_id FROM archive.product WHERE current AND did = ANY(%(names)s)
UNION ALL SELECT 'path', path, product_id FROM archive.product
WHERE current AND collection = %(collection)s AND path = ANY(%(names)s)
UNION ALL SELECT 'frame', frame_id, product_id FROM archive.product
WHERE current AND collection = %(collection)s AND frame_id = ANY(%(names)s)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A product with the headers that its file had when it was ingested."""

    product_id: int
    path: str
    did: str
    frame_id: str | None
    headers: tuple[HDUHeader, ...]


class ProvenanceStore:
    """Statements about provenance."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(
        self,
        collection: str,
        found: Mapping[int, Provenance | None],
        *,
        imported: bool = False,
    ) -> None:
        """Write down what products of a collection, by their number, came from.

        What was said of them before in the same way (by headers, or by a table) is forgotten;
        None says nothing of a product, and nothing is changed.
        """
        told = {number: provenance for number, provenance in found.items() if provenance}
        if not told:
            return
        for forget in (_FORGET_GENERATION, _FORGET_DERIVATION):
            self._connection.execute(forget, (list(told), imported))
        self._keep_activities(collection, told, imported=imported)
        used = [
            (number, file.role, file.kind, file.collection, file.name)
            for number, provenance in told.items()
            for file in provenance.used
        ]
        if used:
            self._connection.execute(_DERIVATION, (imported, *_columns(used)))

    def _keep_activities(
        self, collection: str, told: Mapping[int, Provenance], *, imported: bool
    ) -> None:
        activities: dict[str, Activity] = {}
        generated = []
        for number, provenance in told.items():
            if (activity := provenance.activity) is not None:
                identifier = activity.identifier(collection)
                activities[identifier] = activity
                generated.append((number, identifier, provenance.generated))
        if not generated:
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _ACTIVITY,
                # In one order, so that no two writers wait for each other.
                [
                    (name, collection, a.run, a.software, a.version, a.start, a.end, a.comment)
                    for name, a in sorted(activities.items())
                ],
            )
        if imported:
            self._connection.execute(
                "DELETE FROM archive.generation WHERE product_id = ANY(%s)",
                ([number for number, _, _ in generated],),
            )
        self._connection.execute(_GENERATION, (imported, *_columns(generated)))

    def forget_idle(self, collection: str) -> None:
        """Delete activities of a collection that made nothing."""
        self._connection.execute(
            "DELETE FROM archive.activity a WHERE collection = %s AND NOT EXISTS "
            "(SELECT FROM archive.generation g WHERE g.activity_id = a.activity_id)",
            (collection,),
        )

    def products(self, references: Sequence[Reference]) -> dict[Reference, list[int]]:
        """Numbers of the current products of these names; of a frame there may be several."""
        wanted: dict[str, dict[str, set[str]]] = {}
        for file in references:
            wanted.setdefault(file.collection, {}).setdefault(file.name, set()).add(file.kind)
        known: dict[tuple[str, str, str], list[int]] = {}
        for collection, names in wanted.items():
            rows = self._connection.execute(
                _RESOLVE, {"collection": collection, "names": list(names)}
            )
            for kind, name, number in rows:
                if kind in names[name]:
                    known.setdefault((collection, kind, name), []).append(number)
        return {file: known.get((file.collection, file.kind, file.name), []) for file in references}

    def has_collection(self, collection: str) -> bool:
        """Whether there is a collection of this name."""
        row = self._connection.execute(
            "SELECT FROM archive.collection WHERE name = %s", (collection,)
        ).fetchone()
        return row is not None

    def headers(self, collection: str) -> Iterator[Kept]:
        """The current products of a collection, a few in memory at a time; in a transaction."""
        with self._connection.cursor(name="kept_headers") as cursor:
            cursor.itersize = 200  # headers of a file may be a megabyte
            cursor.execute(
                "SELECT product_id, path, did, frame_id, headers FROM archive.product "
                "WHERE collection = %s AND current ORDER BY product_id",
                (collection,),
            )
            for number, path, did, frame_id, headers in cursor:
                yield Kept(number, path, did, frame_id, tuple(map(_header, headers)))


def keep_frames(connection: Connection, ids: Sequence[int], frames: Sequence[Frame]) -> None:
    """Write down what frames, which are products *ids*, came from as far as headers say it."""
    told: dict[str, dict[int, Provenance | None]] = {}
    for number, frame in zip(ids, frames, strict=True):
        told.setdefault(frame.product.collection, {})[number] = frame.product.provenance
    for collection, found in told.items():
        ProvenanceStore(connection).keep(collection, found)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _header(kept: dict[str, Any]) -> HDUHeader:
    return HDUHeader(**kept | {"cards": tuple(tuple(card) for card in kept["cards"])})
