"""A tar archive that is made while it is sent: a `Content` whose every byte has its place.

Of the members only those around the place that is being read are held, and one file is open at
a time, so memory does not depend on how many there are or how large. Whether the files may be
read is asked again at most a second before their bytes leave; a file that was withdrawn,
replaced or changed ends the delivery. Positions and sizes are bytes.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from vo_service.archive.bundle import at_position, end_of, member_end, pieces
from vo_service.errors import HeaderError, NotFoundError, VOError
from vo_service.ingest.rewrite import corrected_headers
from vo_service.model.bundle import Member
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.services.bundles import BundleService, Found
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.downloads import Download, DownloadLog
from vo_service.web.corrected import CorrectedFile
from vo_service.web.files import Content, OpenFile, open_published, open_source

__all__ = ["MemberFiles", "TarContent", "TarSource", "held_source"]

#: Members that are looked up together, and seconds for which leave to read them holds.
_WINDOW = 256
_LEAVE_S = 1.0

#: Small members are gathered into one chunk of about this size.
_ENOUGH = 1 << 18

#: Times of files are kept to the microsecond.
_SAME_TIME_NS = 2000


class MemberFiles:
    """Opens the files of members.

    Parameters
    ----------
    public
        The tree of symbolic links.
    corrections
        The corrections of headers.
    log
        Where it is noted who was sent what.
    """

    def __init__(
        self, public: Path, corrections: CorrectionLists, log: DownloadLog | None = None
    ) -> None:
        self._public = public
        self._corrections = corrections
        self._log = log

    async def open(self, member: Member, found: Found, visitor: Visitor) -> Content:
        """The content of a member, as it was promised.

        Raises
        ------
        NotFoundError
            If the file is gone, or is another one by now.
        """
        file = await to_thread.run_sync(self._open, found)
        if member.header_tag is None:
            return file
        try:
            name = f"{found.collection}/{found.path}"
            known = await self._corrections.of_file(name, visitor)
            headers = await to_thread.run_sync(
                corrected_headers, file.file.fileno(), file.size, known.corrections
            )
            if headers.digest != member.header_tag:
                raise NotFoundError(f"{member.name}: its header is corrected otherwise by now")
        except HeaderError as error:
            file.close()
            raise NotFoundError(f"{member.name}: its header cannot be corrected") from error
        except BaseException:
            file.close()
            raise
        return CorrectedFile(file, headers.parts, headers.digest)

    def _open(self, found: Found) -> OpenFile:
        name = f"{found.collection}/{found.path}"
        roots = [Path(root) for root in found.roots]
        if found.state == "public" or found.source is None:
            file = open_published(self._public, {found.collection: roots}, name)
        else:
            file = open_source(found.source, roots, name)
        late_ns = abs(file.mtime_ns - found.modified.timestamp() * 1e9)
        if file.size != found.size or late_ns > _SAME_TIME_NS:
            file.close()
            raise NotFoundError(f"{name}: the file has changed since it was ingested")
        return file

    def sent(self, member: Member, visitor: Visitor, size: int) -> None:
        """Note that so many bytes of a member were sent."""
        if self._log is None or not isinstance(member.source, int) or not size:
            return
        whole = size == member.size
        self._log.note(
            Download(
                product_id=member.source,
                visitor=visitor,
                kind="bundle",
                method="GET",
                whole=whole,
                complete=whole,
                size=size,
                ended=datetime.now(UTC),
            )
        )


class TextContent:
    """A text that is a `Content`."""

    mtime_ns = 0
    tag = ""

    def __init__(self, name: str, text: bytes) -> None:
        self.name = name
        self.size = len(text)
        self._text = text

    async def read(self, position: int, count: int) -> bytes:
        """Bytes of the text."""
        return self._text[position : position + count]

    def close(self) -> None:
        """Nothing stands behind it."""


@dataclass(frozen=True, slots=True)
class TarSource:
    """Where an archive comes from, and for whom.

    *members* gives, for a position and a limit, the member there and those after it; *readable*
    those of some products that *visitor* may read now; *files* opens these; *text* gives a list.
    """

    members: Callable[[int, int], Awaitable[Sequence[Member]]]
    readable: Callable[[Sequence[int]], Awaitable[Mapping[int, Found]]]
    files: MemberFiles
    text: Callable[[str], Awaitable[Content]]
    visitor: Visitor = ANYBODY


def held_source(
    members: Sequence[Member],
    texts: Mapping[str, bytes],
    service: BundleService,
    files: MemberFiles,
    visitor: Visitor,
) -> TarSource:
    """A source whose members, and the texts of the lists, are in memory."""

    async def near(position: int, limit: int) -> Sequence[Member]:
        first = at_position(members, position)
        return members[first : first + limit]

    async def text(name: str) -> Content:
        return TextContent(name, texts[name])

    return TarSource(near, partial(service.readable, visitor), files, text, visitor)


class TarContent:
    """The archive.

    Parameters
    ----------
    name, size, tag
        As in `Content`.
    source
        Members and their contents.
    """

    def __init__(self, name: str, size: int, tag: str, source: TarSource) -> None:
        self.name = name
        self.size = size
        self.tag = tag
        # No date tells two archives apart: only the tag does.
        self.mtime_ns = time.time_ns()
        self._source = source
        self._window: Sequence[Member] = ()
        self._leave: Mapping[int, Found] = {}
        self._leave_until = 0.0
        self._open: tuple[Member, Content] | None = None
        self._sent = 0

    async def check(self, position: int) -> None:
        """See that the member at *position* can be read; at the beginning, that many can.

        Raises
        ------
        NotFoundError
            If one cannot, by name: then nothing need be sent.
        TransientError
            If that cannot be found out now.
        """
        await self._look(position)
        await self._ask()
        for member in self._window if position == 0 else self._window[:1]:
            if isinstance(member.source, int) and member.source not in self._leave:
                raise _gone(member)

    async def read(self, position: int, count: int) -> bytes:
        """Bytes from *position* on; see `Content`."""
        parts: list[bytes] = []
        gathered, wanted = 0, min(count, _ENOUGH)
        try:
            while gathered < wanted:
                part = await self._part(position + gathered, count - gathered)
                parts.append(part)
                gathered += len(part)
        except VOError as error:
            raise OSError(errno.EIO, str(error)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            member, content = self._open
            self._open = None
            content.close()
            self._source.files.sent(member, self._source.visitor, self._sent)

    async def _part(self, position: int, count: int) -> bytes:
        """Bytes of one piece."""
        await self._look(position)
        piece = next(pieces(self._window, position, position + count), None)
        if piece is None:
            end = member_end(self._window[-1])
            return end_of(end)[position - end :][:count]
        if isinstance(piece.content, bytes):
            return piece.content
        content = await self._content(piece.content)
        part = await content.read(piece.start, piece.end - piece.start)
        self._sent += len(part)
        return part

    async def _look(self, position: int) -> None:
        """Have the member at *position* among those that are held."""
        held = self._window
        if held and held[0].position <= position < member_end(held[-1]):
            return
        self._window = await self._source.members(position, _WINDOW)
        self._leave_until = 0.0
        if not self._window:
            raise NotFoundError("the bundle was destroyed")

    async def _content(self, member: Member) -> Content:
        """The content of a member, open and allowed."""
        if isinstance(member.source, int):
            if anyio.current_time() > self._leave_until:
                await self._ask()
            if member.source not in self._leave:
                raise _gone(member)
        if self._open is None or self._open[0] is not member:
            self.close()
            self._sent = 0
            if isinstance(member.source, int):
                content = await self._source.files.open(
                    member, self._leave[member.source], self._source.visitor
                )
            else:
                content = await self._source.text(member.source)
            self._open = (member, content)
        return self._open[1]

    async def _ask(self) -> None:
        """Ask which of the members that are held may be read."""
        now = anyio.current_time()
        wanted = [member.source for member in self._window if isinstance(member.source, int)]
        self._leave = await self._source.readable(wanted)
        self._leave_until = now + _LEAVE_S


def _gone(member: Member) -> NotFoundError:
    return NotFoundError(
        f"{member.name}: withdrawn, replaced or closed since this bundle was made; ask for a new "
        "one (what you have of the others stays valid)"
    )
