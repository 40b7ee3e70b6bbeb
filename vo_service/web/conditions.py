"""Conditions and ranges of a request, judged on what is there: no bytes, no files.

Source: RFC 9110, "Conditional Requests", "Range Requests". Positions are bytes; a span is
(start, end), the end not included.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

from starlette.datastructures import Headers

__all__ = ["Validators", "parse_ranges"]

_MAX_RANGES = 16
_SPAN = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def parse_ranges(header: str, size: int) -> list[tuple[int, int]] | None:
    """Spans that a Range header asks for of a file of *size* bytes, in its order.

    Returns
    -------
    list or None
        Empty if none of them lies in the file. None if the header is to be ignored: malformed,
        of another unit, more than 16 spans, spans that overlap, or a file without content
        (RFC 9110, 14.2 and 17.15).
    """
    unit, equals, text = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or size == 0:
        return None
    wanted = [part.strip(" \t") for part in text.split(",")]
    matches = [_SPAN.fullmatch(part) for part in wanted if part]
    if not 0 < len(matches) <= _MAX_RANGES:
        return None
    spans: list[tuple[int, int]] = []
    for match in matches:
        if match is None or match[0] == "-":
            return None
        first, last = match.groups()
        if first and last and int(first) > int(last):
            return None
        if first:
            start, end = int(first), min(int(last) + 1, size) if last else size
        else:
            start, end = max(size - int(last), 0), size
        if start < end:
            spans.append((start, end))
    ordered = sorted(spans)
    if any(after[0] < before[1] for before, after in itertools.pairwise(ordered)):
        return None
    return spans


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one version of a content from another: *etag* with its quotes, and a time."""

    etag: str
    mtime_ns: int

    @property
    def modified(self) -> int:
        """Seconds since 1970 (UTC), not after now.

        A date in the future would stand after the Date of the answer (RFC 9110, 8.8.2.1).
        """
        return min(self.mtime_ns // 10**9, int(time.time()))

    @property
    def headers(self) -> dict[str, str]:
        """ETag and Last-Modified."""
        return {"ETag": self.etag, "Last-Modified": formatdate(self.modified, usegmt=True)}

    def failed_condition(self, asked: Headers) -> int | None:
        """304 or 412 where a condition of the request fails (RFC 9110, 13.2.2)."""
        if "if-match" in asked:
            if not self._matches(asked.getlist("if-match"), strong=True):
                return 412
        elif (limit := _date(asked.get("if-unmodified-since"))) and self.modified > limit:
            return 412
        if "if-none-match" in asked:
            if self._matches(asked.getlist("if-none-match"), strong=False):
                return 304
        elif (limit := _date(asked.get("if-modified-since"))) and self.modified <= limit:
            return 304
        return None

    def _matches(self, values: Sequence[str], *, strong: bool) -> bool:
        text = ", ".join(values)
        if text.strip() == "*":
            return True
        tags = _ETAG.findall(text)
        return self.etag in (tags if strong else [tag.removeprefix("W/") for tag in tags])

    def fits(self, if_range: str | None) -> bool:
        """Whether the client's part belongs to this version, so that another part fits to it."""
        if if_range is None:
            return True
        if '"' in if_range:
            return if_range.strip() == self.etag
        # A date tells versions apart only when the second in which it lies is over.
        return _date(if_range) == self.modified and self.mtime_ns < time.time_ns() - 10**9


def _date(text: str | None) -> int | None:
    """Seconds since 1970 of an HTTP date; None where it is none, so that it is ignored."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
