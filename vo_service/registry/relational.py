"""A VOResource record as rows of the relational registry: of others and of this archive alike.

Pure: an element in, rows out. Source: RegTAP 1.2, "VOResource Tables", with its rules on blanks,
empty strings, lower case and terms that have been replaced.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lxml import etree

from vo_service.adql import moc
from vo_service.errors import UsageError
from vo_service.registry.reading import Notes, canonical_type, children, first, hash_list, inner
from vo_service.registry.relational_services import add_capabilities, add_details, add_tables

__all__ = ["MappedRecord", "Row", "is_ivoid", "map_record"]

Row = Mapping[str, Any]

_IVOID = re.compile(r"ivo://[a-z0-9][^\s?#/]{2,}(/[^\s?#]+)?", re.I)
_IVOID_LENGTH = 600

#: Characters of a coverage: MOCs may be long.
_MOC_LENGTH = 2_000_000

#: Cells of a degree: clients turn positions into cells of this order and ask which coverage has
#: all of such a cell, so finer ones would not be found.
_MOC_ORDER = 6

_STATUS: dict[str, Literal["active", "inactive", "deleted"]] = {
    "": "active",
    "active": "active",
    "inactive": "inactive",
    "deleted": "deleted",
}

#: Terms of VOResource 1.0 and what they became (RegTAP 1.2, "Mandatory translations").
_REPLACED = {
    "representative": "collected",
    "creation": "created",
    "mirror-of": "isidenticalto",
    "service-for": "isservicefor",
    "served-by": "isservedby",
    "derived-from": "isderivedfrom",
}


@dataclass(frozen=True, slots=True)
class MappedRecord:
    """Rows by table (without ``rr.``), each a mapping of columns; *notes* tell what is missing.

    Where *status* is not ``active`` there are no rows.
    """

    ivoid: str
    status: Literal["active", "inactive", "deleted"]
    rows: Mapping[str, list[Row]]
    notes: tuple[str, ...]


def is_ivoid(text: str) -> bool:
    """Whether *text* may be the identifier of a record."""
    return len(text) <= _IVOID_LENGTH and _IVOID.fullmatch(text) is not None


def map_record(root: etree._Element) -> MappedRecord:
    """The rows of a record.

    Parameters
    ----------
    root
        The ``ri:Resource`` element.

    Raises
    ------
    UsageError
        The record cannot be used at all: says what is wrong with which element.
    """
    identifier = inner(first(root, "identifier"))
    ivoid = identifier.lower()
    if not is_ivoid(ivoid):
        raise UsageError(
            f"identifier: {identifier[:80]!r} is none: expected ivo://authority/path, no ? and #"
        )
    said = root.get("status", "").strip().lower()
    status = _STATUS.get(said)
    if status is None:
        raise UsageError(f"@status: {said[:40]!r}: expected active, inactive or deleted")
    if status != "active":
        return MappedRecord(ivoid, status, {}, ())
    if canonical_type(root) is None:
        raise UsageError("@xsi:type: there is none: expected one, as vs:CatalogService")
    if not inner(first(root, "title")):
        raise UsageError("title: there is none")
    rows: dict[str, list[Row]] = defaultdict(list)
    notes = Notes()
    for add in (
        _add_resource, _add_roles, _add_content, _add_coverage, add_capabilities, add_tables,
        add_details,
    ):  # fmt: skip
        add(root, rows, notes)
    whole: dict[str, list[Row]] = {
        table: [{"ivoid": ivoid, **row} for row in found] for table, found in rows.items() if found
    }
    return MappedRecord(ivoid, status, whole, tuple(dict.fromkeys(notes.said)))


def _term(text: str | None) -> str | None:
    return _REPLACED.get(text, text) if text else None


def _add_resource(root: etree._Element, rows: dict[str, list[Row]], notes: Notes) -> None:
    content, curation = first(root, "content"), first(root, "curation")
    coverage = first(root, "coverage")
    source, rights = first(content, "source"), first(root, "rights")
    authors = (inner(one) for one in children(curation, "creator", "name"))
    region = inner(first(coverage, "regionOfRegard"))
    rows["resource"].append(
        {
            "res_type": canonical_type(root),
            "created": notes.time(root.get("created"), "@created"),
            "short_name": notes.child(root, "shortName"),
            "res_title": notes.long(first(root, "title"), "title"),
            "updated": notes.time(root.get("updated"), "@updated"),
            "content_level": _joined(content, "contentLevel", notes),
            "res_description": notes.long(first(content, "description"), "content/description"),
            "reference_url": notes.short(inner(first(content, "referenceURL")), "referenceURL"),
            "creator_seq": "; ".join(author for author in authors if author) or None,
            "content_type": _joined(content, "type", notes),
            "source_format": None
            if source is None
            else notes.attribute(source, "format", lower=True),
            "source_value": notes.short(inner(source), "content/source"),
            "res_version": notes.short(inner(first(curation, "version")), "curation/version"),
            "region_of_regard": notes.number(region, "coverage/regionOfRegard"),
            "waveband": _joined(coverage, "waveband", notes),
            "rights": notes.long(rights, "rights"),
            "rights_uri": None if rights is None else notes.attribute(rights, "rightsURI"),
        }
    )


def _joined(parent: etree._Element | None, name: str, notes: Notes) -> str | None:
    return hash_list(notes.short(inner(one), name, lower=True) for one in children(parent, name))


def _add_roles(root: etree._Element, rows: dict[str, list[Row]], notes: Notes) -> None:
    curation = first(root, "curation")
    for role in ("publisher", "creator", "contributor", "contact"):
        for one in children(curation, role):
            plain = role in ("publisher", "contributor")
            named = one if plain else first(one, "name")
            row: dict[str, Any] = {
                "base_role": role,
                "role_name": notes.short(inner(named), f"curation/{role}"),
                "role_ivoid": notes.short(
                    one.get("ivo-id") or (named.get("ivo-id") if named is not None else None),
                    f"curation/{role}/@ivo-id", lower=True,
                ),
            }  # fmt: skip
            if not plain:
                row["logo"] = notes.child(one, "logo")
            if role == "contact":
                row["street_address"] = notes.child(one, "address")
                row["email"] = notes.child(one, "email")
                row["telephone"] = notes.child(one, "telephone")
            rows["res_role"].append(row)
            for other in children(one, "altIdentifier"):
                _add_identifier(other, rows, notes)
    for date in children(curation, "date"):
        if moment := notes.time(inner(date), "curation/date"):
            role_of = notes.attribute(date, "role", lower=True)
            rows["res_date"].append({"date_value": moment, "value_role": _term(role_of)})


def _add_identifier(element: etree._Element, rows: dict[str, list[Row]], notes: Notes) -> None:
    if text := notes.short(inner(element), "altIdentifier"):
        rows["alt_identifier"].append({"alt_identifier": text})


def _add_content(root: etree._Element, rows: dict[str, list[Row]], notes: Notes) -> None:
    content = first(root, "content")
    for other in children(root, "altIdentifier"):
        _add_identifier(other, rows, notes)
    for subject in children(content, "subject"):
        if text := notes.short(inner(subject), "content/subject"):
            rows["res_subject"].append({"res_subject": text})
    for relation in children(content, "relationship"):
        kind = _term(notes.child(relation, "relationshipType", lower=True))
        for related in children(relation, "relatedResource"):
            rows["relationship"].append(
                {
                    "relationship_type": kind,
                    "related_id": notes.attribute(related, "ivo-id", lower=True),
                    "related_name": notes.short(inner(related), "relatedResource"),
                }
            )


def _add_coverage(root: etree._Element, rows: dict[str, list[Row]], notes: Notes) -> None:
    coverage = first(root, "coverage")
    for spatial in children(coverage, "spatial"):
        # Other frames are of other spheres: what lies there is nowhere on the sky.
        if spatial.get("frame", "ICRS").upper() == "ICRS" and (cells := _moc(spatial, notes)):
            rows["stc_spatial"].append({"coverage": cells})
    for name, table, ends in (
        ("temporal", "stc_temporal", ("time_start", "time_end")),
        ("spectral", "stc_spectral", ("spectral_start", "spectral_end")),
    ):
        for one in children(coverage, name):
            if found := notes.interval(one, f"coverage/{name}"):
                rows[table].append(dict(zip(ends, found, strict=True)))


def _moc(element: etree._Element, notes: Notes) -> str | None:
    text = inner(element)
    if len(text) > _MOC_LENGTH:
        notes.said.append(f"coverage/spatial: expected at most {_MOC_LENGTH} characters")
        return None
    try:
        found = moc.read(text)
    except ValueError as error:
        notes.said.append(f"coverage/spatial: {error}")
        return None
    coarse = {
        (order, a, b)
        if order <= _MOC_ORDER
        else (_MOC_ORDER, a >> 2 * (order - _MOC_ORDER), b >> 2 * (order - _MOC_ORDER))
        for order, a, b in found.ranges
    }
    return moc.Moc(tuple(sorted(coarse)), _MOC_ORDER).text if coarse else None
