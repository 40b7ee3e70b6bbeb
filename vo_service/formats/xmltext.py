"""Text that any XML 1.0 document can hold, and elements made of it.

Source: XML 1.0 (5th ed.), "Characters".
"""

from __future__ import annotations

import re

from lxml import etree

__all__ = ["FORBIDDEN", "REPLACEMENT", "add", "document", "legal"]

#: What no XML 1.0 document may hold, not even escaped, as a character class of `re` and RE2.
FORBIDDEN = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\ufffe\uffff]"

#: Stands where such a character stood.
REPLACEMENT = "\ufffd"

_ILLEGAL = re.compile(f"{FORBIDDEN}|[\ud800-\udfff]")


def legal(text: str) -> str:
    """*text* with every character that XML forbids (or UTF-8, for halves of pairs) replaced."""
    return _ILLEGAL.sub(REPLACEMENT, text)


def add(
    parent: etree._Element, tag: str, text: str | None = None, **attributes: str | None
) -> etree._Element:
    """A new last child of *parent*; attributes that are None are left out."""
    given = {name: legal(value) for name, value in attributes.items() if value is not None}
    element = etree.SubElement(parent, tag, given)
    if text is not None:
        element.text = legal(text)
    return element


def document(root: etree._Element) -> bytes:
    """*root* as a whole document in UTF-8, indented."""
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8") + b"\n"
