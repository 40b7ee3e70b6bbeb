"""Delivery of published files: opened without a way out of the tree, sent in any part.

A path is walked from the public tree without following a link; only its last name is one, and
what it leads to must be a regular file in a storage root of the collection. Knows no database.

Source: RFC 9110, "Conditional Requests", "Range Requests"; RFC 6266 and 8187 for the name.
Positions are bytes; a span is (start, end), the end not included.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vo_service.errors import NotFoundError, TransientError

__all__ = [
    "FileDelivery",
    "OpenFile",
    "open_published",
    "parse_ranges",
    "refuse_encoded_separators",
]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_MAX_RANGES = 16

_HIDDEN = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")
_ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
}
_SPAN = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._+@ -]+")


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that may be sent; *size* is bytes, *mtime_ns* nanoseconds since 1970 (UTC)."""

    file: io.FileIO
    name: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def tag(self) -> str:
        """What changes whenever the content may have changed, without quotes."""
        return f"{self.size:x}-{self.mtime_ns:x}-{self.inode:x}"

    def is_unchanged(self) -> bool:
        """Whether the file is still what was opened; False once it was written or cut."""
        now = os.fstat(self.file.fileno())
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)


def refuse_encoded_separators(scope: Scope) -> None:
    """Refuse a request whose path hides a separator, or an end, behind percent signs.

    Raises
    ------
    NotFoundError
        If the path as sent has an encoded slash, backslash or NUL.
    """
    if _HIDDEN.search(scope.get("raw_path") or b""):
        raise NotFoundError("no file: the path must not hold %2F, %5C or %00")


def open_published(public: Path, roots: Mapping[str, Sequence[Path]], url_path: str) -> OpenFile:
    """Open a published file for reading. Blocks as file systems do: call it in a thread.

    Parameters
    ----------
    public
        The tree of symbolic links.
    roots
        Collection to the storage roots in which its files may lie.
    url_path
        ``collection/path``, percent-decoded once.

    Raises
    ------
    NotFoundError
        If there is no such link, or it leads to anything but a regular file in a root.
    TransientError
        If the storage cannot be read at the moment.
    """
    absent = NotFoundError(f"{url_path}: no such file is published")
    parts = url_path.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") or _UNFIT.search(part) for part in parts):
        raise absent
    try:
        file = _open_target(public, parts, roots.get(parts[0], ()))
    except UnicodeEncodeError:
        raise absent from None
    except OSError as error:
        if error.errno not in _ABSENT:
            _log.error("%s: cannot be opened: %s", url_path, error)
            raise TransientError(f"{url_path}: cannot be read now; try again later") from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            _log.warning("%s: is published but may not be read: %s", url_path, error)
        raise absent from error
    if file is None:
        raise absent
    status = os.fstat(file.fileno())
    return OpenFile(file, parts[-1], status.st_size, status.st_mtime_ns, status.st_ino)


def _open_target(public: Path, parts: Sequence[str], roots: Sequence[Path]) -> io.FileIO | None:
    """What the link at *parts* leads to; None if it is no link or leads where it must not."""
    with contextlib.ExitStack() as stack:

        def step(name: str | Path, flags: int, directory: int | None = None) -> int:
            handle = os.open(name, os.O_PATH | flags, dir_fd=directory)
            stack.callback(os.close, handle)
            return handle

        place = step(public, os.O_DIRECTORY)
        for part in parts[:-1]:
            place = step(part, os.O_DIRECTORY | os.O_NOFOLLOW, place)
        link = os.stat(parts[-1], dir_fd=place, follow_symlinks=False)
        if not stat.S_ISLNK(link.st_mode):
            return None
        # O_PATH touches neither FIFO nor device; what was checked is then opened by its handle,
        # so nobody can put something else in its place in between.
        target = step(parts[-1], 0, place)
        handle = f"/proc/self/fd/{target}"
        path = Path(os.readlink(handle))
        if not stat.S_ISREG(os.fstat(target).st_mode):
            return None
        if not any(path.is_relative_to(os.path.realpath(root)) for root in roots):
            return None
        return io.FileIO(os.open(handle, os.O_RDONLY), closefd=True)


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


