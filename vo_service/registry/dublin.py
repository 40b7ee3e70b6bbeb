"""Dublin Core of a record, for harvesters that know nothing of astronomy.

Source: OAI-PMH 2.0, "Dublin Core"; RI 1.1, "Metadata formats" (every record must have it).
"""

from __future__ import annotations

from lxml import etree

from vo_service.formats.xmltext import add

__all__ = ["dublin_core"]

_OAI_DC = "http://www.openarchives.org/OAI/2.0/oai_dc/"
_DC = "http://purl.org/dc/elements/1.1/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

#: Element of Dublin Core, and where its values stand in an ``ri:Resource``.
_PLACES = (
    ("title", "title"),
    ("creator", "curation/creator/name"),
    ("subject", "content/subject"),
    ("description", "content/description"),
    ("publisher", "curation/publisher"),
    ("contributor", "curation/contributor"),
    ("date", "curation/date"),
    ("type", "content/type"),
    ("identifier", "identifier"),
    ("identifier", "altIdentifier"),
    ("identifier", "content/referenceURL"),
    ("source", "content/source"),
    ("relation", "content/relationship/relatedResource"),
    ("rights", "rights"),
)


def dublin_core(root: etree._Element) -> bytes:
    """The ``oai_dc:dc`` element of an ``ri:Resource``."""
    record = etree.Element(f"{{{_OAI_DC}}}dc", nsmap={"oai_dc": _OAI_DC, "dc": _DC, "xsi": _XSI})
    record.set(
        f"{{{_XSI}}}schemaLocation", f"{_OAI_DC} http://www.openarchives.org/OAI/2.0/oai_dc.xsd"
    )
    for name, place in _PLACES:
        for found in root.iterfind(place):
            if found.text:
                add(record, f"{{{_DC}}}{name}", found.text)
    add(record, f"{{{_DC}}}language", "en")
    return etree.tostring(record, encoding="utf-8")
