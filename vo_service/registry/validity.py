"""Whether a record may go public: XML Schema, identifiers, what the schemas do not see.

Source: VOResource 1.2, VODataService 1.2 and the extensions in ``xsd/`` (published schemas, as
they are; ``xsd/README.md``); RI 1.1, "Required records"; Identifiers 2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path

from lxml import etree

__all__ = ["EXAMPLE_AUTHORITY", "faults_of"]

#: The authority of an archive that has not been given one.
EXAMPLE_AUTHORITY = "vo-service.example"

_PLACE = Path(str(resources.files("vo_service.registry"))) / "xsd"

#: Namespaces, and the locations that schemas give for them, to files.
_FILES = {
    "http://www.ivoa.net/xml/VOResource/v1.0": "VOResource-v1.2.xsd",
    "http://www.ivoa.net/xml/VOResource/VOResource-v1.0.xsd": "VOResource-v1.2.xsd",
    "http://www.ivoa.net/xml/VODataService/v1.1": "VODataService-v1.2.xsd",
    "http://www.ivoa.net/xml/TAPRegExt/v1.0": "TAPRegExt-v1.0-erratum1.xsd",
    "http://www.ivoa.net/xml/ConeSearch/v1.0": "ConeSearch-v1.1.xsd",
    "http://www.ivoa.net/xml/SIA/v1.1": "SIA-v1.2.xsd",
    "http://www.ivoa.net/xml/SSA/v1.1": "SSA-v1.2.xsd",
    "http://www.ivoa.net/xml/VORegistry/v1.0": "VORegistry-v1.1.xsd",
    "http://www.ivoa.net/xml/RegistryInterface/v1.0": "RegistryInterface-v1.0.xsd",
    "http://www.ivoa.net/xml/STC/stc-v1.30.xsd": "stc-v1.30.xsd",
    "http://hea-www.harvard.edu/~arots/nvometa/v1.30/stc-v1.30.xsd": "stc-v1.30.xsd",
    "http://www.w3.org/1999/xlink": "xlink.xsd",
    "http://www.ivoa.net/xml/Xlink/xlink.xsd": "xlink.xsd",
    "http://www.w3.org/XML/1998/namespace": "xml.xsd",
}

_IDENTIFIER = re.compile(r"ivo://[A-Za-z0-9][A-Za-z0-9._~*'()+=!-]{2,}(/[^?#\s]+)*")

#: Faults that are told of one record.
_TOLD = 5


class _Local(etree.Resolver):
    """Finds schemas in the package; nothing is fetched."""

    def resolve(self, url: str, pubid: str, context: object) -> object:  # type: ignore[override]
        name = _FILES.get(url)
        if name is None:
            raise LookupError(url)
        return self.resolve_filename(str(_PLACE / name), context)  # type: ignore[attr-defined]


@cache
def _schema() -> etree.XMLSchema:
    wanted = dict.fromkeys(url for url in _FILES if not url.endswith("stc-v1.30.xsd"))
    imports = "".join(
        f'<xs:import namespace="{url}" schemaLocation="{url}"/>'
        for url in wanted
        if not url.endswith(".xsd")
    )
    root = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
    parser = etree.XMLParser(no_network=True, resolve_entities=False)
    parser.resolvers.add(_Local())
    return etree.XMLSchema(etree.fromstring(root.encode(), parser))


def faults_of(document: bytes, authority: str) -> Iterator[str]:
    """What keeps a record (with its dates) from being published, a sentence each.

    *authority* is the only one whose identifiers may be published here.
    """
    try:
        yield from _schema_faults(document)
    except etree.XMLSyntaxError as error:
        yield f"is not well-formed XML ({error.msg})"
        return
    found = re.search(rb"<identifier>([^<]*)</identifier>", document)
    identifier = found[1].decode() if found else ""
    own = f"ivo://{authority}".lower()
    if not _IDENTIFIER.fullmatch(identifier):
        yield f"identifier: expected ivo://authority/path without ? and #, found {identifier!r}"
    elif identifier.lower() != own and not identifier.lower().startswith(f"{own}/"):
        yield f"identifier: expected one that begins with {own}, found {identifier!r}"


def _schema_faults(document: bytes) -> Iterator[str]:
    """What the XML Schemas find; read piece by piece, since a tableset may have any size."""
    reader = etree.iterparse(BytesIO(document), events=("end",), schema=_schema(), tag="table")
    try:
        for _, element in reader:
            element.clear()
    except etree.XMLSyntaxError:
        told = [entry.message for entry in reader.error_log][:_TOLD]
        if not told:
            raise
        yield from (re.sub(r"\{[^}]*\}", "", message) for message in told)
