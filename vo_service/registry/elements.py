"""Pieces of VOResource records, in the order that the schema wants.

Source: VOResource 1.2, "The Resource element"; VODataService 1.2, "Coverage".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from astropy import constants
from lxml import etree

from vo_service.formats.xmltext import add
from vo_service.registry.archive import Coverage
from vo_service.registry.description import (
    CollectionText,
    Contact,
    Creator,
    Relation,
    Rights,
)

__all__ = [
    "NAMESPACES",
    "TYPE",
    "Subject",
    "add_capabilities",
    "add_content",
    "add_coverage",
    "add_curation",
    "add_hips",
    "add_rights",
    "resource",
]

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_RI = "http://www.ivoa.net/xml/RegistryInterface/v1.0"
TYPE = f"{{{_XSI}}}type"

#: Declared on every record, since values of xsi:type use them (RI 1.1, "Metadata formats").
NAMESPACES = {
    "ri": _RI,
    "xsi": _XSI,
    "vr": "http://www.ivoa.net/xml/VOResource/v1.0",
    "vs": "http://www.ivoa.net/xml/VODataService/v1.1",
    "vg": "http://www.ivoa.net/xml/VORegistry/v1.0",
    "tr": "http://www.ivoa.net/xml/TAPRegExt/v1.0",
    "cs": "http://www.ivoa.net/xml/ConeSearch/v1.0",
    "sia": "http://www.ivoa.net/xml/SIA/v1.1",
    "ssap": "http://www.ivoa.net/xml/SSA/v1.1",
}

#: Standards whose services registries list; a collection that one of them serves says so with
#: the identifier on the right (VODataService 1.2, "Auxiliary capabilities").
_AUXILIARY = {
    "ivo://ivoa.net/std/TAP": "ivo://ivoa.net/std/TAP#aux",
    "ivo://ivoa.net/std/SIA": "ivo://ivoa.net/std/SIA#aux",
    "ivo://ivoa.net/std/SIA#query-2.0": "ivo://ivoa.net/std/SIA#query-aux-2.0",
    "ivo://ivoa.net/std/SSA": "ivo://ivoa.net/std/SSA#aux",
    "ivo://ivoa.net/std/ConeSearch": "ivo://ivoa.net/std/ConeSearch#aux",
    "ivo://ivoa.net/std/DataLink#links-1.1": "ivo://ivoa.net/std/DataLink#links-1.1",
    "ivo://ivoa.net/std/SODA#sync-1.0": "ivo://ivoa.net/std/SODA#sync-1.0",
    "ivo://ivoa.net/std/SODA#async-1.0": "ivo://ivoa.net/std/SODA#async-1.0",
}

_HIPS = "ivo://ivoa.net/std/hips#hips-1.0"

#: h c, in J m.
_HC = float((constants.h * constants.c).to_value("J m"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a record says of the resource before anything special to its type."""

    kind: str
    identifier: str
    title: str
    short_name: str | None
    description: str
    subjects: Sequence[str]
    reference_url: str
    publisher: tuple[str, str]
    contacts: Sequence[Contact]
    creators: Sequence[Creator] = ()
    types: Sequence[str] = ("Archive",)
    levels: Sequence[str] = ("Research",)
    identifiers: Sequence[str] = ()
    more: CollectionText = field(default_factory=CollectionText)
    relations: Sequence[Relation] = ()


def resource(subject: Subject) -> etree._Element:
    """A record with all that any resource has; its dates come when it is published."""
    root = etree.Element(f"{{{_RI}}}Resource", {"status": "active"}, nsmap=NAMESPACES)
    root.set(TYPE, subject.kind)
    add(root, "title", subject.title)
    if subject.short_name:
        add(root, "shortName", subject.short_name)
    add(root, "identifier", subject.identifier)
    for other in subject.identifiers:
        add(root, "altIdentifier", other)
    add_curation(root, subject)
    add_content(root, subject)
    return root


def add_curation(root: etree._Element, subject: Subject) -> None:
    """Who publishes, who made it, whom to ask."""
    curation = add(root, "curation")
    name, ivoid = subject.publisher
    add(curation, "publisher", name, **{"ivo-id": ivoid})
    for creator in subject.creators:
        element = add(curation, "creator")
        add(element, "name", creator.name)
        if creator.logo:
            add(element, "logo", creator.logo)
        if creator.orcid:
            add(element, "altIdentifier", creator.orcid)
    for contributor in subject.more.contributors:
        add(curation, "contributor", contributor)
    for moment in subject.more.dates:
        add(curation, "date", moment.day.isoformat(), role=moment.role)
    if subject.more.version:
        add(curation, "version", subject.more.version)
    for contact in subject.contacts:
        element = add(curation, "contact")
        add(element, "name", contact.name)
        for tag, text in (
            ("address", contact.address),
            ("email", contact.email),
            ("telephone", contact.telephone),
        ):
            if text:
                add(element, tag, text)


def add_content(root: etree._Element, subject: Subject) -> None:
    """What it is about."""
    content = add(root, "content")
    for term in subject.subjects:
        add(content, "subject", term)
    add(content, "description", subject.description)
    if subject.more.bibcode:
        add(content, "source", subject.more.bibcode, format="bibcode")
    add(content, "referenceURL", subject.reference_url)
    for kind in subject.types:
        add(content, "type", kind)
    for level in subject.levels:
        add(content, "contentLevel", level)
    for relation in subject.relations:
        element = add(content, "relationship")
        add(element, "relationshipType", relation.type)
        add(element, "relatedResource", relation.title, **{"ivo-id": relation.ivoid})


def add_rights(root: etree._Element, rights: Rights | None) -> None:
    """On what conditions it may be used."""
    if rights is not None:
        add(root, "rights", rights.text, rightsURI=rights.url)


def add_capabilities(
    root: etree._Element, documents: Iterable[bytes], *, auxiliary: bool = False
) -> None:
    """Capabilities as VOSI documents hold them.

    With *auxiliary* only the standard interface of each standard that has one, under the
    identifier that says: the description of the service itself is elsewhere.
    """
    for text in documents:
        for capability in etree.fromstring(text):
            if not auxiliary:
                root.append(capability)
                continue
            standard = _AUXILIARY.get(capability.get("standardID") or "")
            interface = capability.find("interface[@role='std']")
            if standard and interface is not None:
                element = add(root, "capability", standardID=standard)
                element.append(interface)


def add_hips(root: etree._Element, addresses: Iterable[str]) -> None:
    """Sky images of a collection (HiPS 1.0, "HiPS and the VO registry")."""
    for address in addresses:
        element = add(root, "capability", standardID=_HIPS)
        interface = add(element, "interface", **{TYPE: "vs:ParamHTTP"}, role="std")
        add(interface, "accessURL", address, use="base")


def add_coverage(
    root: etree._Element, covered: Coverage, wavebands: Iterable[str]
) -> etree._Element:
    """Where, when and at which energies."""
    coverage = add(root, "coverage")
    spatial, temporal, spectral = covered.spatial, covered.temporal, covered.spectral
    if spatial:
        add(coverage, "spatial", re.sub(r"\s+", " ", spatial.strip()))
    for first, last in temporal:
        add(coverage, "temporal", f"{first:.6f} {last:.6f}")
    for shortest, longest in spectral:
        # Energies: the longest wavelength is the lowest of them.
        add(coverage, "spectral", f"{_HC / longest:.6g} {_HC / shortest:.6g}")
    for messenger in wavebands:
        add(coverage, "waveband", messenger)
    return coverage
