"""What a service says of itself: VOSI capabilities, availability and tables.

Source: VOSI 1.1; TAP 1.1, "VOSI"; TAPRegExt 1.0; VODataService 1.2; VOResource 1.1 and 1.2
(documents are valid under both). Limits are seconds and rows.
Written with lxml: vo-models 0.5 gives columns an ``xtype`` element, which no schema allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import Literal

from lxml import etree

from vo_service.formats.output import OutputFormat
from vo_service.formats.xmltext import add, document
from vo_service.model.table import Catalog, Column, ForeignKey, Table

__all__ = [
    "OBSCORE_MODEL",
    "CapabilitiesInfo",
    "Limit",
    "add_interface",
    "add_vosi",
    "availability",
    "capabilities",
    "capabilities_root",
    "service_capabilities",
    "table_document",
    "tableset",
    "tableset_elements",
]

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = f"{{{_XSI}}}type"
_CAPABILITIES = "http://www.ivoa.net/xml/VOSICapabilities/v1.0"
_AVAILABILITY = "http://www.ivoa.net/xml/VOSIAvailability/v1.0"
_TABLES = "http://www.ivoa.net/xml/VOSITables/v1.0"
# Prefixes that stand in values of xsi:type must be declared even where no element has them.
_PREFIXES = {
    "xsi": _XSI,
    "vr": "http://www.ivoa.net/xml/VOResource/v1.0",
    "vs": "http://www.ivoa.net/xml/VODataService/v1.1",
    "tr": "http://www.ivoa.net/xml/TAPRegExt/v1.0",
    "cs": "http://www.ivoa.net/xml/ConeSearch/v1.0",
    "sia": "http://www.ivoa.net/xml/SIA/v1.1",
    "ssap": "http://www.ivoa.net/xml/SSA/v1.1",
}
_STD = "ivo://ivoa.net/std"

#: Name and identifier of the data model of ``ivoa.obscore``.
OBSCORE_MODEL = ("ObsCore-1.1", f"{_STD}/ObsCore#core-1.1")


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds unless something is asked for, and what cannot be exceeded; None: no limit."""

    default: int | None = None
    hard: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitiesInfo:
    """What a TAP service can do.

    Parameters
    ----------
    base_url
        Address of the service, without a slash at the end.
    features
        Optional parts of ADQL: (type, form, description), those of a type together.
    formats
        Output formats, the default first.
    output
        Rows of a result.
    execution, retention
        Seconds that a job may run, and that it is kept.
    upload_methods, upload
        Of ``inline http https``, and rows of an uploaded table.
    examples
        Whether the service has the examples endpoint.
    security_methods
        Identifiers of ways to log in; none is needed.
    """

    base_url: str
    features: Sequence[tuple[str, str, str | None]]
    formats: Sequence[OutputFormat]
    output: Limit
    execution: Limit | None = None
    retention: Limit | None = None
    upload_methods: Sequence[str] = ()
    upload: Limit | None = None
    versions: Sequence[str] = ("2.0", "2.1")
    data_models: Sequence[tuple[str, str]] = (OBSCORE_MODEL,)
    examples: bool = True
    security_methods: Sequence[str] = ()


def capabilities(caps: CapabilitiesInfo) -> bytes:
    """The VOSI capabilities document of a TAP service."""
    root = capabilities_root()
    _add_tap(root, caps)
    add_vosi(root, caps.base_url, "capabilities", "availability", "tables-1.1")
    if caps.examples:
        capability = add(root, "capability", standardID=f"{_STD}/DALI#examples")
        add_interface(capability, "vr:WebBrowser", f"{caps.base_url}/examples", "full")
    return document(root)


