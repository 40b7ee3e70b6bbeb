"""One answer of an OAI-PMH repository, read piece by piece, whatever its size.

Pure: a file in, records out. Nothing that a document refers to is loaded, no entity is replaced.
A record that is not even XML is told apart from those around it, so that these can be used.
Source: OAI-PMH 2.0, "Protocol Requests and Responses".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import IO

from lxml import etree

from vo_service.errors import UsageError

__all__ = ["OaiAnswer", "OaiRecord"]

_OAI = "{http://www.openarchives.org/OAI/2.0/}"
_SAID = ("responseDate", "repositoryName", "granularity", "protocolVersion")
_TAGS = tuple(f"{_OAI}{name}" for name in (*_SAID, "OAI-PMH", "record", "resumptionToken", "error"))

_ROOT = re.compile(rb"<(?P<tag>(?:[\w.-]+:)?OAI-PMH)\b[^>]*>")
_LIST = re.compile(rb"<(?P<tag>(?:[\w.-]+:)?ListRecords)\b[^>]*>")
_RECORD = re.compile(rb"<(?P<tag>(?:[\w.-]+:)?record)[\s>].*?</(?P=tag)\s*>", re.S)
_IDENTIFIER = re.compile(rb"<(?:[\w.-]+:)?identifier>\s*([^<\s]{1,600})")
_DATESTAMP = re.compile(rb"<(?:[\w.-]+:)?datestamp>\s*([0-9TZ:-]{1,30})")


@dataclass(frozen=True, slots=True)
class OaiRecord:
    """A record; *resource* is None where it is deleted, or cannot be used for a *reason*.

    The element is valid until the next record is asked for.
    """

    identifier: str
    datestamp: str
    deleted: bool = False
    resource: etree._Element | None = None
    reason: str | None = None


@dataclass(slots=True)
class OaiAnswer:
    """What an answer says beside its records; complete when `records` has come to its end.

    *errors* are pairs of code and message, *token* continues the list, *size* is how many records
    it has in all (as far as it says so).
    """

    file: IO[bytes]
    said: dict[str, str] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    token: str | None = None
    size: int | None = None

    def moment(self) -> datetime:
        """When it was made, by the clock of who made it.

        Raises
        ------
        UsageError
            It does not say so.
        """
        text = self.said.get("responseDate", "")
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"responseDate: {text[:40]!r}: expected a time as 2024-05-01T12:00:00Z"
            ) from None
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)

    def read(self) -> OaiAnswer:
        """All of an answer that has no records."""
        for _ in self.records():
            pass
        return self

    def records(self) -> Iterator[OaiRecord]:
        """The records, once.

        Raises
        ------
        UsageError
            This is no answer of OAI-PMH: says what it is instead.
        """
        broken: list[OaiRecord] = []
        fault = _fault_of(self.file)
        if fault is not None:
            self.file = _without_broken(self.file, broken)
            if not broken or _fault_of(self.file) is not None:
                raise UsageError(f"the answer is not well-formed XML: {fault}")
        yield from broken
        yield from self._read()

    def _read(self) -> Iterator[OaiRecord]:
        root = None
        for _, element in _parsed(self.file, _TAGS):
            name = etree.QName(element).localname
            root = name if name == "OAI-PMH" else root
            text = (element.text or "").strip()
            if name == "record":
                yield _record(element)
            elif name == "resumptionToken":
                self.token = text or None
                size = element.get("completeListSize", "")
                self.size = int(size) if re.fullmatch(r"\d{1,12}", size) else None
            elif name == "error":
                self.errors.append((element.get("code", ""), text))
            else:
                self.said.setdefault(name, text)
            if name in ("record", "error"):
                _forget(element)
        if root is None:
            raise UsageError("the answer is XML, but not of OAI-PMH: expected the root OAI-PMH")


def _parsed(file: IO[bytes], tags: tuple[str, ...]) -> Iterator[tuple[str, etree._Element]]:
    file.seek(0)
    return iter(
        etree.iterparse(
            file, events=("end",), tag=tags, resolve_entities=False, no_network=True,
            load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True,
        )
    )  # fmt: skip


def _fault_of(file: IO[bytes]) -> str | None:
    """What is wrong with an answer as XML."""
    try:
        for _, element in _parsed(file, (f"{_OAI}record",)):
            _forget(element)
    except etree.XMLSyntaxError as error:
        return str(error.msg)
    return None


def _forget(element: etree._Element) -> None:
    """Free an element and those before it, so that memory stays flat."""
    element.clear()
    parent = element.getparent()
    while parent is not None and (before := element.getprevious()) is not None:
        parent.remove(before)


def _record(element: etree._Element) -> OaiRecord:
    header = element.find(f"{_OAI}header")
    if header is None:
        return OaiRecord("", "", reason="there is no header")
    identifier = (header.findtext(f"{_OAI}identifier") or "").strip()
    datestamp = (header.findtext(f"{_OAI}datestamp") or "").strip()
    if header.get("status") == "deleted":
        return OaiRecord(identifier, datestamp, deleted=True)
    metadata = element.find(f"{_OAI}metadata")
    inside = [] if metadata is None else [one for one in metadata if isinstance(one.tag, str)]
    if len(inside) != 1:
        return OaiRecord(identifier, datestamp, reason="metadata: expected one element in it")
    return OaiRecord(identifier, datestamp, resource=inside[0])


def _without_broken(file: IO[bytes], broken: list[OaiRecord]) -> IO[bytes]:
    """The answer without the records that are not XML, which are added to *broken*."""
    file.seek(0)
    text = file.read()
    root, listed = _ROOT.search(text), _LIST.search(text)
    if root is None or listed is None:
        return file
    before = text[: root.end()] + listed[0]
    after = b"</%b></%b>" % (listed["tag"], root["tag"])

    def kept(found: re.Match[bytes]) -> bytes:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            etree.fromstring(before + found[0] + after, parser)
        except etree.XMLSyntaxError as error:
            identifier, datestamp = _IDENTIFIER.search(found[0]), _DATESTAMP.search(found[0])
            broken.append(
                OaiRecord(
                    identifier[1].decode("utf-8", "replace") if identifier else "",
                    datestamp[1].decode() if datestamp else "",
                    reason=f"is not well-formed XML: {error.msg}",
                )
            )
            return b""
        return found[0]

    return BytesIO(_RECORD.sub(kept, text))
