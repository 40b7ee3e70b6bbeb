"""Delivery of published files, which `archive.opening` opens: sent in any part.

What is delivered need not be one file: whatever is a `Content` is sent in the same way. Knows no
database.

Source: RFC 9110, "Range Requests"; RFC 6266 and 8187 for the name.
Positions are bytes; a span is (start, end), the end not included.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vo_service.archive.opening import OpenFile, open_published, open_source
from vo_service.errors import NotFoundError
from vo_service.web.conditions import Validators, parse_ranges

__all__ = [
    "Content",
    "FileDelivery",
    "OpenFile",
    "open_published",
    "open_source",
    "refuse_encoded_separators",
]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20

_HIDDEN = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._+@ -]+")


class Content(Protocol):
    """What can be delivered: bytes of a known number, to be read at any position.

    *name* is that of the file which the client gets, *size* bytes, *mtime_ns* nanoseconds since
    1970 (UTC); *tag* changes whenever the bytes may have changed.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    @property
    def size(self) -> int: ...  # noqa: D102 - said above

    @property
    def mtime_ns(self) -> int: ...  # noqa: D102 - said above

    @property
    def tag(self) -> str: ...  # noqa: D102 - said above

    async def read(self, position: int, count: int) -> bytes:
        """At least one byte and at most *count* of those from *position* on.

        Raises
        ------
        OSError
            If they are no longer those that were promised; the delivery is then cut.
        """

    def close(self) -> None:
        """Free what stands behind it; called once, however the delivery ended."""


def refuse_encoded_separators(scope: Scope) -> None:
    """Refuse a request whose path hides a separator, or an end, behind percent signs.

    Raises
    ------
    NotFoundError
        If the path as sent has an encoded slash, backslash or NUL.
    """
    if _HIDDEN.search(scope.get("raw_path") or b""):
        raise NotFoundError("no file: the path must not hold %2F, %5C or %00")


class FileDelivery(Response):
    """A content, or the parts of it that were asked for; closes it however it ends.

    Parameters
    ----------
    request
        GET or HEAD; its conditions and ranges are honoured.
    content
        An `OpenFile`, as `open_published` gives it, or any other.
    media_type
        Of the content as it lies on disk; compression is never announced as an encoding.
    tag
        Strong entity tag without quotes (the MD5, where it is known); that of *content* else.
    headers
        Further ones, also sent with 304.
    running
        Entered while bytes are sent, with the scope whose cancellation cuts the delivery.
    on_end
        Called at the end with the status, the bytes of the body that were sent, and whether these
        were all (`web.noted.noting` makes such for the log of downloads).

    Notes
    -----
    A content that changes or ends while it is sent cuts the connection: what arrived is then
    shorter than announced, and the client knows.
    """

    def __init__(
        self,
        request: Request,
        content: Content,
        media_type: str,
        *,
        tag: str | None = None,
        headers: Mapping[str, str] | None = None,
        running: Callable[[anyio.CancelScope], AbstractContextManager[object]] | None = None,
        on_end: Callable[[int, int, bool], None] | None = None,
    ) -> None:
        self.media_type = None  # Content-Type is among the headers where there is content
        self.background = None
        self._content = content
        self._type = media_type
        self._validators = Validators(f'"{tag or content.tag}"', content.mtime_ns)
        self._segments: list[bytes | tuple[int, int]] = []
        self._running = running or contextlib.nullcontext
        self._on_end = on_end
        self._sent = 0
        self._common = {
            **self._validators.headers,
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
        }
        self._decide(request.headers, request.method)
        if request.method == "HEAD":
            self._segments = []

    @property
    def span(self) -> tuple[int, int] | None:
        """The one run of bytes of the content that is the whole body, where there is one."""
        match self._segments:
            case [(int(start), int(end))]:
                return start, end
        return None

    def drop(self) -> None:
        """Close the content: somebody else sends it."""
        self._content.close()

    def _decide(self, asked: Headers, method: str) -> None:
        failed = self._validators.failed_condition(asked)
        if failed == 304:
            self._answer(304, {})
            return
        if failed:
            self._refuse(412, "the file is not the one that the request is conditioned on")
            return
        size = self._content.size
        header = asked.get("range")
        spans = None
        # Only GET has ranges (RFC 9110, 14.2).
        if header is not None and method == "GET" and self._validators.fits(asked.get("if-range")):
            spans = parse_ranges(header, size)
        if spans is None:
            self._answer(200, {"Content-Type": self._type}, [(0, size)])
        elif not spans:
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
        if status in {200, 206} and "Content-Disposition" not in self._common:
            length["Content-Disposition"] = _disposition(self._content.name)
        self.status_code = status
        self.init_headers({**self._common, **headers, **length})
        self._segments = list(segments)

    def _refuse(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        text = f"{self._content.name}: {reason}\n".encode()
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
        return f"bytes {span[0]}-{span[1] - 1}/{self._content.size}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and content; stop as soon as the client has gone."""
        complete = False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                with self._running(group.cancel_scope):
                    await self._send(send)
                complete = True
                group.cancel_scope.cancel()
        except* OSError as errors:
            _log.warning("%s: not sent to its end: %s", self._content.name, errors.exceptions[0])
        finally:
            self._content.close()
            if self._on_end is not None:
                self._on_end(self.status_code, self._sent, complete)

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for segment in self._segments:
            if isinstance(segment, bytes):
                await self._send_part(send, segment)
                continue
            position, end = segment
            while position < end:
                chunk = await self._content.read(position, min(_CHUNK, end - position))
                await self._send_part(send, chunk)
                position += len(chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_part(self, send: Send, part: bytes) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        self._sent += len(part)


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _length(segment: bytes | tuple[int, int]) -> int:
    return len(segment) if isinstance(segment, bytes) else segment[1] - segment[0]


def _disposition(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return f'attachment; filename="{name}"'
    fallback = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe='')}"