def service_capabilities(
    base_url: str,
    standard_id: str,
    access_url: str,
    result_type: str,
    *,
    more: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The VOSI capabilities document of a service that a standard describes wholly.

    Parameters
    ----------
    base_url
        Of the VOSI endpoints, without a slash at the end.
    standard_id, access_url, result_type
        What the service is, where it is, and the media type of its answers.
    more
        Further standards that it follows, and where.
    """
    root = capabilities_root()
    for standard, url in ((standard_id, access_url), *more):
        capability = add(root, "capability", standardID=standard)
        interface = add_interface(capability, "vs:ParamHTTP", url, "base", role="std")
        add(interface, "resultType", result_type)
    add_vosi(root, base_url, "capabilities", "availability")
    return document(root)


def availability(
    available: bool,
    *,
    up_since: datetime | None = None,
    down_at: datetime | None = None,
    back_at: datetime | None = None,
    notes: Sequence[str] = (),
) -> bytes:
    """The VOSI availability document; times must know their zone."""
    root = etree.Element(f"{{{_AVAILABILITY}}}availability", nsmap={"vosi": _AVAILABILITY})
    inside = f"{{{_AVAILABILITY}}}"  # alone among VOSI's schemas it qualifies its elements
    add(root, f"{inside}available", "true" if available else "false")
    for name, time in (("upSince", up_since), ("downAt", down_at), ("backAt", back_at)):
        if time is not None:
            add(root, inside + name, f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    for note in notes:
        add(root, f"{inside}note", note)
    return document(root)


def tableset(catalog: Catalog, detail: Literal["min", "max"] = "max") -> bytes:
    """The VOSI tables document; ``min`` leaves columns and keys out."""
    keys: dict[str, list[ForeignKey]] = {}
    for key in catalog.keys:
        keys.setdefault(key.from_table, []).append(key)
    written = BytesIO()
    # Table by table: a tree of all of them takes 150 kB for each.
    with etree.xmlfile(written, encoding="utf-8") as file:
        file.write_declaration()
        with file.element(f"{{{_TABLES}}}tableset", nsmap={"vosi": _TABLES, **_PREFIXES}):
            for schema in catalog.schemas:
                with file.element("schema"):
                    names = etree.Element("schema")
                    _add_names(names, schema.name, schema.description, schema.utype)
                    file.write(*names, pretty_print=True)
                    for table in schema.tables:
                        element = etree.Element("table", nsmap={"xsi": _XSI})
                        _fill_table(element, table, keys.get(table.name, ()), detail)
                        file.write(element, pretty_print=True)
    return written.getvalue()


def tableset_elements(catalog: Catalog) -> bytes:
    """What stands inside the VOSI tables document, for a registry record to hold."""
    _, _, inside = tableset(catalog).partition(b"tableset ")
    return inside.partition(b">")[2].rpartition(b"</")[0]


def table_document(table: Table, keys: Sequence[ForeignKey] = ()) -> bytes:
    """The VOSI document of one table, with the foreign keys that start from it."""
    root = _root(_TABLES, "table")
    _fill_table(root, table, keys, "max")
    return document(root)


def capabilities_root() -> etree._Element:
    """The root of a capabilities document."""
    return _root(_CAPABILITIES, "capabilities")


def _root(namespace: str, name: str) -> etree._Element:
    return etree.Element(f"{{{namespace}}}{name}", nsmap={"vosi": namespace, **_PREFIXES})


def add_interface(
    capability: etree._Element, kind: str, url: str, use: str, **attributes: str
) -> etree._Element:
    """An interface of one address."""
    interface = add(capability, "interface", **{_TYPE: kind}, **attributes)
    add(interface, "accessURL", url, use=use)
    return interface


def add_vosi(root: etree._Element, base_url: str, *standards: str) -> None:
    """Capabilities of VOSI; a standard's name without its version is its endpoint's."""
    for standard in standards:
        capability = add(root, "capability", standardID=f"{_STD}/VOSI#{standard}")
        url = f"{base_url}/{standard.partition('-')[0]}"
        add_interface(capability, "vs:ParamHTTP", url, "full")


def _add_tap(root: etree._Element, caps: CapabilitiesInfo) -> None:
    tap = add(root, "capability", **{_TYPE: "tr:TableAccess"}, standardID=f"{_STD}/TAP")
    add_interface(tap, "vs:ParamHTTP", caps.base_url, "base", role="std", version="1.1")
    # VOResource 1.2 lets an interface have one method, 1.1 wants one without any; the standard
    # one is that, so registries and clients that know of no login find exactly one.
    for method in caps.security_methods:
        again = add_interface(tap, "vs:ParamHTTP", caps.base_url, "base", version="1.1")
        add(again, "securityMethod", standardID=method)
    for name, identifier in caps.data_models:
        add(tap, "dataModel", name, **{"ivo-id": identifier})
    _add_adql(tap, caps)
    for output in caps.formats:
        element = add(tap, "outputFormat", **{"ivo-id": output.ivo_id})
        add(element, "mime", output.media_type)
        for alias in output.aliases:
            add(element, "alias", alias)
    for method in caps.upload_methods:
        add(tap, "uploadMethod", **{"ivo-id": f"{_STD}/TAPRegExt#upload-{method}"})
    _add_limit(tap, "retentionPeriod", caps.retention)
    _add_limit(tap, "executionDuration", caps.execution)
    _add_limit(tap, "outputLimit", caps.output, unit="row")
    _add_limit(tap, "uploadLimit", caps.upload, unit="row")


def _add_adql(tap: etree._Element, caps: CapabilitiesInfo) -> None:
    language = add(tap, "language")
    add(language, "name", "ADQL")
    for version in caps.versions:
        add(language, "version", version, **{"ivo-id": f"{_STD}/ADQL#v{version}"})
    add(language, "description", f"ADQL {caps.versions[-1]}")
    for kind, features in groupby(caps.features, key=itemgetter(0)):
        # ADQL 2.1, "Optional components" wants these identifiers in lower case.
        group = add(language, "languageFeatures", type=kind.lower())
        for _, form, description in features:
            feature = add(group, "feature")
            add(feature, "form", form)
            if description:
                add(feature, "description", description)


def _add_limit(
    tap: etree._Element, name: str, limit: Limit | None, unit: str | None = None
) -> None:
    if limit is None:
        return
    element = add(tap, name)
    if limit.default is not None:
        add(element, "default", str(limit.default), unit=unit)
    if limit.hard is not None:
        add(element, "hard", str(limit.hard), unit=unit)


def _add_names(
    element: etree._Element, name: str, description: str | None, utype: str | None
) -> None:
    add(element, "name", name)
    if description:
        add(element, "description", description)
    if utype:
        add(element, "utype", utype)


def _fill_table(
    element: etree._Element, table: Table, keys: Sequence[ForeignKey], detail: Literal["min", "max"]
) -> None:
    element.set("type", table.kind)
    _add_names(element, table.name, table.description, table.utype)
    if detail == "min":
        return
    for column in table.columns:
        _add_column(element, column)
    for key in keys:
        foreign = add(element, "foreignKey")
        add(foreign, "targetTable", key.target_table)
        for source, target in key.columns:
            pair = add(foreign, "fkColumn")
            add(pair, "fromColumn", source)
            add(pair, "targetColumn", target)
        if key.description:
            add(foreign, "description", key.description)
        if key.utype:
            add(foreign, "utype", key.utype)


def _add_column(table: etree._Element, column: Column) -> None:
    element = add(table, "column", std="true" if column.std else "false")
    add(element, "name", column.name)
    for tag, text in (
        ("description", column.description),
        ("unit", column.unit),
        ("ucd", column.ucd),
        ("utype", column.utype),
    ):
        if text:
            add(element, tag, text)
    add(
        element,
        "dataType",
        column.datatype,
        **{_TYPE: "vs:VOTableType"},
        arraysize=column.arraysize,
        extendedType=column.xtype,
    )
    for flag, given in (("indexed", column.indexed), ("principal", column.principal)):
        if given:
            add(element, "flag", flag)
