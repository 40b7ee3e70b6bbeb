"""The publishing registry: records made of what is known, checked, and published if they changed.

A record that is not valid is not published: what was published before stays, and the reason is
told. Of a collection that is gone, or is no longer to be registered, a deleted record remains.
Source: Registry Interfaces 1.1; MISSION D2.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.coverage import CoverageStore
from vo_service.db.records import KnownCollection, RecordStore, StoredRecord
from vo_service.errors import NotFoundError
from vo_service.formats.vosi import tableset_elements
from vo_service.registry.archive import ArchiveFacts, CollectionFacts, Coverage, ServiceFacts
from vo_service.registry.description import (
    CollectionText,
    PublisherText,
    load_collection_text,
    load_publisher_text,
)
from vo_service.registry.records import Record, build_records, dated
from vo_service.registry.sky import short_moc
from vo_service.registry.validity import faults_of
from vo_service.services.capabilities import SERVICES, registry_capabilities
from vo_service.services.coverage import refresh_coverage
from vo_service.services.hips_output import hips_list
from vo_service.services.relational import mirror_own_records
from vo_service.settings import Settings

__all__ = [
    "PUBLISHER_FILE",
    "Published",
    "list_records",
    "publish_records",
    "registry_directory",
    "shipped_registry",
    "show_record",
]

PUBLISHER_FILE = "publisher.yaml"


@dataclass(slots=True)
class Published:
    """What a publication did: identifiers of records, and what kept others from it."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unchanged: int = 0
    refused: list[str] = field(default_factory=list)


def registry_directory(settings: Settings) -> Path:
    """Where the archive's own files about itself lie."""
    return settings.home / "registry"


def shipped_registry() -> Path:
    """Where the files of shipped collections lie: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_registry"
    return inside if inside.is_dir() else package.parent / "registry"


def publish_records(settings: Settings) -> Published:
    """Make all records anew and publish those that changed, in one transaction.

    Raises
    ------
    ConfigError
        If a file of ``registry/`` is wrong; then nothing is published.
    """
    refresh_coverage(settings)
    records = list(build_records(gather(settings)))
    done = Published()
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = RecordStore(connection)
        kept = _valid(settings, records, store, done)
        connection.commit()
        moment = store.lock()
        known = store.digests()
        for record in kept:
            ivoid = record.identifier.lower()
            digest, deleted, created = known.get(ivoid, (b"", True, moment))
            if digest == record.digest and not deleted:
                done.unchanged += 1
                continue
            store.put(
                record.identifier,
                title=record.title,
                sets=record.sets,
                document=dated(record.document, created, moment).decode(),
                simple=record.simple.decode(),
                digest=record.digest,
                created=created,
                updated=moment,
            )
            (done.changed if ivoid in known else done.added).append(record.identifier)
        wanted = {record.identifier.lower() for record in records}
        for ivoid, (_, deleted, _) in known.items():
            if ivoid not in wanted and not deleted:
                store.delete(ivoid, moment)
                done.deleted.append(ivoid)
        mirror_own_records(connection, [*done.added, *done.changed])
    return done


def _valid(
    settings: Settings, records: list[Record], store: RecordStore, done: Published
) -> list[Record]:
    """The records that may be published; of the others the reasons are told."""
    known = store.digests()
    moment = datetime.now(UTC)
    kept = []
    for record in records:
        digest, deleted, _ = known.get(record.identifier.lower(), (b"", True, moment))
        if digest == record.digest and not deleted:  # checked when it was published
            kept.append(record)
            continue
        faults = list(faults_of(dated(record.document, moment, moment), settings.authority))
        done.refused += [f"{record.identifier}: {fault}" for fault in faults]
        if not faults:
            kept.append(record)
    return kept


def list_records(settings: Settings) -> list[StoredRecord]:
    """All records that were ever published, without their texts."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return RecordStore(connection).listed()


def show_record(settings: Settings, identifier: str) -> str:
    """The document of a record as it is published.

    Raises
    ------
    NotFoundError
        If there is none, or it was deleted.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        document = RecordStore(connection).document(identifier)
    if document is None:
        raise NotFoundError(
            f"{identifier[:200]!r}: no such record is published; see 'vo-service registry list'"
        )
    return document


def gather(settings: Settings) -> ArchiveFacts:
    """Everything that records are made of, as it is now.

    Raises
    ------
    ConfigError
        If a file of ``registry/`` is wrong.
    """
    owner = engine(settings, Role.READER)
    try:
        with owner.connect() as connection:
            tables = tableset_elements(read_catalog(connection))
    finally:
        owner.dispose()
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        collections = list(_collections(settings, connection))
    return ArchiveFacts(
        authority=settings.authority,
        publisher=settings.publisher,
        contact=settings.contact,
        root_url=settings.root_url,
        text=_publisher_text(settings),
        services=[
            ServiceFacts(
                key=service.key,
                name=service.name,
                capabilities=service.capabilities(settings),
                tables=tables if service.key == "tap" else None,
                products=service.products,
            )
            for service in SERVICES
        ],
        harvesting=registry_capabilities(settings),
        collections=collections,
    )


def _collections(settings: Settings, connection: psycopg.Connection) -> Iterator[CollectionFacts]:
    store, coverages = RecordStore(connection), CoverageStore(connection)
    images: dict[str, list[str]] = defaultdict(list)
    for image in hips_list(settings):
        images[image.get("obs_collection", "")].append(image["hips_service_url"])
    for known in store.collections():
        found = store.covered(known.name)
        kept = coverages.get(known.name)
        times = found.times
        yield CollectionFacts(
            name=known.name,
            title=known.title,
            description=known.description or "",
            facilities=found.facilities or _said(known, "facility"),
            instruments=found.instruments or _said(known, "instrument"),
            text=_collection_text(settings, known.name),
            coverage=Coverage(
                spatial=short_moc(kept.space) if kept else None,
                # Whole days: a limit need not be precise, and a record that changes with
                # every frame is harvested for nothing.
                temporal=((math.floor(times[0]), math.ceil(times[1])),) if times else (),
                spectral=tuple(found.wavelengths),
            ),
            products=found.products,
            hips=tuple(images.get(known.name, ())),
        )


def _said(known: KnownCollection, name: str) -> list[str]:
    value = known.definition.get(name)
    return [value] if isinstance(value, str) and value else []


def _publisher_text(settings: Settings) -> PublisherText:
    own = registry_directory(settings) / PUBLISHER_FILE
    return load_publisher_text(own) if own.is_file() else PublisherText()


def _collection_text(settings: Settings, name: str) -> CollectionText:
    """The archive's own file, or the one that is shipped with the collection's."""
    for place in (registry_directory(settings), shipped_registry()):
        file = place / "collections" / f"{name}.yaml"
        if file.is_file():
            return load_collection_text(file)
    return CollectionText()
