"""OAI-PMH answers, and what a publishing registry says of itself.

Texts of records are put in as they are kept, so a page costs no parsing. Times are UTC.
Source: OAI-PMH 2.0, "XML Response Format"; Registry Interfaces 1.1, "Identify"; VORegistry 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from vo_service.formats.xmltext import add, document, legal

__all__ = [
    "FORMATS",
    "Header",
    "Token",
    "answer",
    "error_element",
    "formats_element",
    "harvest_capabilities",
    "header_element",
    "identify_element",
    "list_element",
    "moment_text",
    "record_element",
    "sets_element",
]

_STD = "ivo://ivoa.net/std"
_VR = "http://www.ivoa.net/xml/VOResource/v1.0"
_OAI = "http://www.openarchives.org/OAI/2.0/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

#: Metadata prefix, its schema and its namespace.
FORMATS = (
    ("ivo_vor", "http://www.ivoa.net/xml/RegistryInterface/v1.0", _VR),
    ("oai_dc", f"{_OAI}oai_dc.xsd", f"{_OAI}oai_dc/"),
)

_BEGIN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<oai:OAI-PMH xmlns:oai="{_OAI}" xmlns:xsi="{_XSI}" '
    f'xsi:schemaLocation="{_OAI} {_OAI}OAI-PMH.xsd">\n'
)
_END = "\n</oai:OAI-PMH>\n"


@dataclass(frozen=True, slots=True)
class Header:
    """Of a record: identifier, datestamp, sets, whether it was deleted."""

    identifier: str
    datestamp: datetime
    sets: Sequence[str]
    deleted: bool


@dataclass(frozen=True, slots=True)
class Token:
    """What continues a list: an empty *text* says that it ended.

    *size* counts the whole list, *cursor* what was sent before; *expires* is None at the end.
    """

    text: str
    size: int
    cursor: int
    expires: datetime | None


def moment_text(moment: datetime) -> str:
    """A datestamp."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _element(name: str, text: str, **attributes: str) -> str:
    given = "".join(f" {key}={quoteattr(legal(value))}" for key, value in attributes.items())
    return f"<oai:{name}{given}>{escape(legal(text))}</oai:{name}>"


def answer(
    base_url: str, moment: datetime, arguments: Mapping[str, str], content: Iterable[str]
) -> bytes:
    """A whole answer; *moment* is its responseDate, *arguments* those of the request to echo."""
    parts = [
        _BEGIN,
        _element("responseDate", moment_text(moment)),
        "\n",
        _element("request", base_url, **arguments),
        "\n",
        *content,
        _END,
    ]
    return "".join(parts).encode()


def error_element(code: str, message: str) -> str:
    """What is wrong with a request."""
    return _element("error", message, code=code)


def identify_element(
    *, name: str, base_url: str, contact: str, earliest: datetime, registry_record: str
) -> str:
    """The answer to Identify; *registry_record* is the registry's own ``ri:Resource``."""
    return "".join(
        (
            "<oai:Identify>",
            _element("repositoryName", name),
            _element("baseURL", base_url),
            _element("protocolVersion", "2.0"),
            _element("adminEmail", contact),
            _element("earliestDatestamp", moment_text(earliest)),
            _element("deletedRecord", "persistent"),
            _element("granularity", "YYYY-MM-DDThh:mm:ssZ"),
            _element("compression", "gzip"),
            f"<oai:description>{registry_record}</oai:description>",
            "</oai:Identify>",
        )
    )


def formats_element() -> str:
    """The answer to ListMetadataFormats."""
    formats = (
        "<oai:metadataFormat>"
        + _element("metadataPrefix", prefix)
        + _element("schema", schema)
        + _element("metadataNamespace", namespace)
        + "</oai:metadataFormat>"
        for prefix, schema, namespace in FORMATS
    )
    return f"<oai:ListMetadataFormats>{''.join(formats)}</oai:ListMetadataFormats>"


def sets_element(sets: Sequence[tuple[str, str]]) -> str:
    """The answer to ListSets: names with their titles."""
    listed = (
        f"<oai:set>{_element('setSpec', spec)}{_element('setName', name)}</oai:set>"
        for spec, name in sets
    )
    return f"<oai:ListSets>{''.join(listed)}</oai:ListSets>"


def header_element(header: Header) -> str:
    """A record's header."""
    return "".join(
        (
            '<oai:header status="deleted">' if header.deleted else "<oai:header>",
            _element("identifier", header.identifier),
            _element("datestamp", moment_text(header.datestamp)),
            *(_element("setSpec", spec) for spec in header.sets),
            "</oai:header>",
        )
    )


def record_element(header: Header, metadata: str | None) -> str:
    """A record; one that was deleted has no metadata."""
    inside = "" if metadata is None else f"<oai:metadata>{metadata}</oai:metadata>"
    return f"<oai:record>{header_element(header)}{inside}</oai:record>"


def list_element(verb: str, items: Iterable[str], token: Token | None) -> str:
    """The answer to *verb*; no token where the list is whole."""
    end = ""
    if token is not None:
        given = {"completeListSize": str(token.size), "cursor": str(token.cursor)}
        if token.expires is not None:
            given["expirationDate"] = moment_text(token.expires)
        end = _element("resumptionToken", token.text, **given)
    listed = "\n".join(items)
    return f"<oai:{verb}>{listed}{end}</oai:{verb}>"


def harvest_capabilities(base_url: str, page: int) -> bytes:
    """The VOSI capabilities document of a publishing registry that sends *page* records at once."""
    vosi, kind = "http://www.ivoa.net/xml/VOSICapabilities/v1.0", f"{{{_XSI}}}type"
    prefixes = {
        "vosi": vosi, "xsi": _XSI, "vr": _VR,
        "vs": "http://www.ivoa.net/xml/VODataService/v1.1",
        "vg": "http://www.ivoa.net/xml/VORegistry/v1.0",
    }  # fmt: skip
    root = etree.Element(f"{{{vosi}}}capabilities", nsmap=prefixes)
    harvest = add(root, "capability", **{kind: "vg:Harvest"}, standardID=f"{_STD}/Registry")
    interface = add(harvest, "interface", **{kind: "vg:OAIHTTP"}, role="std", version="1.0")
    add(interface, "accessURL", base_url, use="base")
    add(harvest, "maxRecords", str(page))
    for name in ("capabilities", "availability"):
        capability = add(root, "capability", standardID=f"{_STD}/VOSI#{name}")
        interface = add(capability, "interface", **{kind: "vs:ParamHTTP"})
        add(interface, "accessURL", f"{base_url}/{name}", use="full")
    return document(root)