class FileDelivery(Response):
    """A file, or the parts of it that were asked for; closes the file however it ends.

    Parameters
    ----------
    request
        GET or HEAD; its conditions and ranges are honoured.
    file
        As `open_published` gives it.
    media_type
        Of the content as it lies on disk; compression is never announced as an encoding.
    tag
        Strong entity tag without quotes (the MD5, where it is known); `OpenFile.tag` else.
    headers
        Further ones, also sent with 304.

    Notes
    -----
    A file that changes or ends while it is sent cuts the connection: what arrived is then
    shorter than announced, and the client knows.
    """

    def __init__(
        self,
        request: Request,
        file: OpenFile,
        media_type: str,
        *,
        tag: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.media_type = None  # Content-Type is among the headers where there is content
        self.background = None
        self._file = file
        self._type = media_type
        self._etag = f'"{tag or file.tag}"'
        # A date in the future would stand after the Date of this answer (RFC 9110, 8.8.2.1).
        self._modified = min(file.mtime_ns // 10**9, int(time.time()))
        self._segments: list[bytes | tuple[int, int]] = []
        self._common = {
            "ETag": self._etag,
            "Last-Modified": formatdate(self._modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
        }
        self._decide(request.headers, request.method)
        if request.method == "HEAD":
            self._segments = []

    def _decide(self, asked: Headers, method: str) -> None:
        failed = self._failed_condition(asked)
        if failed == 304:
            self._answer(304, {})
            return
        if failed:
            self._refuse(412, "the file is not the one that the request is conditioned on")
            return
        header = asked.get("range")
        spans = None
        # Only GET has ranges (RFC 9110, 14.2).
        if header is not None and method == "GET" and self._if_range(asked.get("if-range")):
            spans = parse_ranges(header, self._file.size)
        if spans is None:
            self._answer(200, {"Content-Type": self._type}, [(0, self._file.size)])
        elif not spans:
            size = self._file.size
            self._refuse(416, f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
        elif len(spans) == 1:
            content = {"Content-Type": self._type, "Content-Range": self._content_range(spans[0])}
            self._answer(206, content, spans)
        else:
            self._answer_parts(spans)

    def _answer(
        self,
        status: int,
        headers: Mapping[str, str],
        segments: Sequence[bytes | tuple[int, int]] = (),
    ) -> None:
        length = {}
        if status != 304:
            length["Content-Length"] = str(sum(map(_length, segments)))
        if status in {200, 206}:
            length["Content-Disposition"] = _disposition(self._file.name)
        self.status_code = status
        self.init_headers({**self._common, **headers, **length})
        self._segments = list(segments)

    def _refuse(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        text = f"{self._file.name}: {reason}\n".encode()
        self._answer(
            status, {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}, [text]
        )

    def _answer_parts(self, spans: Sequence[tuple[int, int]]) -> None:
        boundary = secrets.token_hex(16)
        segments: list[bytes | tuple[int, int]] = []
        for span in spans:
            head = (
                f"\r\n--{boundary}\r\nContent-Type: {self._type}\r\n"
                f"Content-Range: {self._content_range(span)}\r\n\r\n"
            )
            segments += [head.encode("latin-1"), span]
        segments.append(f"\r\n--{boundary}--\r\n".encode())
        self._answer(206, {"Content-Type": f"multipart/byteranges; boundary={boundary}"}, segments)

    def _content_range(self, span: tuple[int, int]) -> str:
        return f"bytes {span[0]}-{span[1] - 1}/{self._file.size}"

    def _failed_condition(self, asked: Headers) -> int | None:
        """304 or 412 where a condition of the request fails (RFC 9110, 13.2.2)."""
        if "if-match" in asked:
            if not self._matches(asked.getlist("if-match"), strong=True):
                return 412
        elif (limit := _date(asked.get("if-unmodified-since"))) and self._modified > limit:
            return 412
        if "if-none-match" in asked:
            if self._matches(asked.getlist("if-none-match"), strong=False):
                return 304
        elif (limit := _date(asked.get("if-modified-since"))) and self._modified <= limit:
            return 304
        return None

    def _matches(self, values: Sequence[str], *, strong: bool) -> bool:
        text = ", ".join(values)
        if text.strip() == "*":
            return True
        tags = _ETAG.findall(text)
        return self._etag in (tags if strong else [tag.removeprefix("W/") for tag in tags])

    def _if_range(self, value: str | None) -> bool:
        """Whether the client's part belongs to this file, so that another part fits to it."""
        if value is None:
            return True
        if '"' in value:
            return value.strip() == self._etag
        # A date tells versions apart only when the second in which it lies is over.
        return _date(value) == self._modified and self._file.mtime_ns < time.time_ns() - 10**9

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and content; stop as soon as the client has gone."""
        with self._file.file:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_until_gone, receive, group.cancel_scope)
                    await self._send(send)
                    group.cancel_scope.cancel()
            except* OSError as errors:
                _log.warning("%s: not sent to its end: %s", self._file.name, errors.exceptions[0])

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for segment in self._segments:
            if isinstance(segment, bytes):
                await send({"type": "http.response.body", "body": segment, "more_body": True})
                continue
            position, end = segment
            while position < end:
                chunk = await run_sync(self._read, position, min(_CHUNK, end - position))
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                position += len(chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _read(self, position: int, count: int) -> bytes:
        chunk = os.pread(self._file.file.fileno(), count, position)
        if not chunk or not self._file.is_unchanged():
            raise OSError(errno.EIO, "the file changed while it was sent")
        return chunk


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _length(segment: bytes | tuple[int, int]) -> int:
    return len(segment) if isinstance(segment, bytes) else segment[1] - segment[0]


def _date(text: str | None) -> int | None:
    """Seconds since 1970 of an HTTP date; None where it is none, so that it is ignored."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _disposition(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return f'attachment; filename="{name}"'
    fallback = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe='')}"
