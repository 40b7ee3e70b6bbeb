"""Pieces of VOResource records as others write them, read without trusting them.

What cannot be read is left out and said in `Notes`; nothing raises. Source: RegTAP 1.2, "Notes on
string handling", "QNames in VOResource attributes".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from lxml import etree

__all__ = ["Notes", "canonical_type", "children", "first", "hash_list", "inner", "local_name"]

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

#: Characters of names, terms and addresses, which indexes must be able to hold; and of texts.
_SHORT, _LONG = 600, 100_000

_NAMESPACE = re.compile(r"http://www\.ivoa\.net/xml/(\w+)/v\d")

#: The one prefix of each namespace, whichever a record uses.
_PREFIXES = {
    "ConeSearch": "cs",
    "DocRegExt": "doc",
    "RegistryInterface": "ri",
    "SIA": "sia",
    "SLAP": "slap",
    "SSA": "ssap",
    "StandardsRegExt": "vstd",
    "TAPRegExt": "tr",
    "VODataService": "vs",
    "VORegistry": "vg",
    "VOResource": "vr",
}

_DATE = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d)(.*))?", re.S)


def local_name(element: etree._Element) -> str:
    """The name of an element without its namespace; empty for comments and the like."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def children(element: etree._Element | None, *path: str) -> Iterator[etree._Element]:
    """Descendants along a path of names; namespaces, which some records get wrong, are ignored."""
    if element is None:
        return
    name, *rest = path
    for child in element:
        if local_name(child) == name:
            if rest:
                yield from children(child, *rest)
            else:
                yield child


def first(element: etree._Element | None, *path: str) -> etree._Element | None:
    """The first of `children`."""
    return next(children(element, *path), None)


def inner(element: etree._Element | None) -> str:
    """The text in an element, without blanks around it."""
    return "" if element is None else "".join(map(str, element.itertext())).strip()


def canonical_type(element: etree._Element) -> str | None:
    """xsi:type with the standard's prefix, in lower case: ``vs:paramhttp``."""
    prefix, _, name = element.get(_TYPE, "").strip().rpartition(":")
    found = _NAMESPACE.match(element.nsmap.get(prefix or None) or "")
    prefix = _PREFIXES.get(found[1], prefix) if found else prefix
    text = f"{prefix}:{name}" if prefix else name
    return text.lower()[:_SHORT] or None


def hash_list(values: Iterator[str | None]) -> str | None:
    """Values joined by ``#``, each once; None where there is none."""
    return "#".join(dict.fromkeys(value for value in values if value)) or None


class Notes:
    """Reads values; *said* is what was left out of the record, and why."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def short(self, value: str | None, name: str, *, lower: bool = False) -> str | None:
        """A name, term or address: blanks normalised; None for nothing and for too much."""
        text = " ".join((value or "").split())
        if len(text) > _SHORT:
            self.said.append(f"{name}: has {len(text)} characters, expected at most {_SHORT}")
            return None
        return (text.lower() if lower else text) or None

    def child(self, element: etree._Element, name: str, *, lower: bool = False) -> str | None:
        """`short` of a child element."""
        return self.short(inner(first(element, name)), name, lower=lower)

    def attribute(self, element: etree._Element, name: str, *, lower: bool = False) -> str | None:
        """`short` of an attribute."""
        return self.short(element.get(name), f"@{name}", lower=lower)

    def long(self, element: etree._Element | None, name: str) -> str | None:
        """A text for people; its end is cut off where there is too much."""
        text = inner(element)
        if len(text) > _LONG:
            self.said.append(f"{name}: cut off after {_LONG} characters")
        return text[:_LONG] or None

    def number(self, value: str | None, name: str) -> float | None:
        """A number, which may be infinite."""
        text = (value or "").strip()
        try:
            found = float(text) if text else None
        except ValueError:
            found = math.nan
        if found is not None and math.isnan(found):
            self.said.append(f"{name}: {text[:40]!r} is no number")
            return None
        return found

    def time(self, value: str | None, name: str) -> datetime | None:
        """A date or time as UTC without zone; a year or month stands for its first day."""
        text = (value or "").strip()
        if not text:
            return None
        found = _DATE.fullmatch(text)
        try:
            if found is None:
                raise ValueError(text)
            year, month, day, rest = found.groups()
            moment = datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}{rest or ''}")
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            self.said.append(f"{name}: {text[:40]!r} is no date")
            return None

    def interval(self, element: etree._Element, name: str) -> tuple[float, float] | None:
        """Two numbers, the first not greater than the second."""
        parts = inner(element).split()
        ends = [self.number(part, name) for part in parts]
        if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            self.said.append(f"{name}: {' '.join(parts)[:80]!r} is no interval, as in '1.5 2'")
            return None
        return ends[0], ends[1]
