"""Worked examples of a service, for people and for programs: XHTML with RDFa.

Source: DALI 1.1, "DALI-examples"; TAP 1.1, "/examples".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from vo_service.formats.xmltext import add, document

__all__ = ["MEDIA_TYPE", "Example", "examples_document"]

MEDIA_TYPE = "application/xhtml+xml"

_XHTML = "http://www.w3.org/1999/xhtml"
_VOCABULARY = "http://www.ivoa.net/rdf/examples#"
_STYLE = (
    "body{font:1rem/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:1rem;overflow:auto}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A query that works.

    *id* is an XML name, unique in its document (it becomes the fragment of the URL); *tables*
    are the full names of the tables that *query* reads. Where *query* is an address, *parameters*
    are what it says (DALI 1.1, "generic-parameter").
    """

    id: str
    name: str
    query: str
    description: str = ""
    tables: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


def examples_document(examples: Sequence[Example], title: str = "Examples") -> bytes:
    """The document that an examples endpoint answers with."""
    root = etree.Element("html", {"xmlns": _XHTML})
    head = add(root, "head")
    add(head, "title", title)
    add(head, "style", _STYLE)
    body = add(root, "body", vocab=_VOCABULARY)
    add(body, "h1", title)
    for example in examples:
        _add_example(body, example)
    return document(root)


def _add_example(body: etree._Element, example: Example) -> None:
    part = add(body, "div", typeof="example", id=example.id, resource=f"#{example.id}")
    add(part, "h2", example.name, property="name")
    if example.description:
        add(part, "p", example.description)
    if example.parameters:
        _add_parameters(part, example)
    else:
        add(part, "pre", example.query, property="query")
    if example.tables:
        line = add(part, "p", "Tables: ")
        for table in example.tables:
            add(line, "code", table, property="table").tail = " "


def _add_parameters(part: etree._Element, example: Example) -> None:
    line = add(part, "p")
    add(line, "a", example.query, href=example.query)
    rows = add(part, "table")
    for name, value in example.parameters:
        row = add(rows, "tr", typeof="keyval", property="generic-parameter")
        add(row, "td", name, property="key")
        add(row, "td", value, property="value")
