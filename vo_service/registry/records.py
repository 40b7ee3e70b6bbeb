"""The records of an archive: authority, organisation, registry, services, collections.

Pure: the same facts give the same bytes, so a record is known to have changed by its content
alone. Dates are no part of it; `dated` puts them in when it is published.
Source: Registry Interfaces 1.1, "Required records"; VODataService 1.2, "Resource types".

Collections are vs:CatalogResource: vs:DataCollection is deprecated in VODataService 1.2 and can
have no capabilities. Names in ``ivo://<authority>/system/`` cannot be those of collections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from lxml import etree

from vo_service.formats.xmltext import add
from vo_service.registry.archive import ArchiveFacts, CollectionFacts, ServiceFacts
from vo_service.registry.description import Contact, Described, Relation
from vo_service.registry.dublin import dublin_core
from vo_service.registry.elements import (
    NAMESPACES,
    Subject,
    add_capabilities,
    add_coverage,
    add_hips,
    add_rights,
    resource,
)
from vo_service.registry.sky import joined

__all__ = ["MANAGED", "Record", "build_records", "collection_set", "dated"]

#: All records that originate here (RI 1.1, "Sets").
MANAGED = "ivo_managed"
_COLLECTIONS = "collection"

_SUBJECTS = ("observational-astronomy",)
_START = b"<ri:Resource "
_TABLES = b"<tableset/>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: *document* is an ``ri:Resource`` without dates, *simple* its Dublin Core."""

    identifier: str
    title: str
    sets: tuple[str, ...]
    document: bytes
    simple: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content; another one means that the record changed."""
        joined = b"\0".join((self.document, self.simple, " ".join(self.sets).encode()))
        return hashlib.sha256(joined).digest()


def collection_set(name: str) -> str:
    """The OAI-PMH set of a collection, below that of all collections."""
    return f"{_COLLECTIONS}:{name}"


def dated(document: bytes, created: datetime, updated: datetime) -> bytes:
    """A record's document with its dates; they must be UTC."""
    dates = f'created="{created:%Y-%m-%dT%H:%M:%SZ}" updated="{updated:%Y-%m-%dT%H:%M:%SZ}" '
    return document.replace(_START, _START + dates.encode(), 1)


def build_records(facts: ArchiveFacts) -> Iterator[Record]:
    """All records, those that others refer to first."""
    yield _authority(facts)
    yield _organisation(facts)
    yield _registry(facts)
    for service in facts.services:
        yield _service(facts, service)
    for collection in facts.collections:
        if collection.text.register_it:
            yield _collection(facts, collection)


def _organisation_of(facts: ArchiveFacts) -> tuple[str, str]:
    return facts.text.organisation.title or facts.publisher, facts.own("organisation")


def _contacts(facts: ArchiveFacts) -> tuple[Contact, ...]:
    name, _ = _organisation_of(facts)
    # Here and below: settings and titles are not checked as the fields of YAML files are, and
    # what XML cannot hold is replaced when it is written.
    return facts.text.contacts or (Contact.model_construct(name=name, email=facts.contact or None),)


def _subject(
    facts: ArchiveFacts, kind: str, identifier: str, said: Described, texts: tuple[str, str]
) -> Subject:
    """A subject with defaults; *texts* are title and description where nothing is said."""
    title, description = texts
    return Subject(
        kind=kind,
        identifier=identifier,
        title=said.title or title,
        short_name=said.short_name,
        description=said.description or description,
        subjects=said.subjects or facts.text.organisation.subjects or _SUBJECTS,
        reference_url=said.reference_url or f"{facts.root_url}/",
        publisher=_organisation_of(facts),
        contacts=_contacts(facts),
        creators=facts.text.creators,
    )


def _authority(facts: ArchiveFacts) -> Record:
    name, ivoid = _organisation_of(facts)
    said = facts.text.authority
    subject = _subject(
        facts, "vg:Authority", facts.ivoid(), said,
        (
            f"Naming authority {facts.authority}",
            f"The identifiers that begin with ivo://{facts.authority} are given by {name}.",
        ),
    )  # fmt: skip
    root = resource(subject)
    add(root, "managingOrg", name, **{"ivo-id": ivoid})
    return _record(root, subject)


def _organisation(facts: ArchiveFacts) -> Record:
    name, ivoid = _organisation_of(facts)
    said = facts.text.organisation
    subject = _subject(
        facts, "vr:Organisation", ivoid, said, (name, f"{name} publishes this archive.")
    )
    identifiers = (said.ror,) if said.ror else ()
    root = resource(replace(subject, identifiers=identifiers, types=("Organisation",)))
    for facility in said.facilities:
        add(root, "facility", facility)
    for instrument in said.instruments:
        add(root, "instrument", instrument)
    return _record(root, subject)


