"""What every endpoint does with a request and an answer: pairs in, streamed table out.

A client that leaves is noticed at once, before and while rows are sent, and the statement
behind the answer is cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vo_service.errors import TooLargeError, UsageError
from vo_service.model.table import Rows
from vo_service.services.race import unless
from vo_service.telemetry.tracing import span

_log = logging.getLogger(__name__)

__all__ = ["LimitBody", "TableResponse", "request_pairs", "while_connected"]

_T = TypeVar("_T")

#: Parameters in one request; a list of 10 000 IDs fits, a flood does not.
_FIELDS = 20_000


async def request_pairs(request: Request) -> list[tuple[str, str]]:
    """Parameters of the query string, then those of a form body, in order.

    Raises
    ------
    UsageError
        If the body is of another type or is not well formed.
    """
    pairs = _parse(request.url.query)
    if request.method != "POST":
        return pairs
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            return pairs + _parse((await request.body()).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UsageError(f"the form is not UTF-8 (byte {error.start})") from error
    if kind == "multipart/form-data":
        async with request.form(max_files=100, max_fields=_FIELDS) as form:
            return pairs + [(k, v) for k, v in form.multi_items() if isinstance(v, str)]
    if not kind and not await request.body():
        return pairs
    raise UsageError(
        f"the body is {kind or 'of no type'}: expected application/x-www-form-urlencoded "
        "or multipart/form-data"
    )


def _parse(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError as error:
        raise UsageError("a percent-encoded parameter is not UTF-8") from error
    except ValueError as error:
        raise UsageError(f"the request has more than {_FIELDS} parameters") from error


async def while_connected(receive: Receive, work: Awaitable[_T]) -> _T:
    """Wait for *work*; when the client leaves first, cancel it.

    *receive* must have given the whole request body already.

    Raises
    ------
    ClientDisconnect
        If the client left: there is nobody to answer.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    outcome = await unless(gone(), work)
    if not outcome:
        raise ClientDisconnect
    return outcome[0]


class TableResponse(StreamingResponse):
    """A streamed table; its cursor is released however the response ends."""

    def __init__(self, rows: Rows, body: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(body, media_type=media_type)
        # The media type is the client's to choose: no charset is added to it.
        self.headers["content-type"] = media_type
        self._rows = rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; listen for the client meanwhile, since a slow query sends nothing for long.

        One that reads too slowly is cut off: the answer has no end then.
        """
        try:
            with span("encode"), anyio.move_on_after(self._rows.held_s) as held:
                await while_connected(receive, self.stream_response(send))
            if held.cancelled_caught:
                _log.warning("an answer was cut: not read within %g s", self._rows.held_s)
        except (ClientDisconnect, OSError):
            pass  # gone: the transport is closed, and there is nobody to tell
        finally:
            with anyio.CancelScope(shield=True):
                await self._rows.aclose()


class LimitBody:
    """Middleware: a body that is too large is refused while it arrives.

    *files_limit* is for bodies that carry files (multipart/form-data), *limit* for all others;
    both are bytes.
    """

    def __init__(self, app: ASGIApp, limit: int, files_limit: int) -> None:
        self._app = app
        self._limit = limit
        self._files_limit = files_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count bytes on their way in."""
        seen = 0
        limit = self._limit
        if scope["type"] == "http" and _carries_files(scope):
            limit = self._files_limit

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLargeError(f"the request has more than {limit} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


def _carries_files(scope: Scope) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"multipart/form-data")
        for name, value in scope["headers"]
    )
