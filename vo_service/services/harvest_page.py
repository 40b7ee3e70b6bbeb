"""A page of harvested records into the relational registry, in the caller's transaction.

A record belongs to the source that gave it first, as long as it is active there; those of this
archive belong to nobody else. One that cannot be used is refused with the reason, and what was
known of it before stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from lxml import etree

from vo_service.db.harvests import HarvestStore, Known, Source, Taken
from vo_service.db.relational import RelationalStore, Rows
from vo_service.errors import UsageError
from vo_service.registry.oai_page import OaiAnswer, OaiRecord
from vo_service.registry.relational import is_ivoid, map_record

__all__ = ["Harvested", "take_page"]

_BATCH = 50

#: What the database says of values that it cannot hold, and of a coverage that is none.
_UNFIT = (
    psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.InternalError_,
)  # fmt: skip


@dataclass(slots=True)
class Harvested:
    """What a harvest has done so far.

    *taken* records came, those of an interrupted harvest that this one continues (*before*)
    included, of *size* in all where the source says so. *elsewhere* are records that another source
    gives, or this archive itself. *reasons* tell what was refused or left out, a line each.
    """

    url: str
    before: int = 0
    taken: int = 0
    size: int | None = None
    pages: int = 0
    new: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    refused: int = 0
    elsewhere: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Prepared:
    taken: Taken
    rows: Rows = field(default_factory=dict)


def take_page(
    connection: psycopg.Connection[Any],
    source: Source,
    answer: OaiAnswer,
    authority: str,
    done: Harvested,
    *,
    anew: bool,
) -> None:
    """Read the records of an answer and write them.

    Parameters
    ----------
    connection
        Of the writer.
    source, answer
        Where the answer came from, and what it is.
    authority
        The one of this archive, whose records are not taken from others.
    done
        What is counted.
    anew
        Whether records are written even if they are as they were.

    Raises
    ------
    UsageError
        This is no answer of OAI-PMH.
    """
    batch: dict[str, _Prepared] = {}
    writer = _Writer(connection, source, done, anew)
    own = f"ivo://{authority}".lower()
    for record in answer.records():
        done.taken += 1
        ivoid = record.identifier.lower()
        if ivoid == own or ivoid.startswith(f"{own}/"):
            done.elsewhere += 1
            continue
        prepared = _prepared(record, ivoid)
        if not is_ivoid(ivoid):
            done.refused += 1
            done.reasons.append(f"{ivoid[:200] or 'a record'}: {prepared.taken.reason}")
            continue
        batch[ivoid] = prepared
        if len(batch) >= _BATCH:
            writer.write(batch)
            batch = {}
    writer.write(batch)


def _prepared(record: OaiRecord, ivoid: str) -> _Prepared:
    if record.deleted and is_ivoid(ivoid):
        return _Prepared(Taken(ivoid, record.datestamp, "deleted"))
    resource = record.resource
    if resource is None:
        reason = record.reason or "its identifier is no IVOA identifier"
        return _Prepared(Taken(ivoid, record.datestamp, "refused", reason=reason))
    digest = hashlib.sha256(etree.tostring(resource, with_tail=False)).digest()
    try:
        mapped = map_record(resource)
        if mapped.ivoid != ivoid:
            raise UsageError(f"identifier: is {mapped.ivoid[:200]} within the record")
    except UsageError as error:
        return _Prepared(Taken(ivoid, record.datestamp, "refused", digest, str(error)))
    noted = "; ".join(mapped.notes) or None
    return _Prepared(Taken(ivoid, record.datestamp, mapped.status, digest, noted), mapped.rows)


class _Writer:
    """Writes batches of records, and counts."""

    def __init__(
        self, connection: psycopg.Connection[Any], source: Source, done: Harvested, anew: bool
    ) -> None:
        self._connection = connection
        self._source = source
        self._done = done
        self._anew = anew
        self._store = HarvestStore(connection)
        self._relational = RelationalStore(connection)

    def write(self, batch: dict[str, _Prepared]) -> None:
        """Write records, by identifier."""
        known = self._store.known(batch)
        put, note, seen = [], [], []
        for ivoid, prepared in batch.items():
            before = known.get(ivoid)
            if before and self._is_elsewhere(before):
                self._done.elsewhere += 1
            elif before and not self._anew and _same(before, prepared.taken):
                self._done.unchanged += 1
                seen.append(ivoid)
            elif prepared.taken.state == "active":
                put.append(prepared)
            else:
                note.append(self._without_rows(prepared.taken, before))
        note += [self._counted(taken, known) for taken in self._put(put)]
        self._relational.remove(taken.ivoid for taken in note if taken.state != "active")
        self._store.note(self._source, note)
        self._store.seen(self._source, seen)

    def _is_elsewhere(self, before: Known) -> bool:
        if before.source_id == self._source.source_id:
            return False
        return before.source_id is None or before.state == "active"

    def _without_rows(self, taken: Taken, before: Known | None) -> Taken:
        if taken.state != "refused":
            self._done.deleted += 1
            return taken
        return self._refused(taken, before)

    def _refused(self, taken: Taken, before: Known | None) -> Taken:
        self._done.refused += 1
        self._done.reasons.append(f"{taken.ivoid}: {taken.reason}")
        if before is None or before.state != "active":
            return taken
        reason = f"its newer version cannot be used: {taken.reason}"
        return Taken(taken.ivoid, taken.datestamp, "active", before.digest, reason)

    def _counted(self, taken: Taken, known: dict[str, Known]) -> Taken:
        before = known.get(taken.ivoid)
        if taken.state == "refused":
            return self._refused(taken, before)
        if taken.reason:
            self._done.reasons.append(f"{taken.ivoid}: {taken.reason}")
        if before is not None and before.state == "active":
            self._done.changed += 1
        else:
            self._done.new += 1
        return taken

    def _put(self, records: list[_Prepared]) -> Iterable[Taken]:
        """Write rows of records; those that the database cannot hold are refused."""
        if not records:
            return []
        try:
            with self._connection.transaction():
                self._relational.put([(p.taken.ivoid, p.rows) for p in records])
        except _UNFIT as error:
            if len(records) > 1:
                return [taken for record in records for taken in self._put([record])]
            taken = records[0].taken
            reason = f"the database cannot hold it: {error.diag.message_primary}"
            return [Taken(taken.ivoid, taken.datestamp, "refused", taken.digest, reason)]
        return [record.taken for record in records]


def _same(before: Known, taken: Taken) -> bool:
    return before.state == taken.state and before.digest == taken.digest