def _registry(facts: ArchiveFacts) -> Record:
    name, _ = _organisation_of(facts)
    subject = _subject(
        facts, "vg:Registry", facts.own("registry"), Described(),
        (
            f"Publishing registry of {name}",
            "Records of the collections and services of this archive, for harvesters (OAI-PMH).",
        ),
    )  # fmt: skip
    root = resource(replace(subject, types=("Registry",), creators=()))
    add_capabilities(root, [facts.harvesting])
    add(root, "full", "false")
    add(root, "managedAuthority", facts.authority)
    return _record(root, subject)


def _service(facts: ArchiveFacts, service: ServiceFacts) -> Record:
    name, _ = _organisation_of(facts)
    shown = [one for one in facts.collections if one.text.register_it and service.serves(one)]
    holds = "; ".join(
        f"{one.shown_title} ({', '.join((*one.facilities, *one.instruments))})" for one in shown
    )
    said = facts.text.service(service.key)
    subject = _subject(
        facts, "vs:CatalogService", facts.own(service.key), said,
        (
            _title_of(facts, service),
            f"{service.name} for the archive of {name}. It holds: {holds or 'nothing yet'}.",
        ),
    )  # fmt: skip
    terms = said.subjects or tuple(
        dict.fromkeys(term for one in shown for term in one.text.subjects)
    )
    served = tuple(
        Relation.model_construct(
            type="IsServiceFor", title=one.shown_title, ivoid=facts.ivoid(one.name)
        )
        for one in shown
    )
    root = resource(replace(subject, subjects=terms or subject.subjects, relations=served))
    add_rights(root, facts.text.rights)
    add_capabilities(root, [service.capabilities])
    for tag, values in (
        ("facility", (value for one in shown for value in one.facilities)),
        ("instrument", (value for one in shown for value in one.instruments)),
    ):
        for value in dict.fromkeys(values):
            add(root, tag, value)
    if shown:
        covered = joined([one.shown_coverage for one in shown])
        bands = (band for one in shown for band in one.text.coverage.wavebands)
        add_coverage(root, covered, dict.fromkeys(bands))
    if service.tables is not None:
        etree.SubElement(root, "tableset")
    return _record(root, subject, tables=service.tables)


def _title_of(facts: ArchiveFacts, service: ServiceFacts) -> str:
    said = facts.text.service(service.key)
    return said.title or f"{_organisation_of(facts)[0]}: {service.name}"


def _collection(facts: ArchiveFacts, collection: CollectionFacts) -> Record:
    said = collection.text
    services = [service for service in facts.services if service.serves(collection)]
    subject = _subject(
        facts, "vs:CatalogResource", facts.ivoid(collection.name), said,
        (collection.title, collection.description or collection.title),
    )  # fmt: skip
    served = tuple(
        Relation.model_construct(
            type="IsServedBy", title=_title_of(facts, service), ivoid=facts.own(service.key)
        )
        for service in services
    )
    root = resource(
        replace(
            subject,
            identifiers=(said.doi,) if said.doi else (),
            types=said.types,
            levels=said.levels,
            creators=said.creators or facts.text.creators,
            contacts=said.contacts or subject.contacts,
            more=said,
            relations=(*served, *said.relations),
        )
    )
    add_rights(root, said.rights or facts.text.rights)
    documents = [service.capabilities for service in services]
    add_capabilities(root, documents, auxiliary=True)
    add_hips(root, collection.hips)
    for facility in collection.facilities:
        add(root, "facility", facility)
    for instrument in collection.instruments:
        add(root, "instrument", instrument)
    coverage = add_coverage(root, collection.shown_coverage, said.coverage.wavebands)
    if (regard := said.coverage.region_of_regard) is not None:
        add(coverage, "regionOfRegard", f"{regard:g}")
    return _record(root, subject, _COLLECTIONS, collection_set(collection.name))


def _record(
    root: etree._Element, subject: Subject, *sets: str, tables: bytes | None = None
) -> Record:
    simple = dublin_core(root)
    etree.cleanup_namespaces(root, keep_ns_prefixes=list(NAMESPACES))  # of elements moved here
    etree.indent(root)
    document = etree.tostring(root, encoding="utf-8")
    if tables is not None:
        document = document.replace(_TABLES, b"<tableset>" + tables + b"</tableset>", 1)
    return Record(
        identifier=subject.identifier,
        title=subject.title,
        sets=(MANAGED, *sets),
        document=document,
        simple=simple,
    )
