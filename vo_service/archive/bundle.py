"""A tar archive as arithmetic: every offset is known before a byte of a file is read.

Source: POSIX.1-2017, "pax Interchange Format" (names beyond 100 bytes or ASCII, sizes from
8 GiB on); the headers are those of Python's `tarfile`, so an archive is what
``tarfile.open(format=PAX_FORMAT)`` would write, byte by byte. Owner, group and rights say
nothing of the archive's machine. Positions and sizes are bytes, times seconds since 1970 (UTC).
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from vo_service.model.bundle import Member

__all__ = [
    "Piece",
    "at_position",
    "content_of",
    "end_of",
    "header_of",
    "member_end",
    "padding",
    "pieces",
    "place",
    "tar_size",
]

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE

#: What a plain header holds: more needs a pax header before it.
_NAME_LIMIT = 100
_NUMBER_LIMIT = 8**11


class Piece(NamedTuple):
    """Consecutive bytes of an archive: as they are, or a span of a member's content."""

    content: bytes | Member
    start: int
    end: int


def padding(size: int) -> int:
    """Zero bytes after a content of that size."""
    return -size % BLOCK


def header_of(member: Member) -> bytes:
    """The header blocks of a member, its pax header included where it needs one."""
    info = tarfile.TarInfo(member.name)
    info.size = member.size
    info.mtime = member.mtime
    return info.tobuf(tarfile.PAX_FORMAT)


def content_of(member: Member) -> int:
    """Where the content of a member begins."""
    plain = (
        len(member.name) <= _NAME_LIMIT
        and member.name.isascii()
        and member.size < _NUMBER_LIMIT
        and 0 <= member.mtime < _NUMBER_LIMIT
    )
    return member.position + (BLOCK if plain else len(header_of(member)))


def member_end(member: Member) -> int:
    """Where the next member, or the end of the archive, begins."""
    return content_of(member) + member.size + padding(member.size)


def place(members: Iterable[Member], start: int = 0) -> Iterator[Member]:
    """The members, one after the other from *start* on."""
    for member in members:
        placed = replace(member, position=start)
        start = member_end(placed)
        yield placed


def end_of(position: int) -> bytes:
    """What stands after the last member, which ended at *position*: two blocks, a full record."""
    return bytes(2 * BLOCK + -(position + 2 * BLOCK) % RECORD)


def tar_size(position: int) -> int:
    """The size of an archive whose last member ended at *position*."""
    return position + len(end_of(position))


def pieces(members: Sequence[Member], start: int, end: int) -> Iterator[Piece]:
    """What lies between *start* and *end*, as far as *members*, placed and in order, reach.

    Looks at no member before *start*: found by bisection.
    """
    for member in members[at_position(members, start) :]:
        if member.position >= end:
            return
        content = content_of(member)
        after = content + member.size
        if start < content:
            yield _cut(header_of(member), member.position, start, end)
        if max(start, content) < min(end, after):
            yield Piece(member, max(start, content) - content, min(end, after) - content)
        if max(start, after) < min(end, member_end(member)):
            yield _cut(bytes(padding(member.size)), after, start, end)


def at_position(members: Sequence[Member], position: int) -> int:
    """The index of the member in which a position lies; that of the last one after the end."""
    return max(bisect_right(members, position, key=_position) - 1, 0)


def _position(member: Member) -> int:
    return member.position


def _cut(data: bytes, position: int, start: int, end: int) -> Piece:
    """What of *data*, which lies at *position*, lies between *start* and *end*."""
    part = data[max(start - position, 0) : max(end - position, 0)]
    return Piece(part, 0, len(part))
