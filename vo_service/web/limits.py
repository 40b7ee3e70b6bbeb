"""How much one client may ask for, and how much all together; told in each protocol's own words.

Two questions. `Rate`, before anything is worked out for a request: does an address ask faster than
programs of people do? `Places`, once it is known who asks: how many queries, uploads, cutouts and
downloads does this client have under way? Those beyond its places wait for a while, so that a
program with many connections is served and not sent away; 429 with ``Retry-After`` is for what is
beyond that too. A known person has places of their own, an address of IPv6 counts with its /64.

All counts are those of one process. Source: RFC 6585, "429 Too Many Requests"; DALI 1.1, "Errors".
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from vo_service.errors import TooManyError, VOError
from vo_service.model.visitor import network_of
from vo_service.settings import Settings
from vo_service.web.faults import error_headers, status_of
from vo_service.web.visitors import visitor_of

__all__ = ["REFUSED", "Kind", "Places", "Rate", "kind_of", "refusal"]

#: Where the scope of a request keeps why the connection it came on should not be.
REFUSED = "vo.refused"

#: Seconds of the usual rate that may come at once: a map of tiles, a harvest.
_BURST_S = 20.0

#: Clients whose rate is remembered before those are forgotten who have been quiet.
_REMEMBERED = 10_000

_AGAIN_S = 10


class Kind(StrEnum):
    """What costs more than a page: each has places of its own."""

    QUERY = "queries"
    UPLOAD = "uploads"
    CUTOUT = "cutouts"
    DOWNLOAD = "downloads"


_PLACES = (
    (re.compile(r"/tap/sync"), Kind.QUERY),
    (re.compile(r"/(?:sia2?|ssa|scs|datalink|corrections)/"), Kind.QUERY),
    (re.compile(r"/soda/sync"), Kind.CUTOUT),
    (re.compile(r"/data/|/bundles(?:/sync)?/?$|/[a-z]+/async/[^/]+/results/"), Kind.DOWNLOAD),
)


def kind_of(scope: Scope) -> Kind | None:
    """What a request asks for, None where it costs little."""
    kind = next((kind for pattern, kind in _PLACES if pattern.match(scope["path"])), None)
    if kind is Kind.QUERY and any(
        name == b"content-type" and value.lower().startswith(b"multipart/form-data")
        for name, value in scope["headers"]
    ):
        return Kind.UPLOAD
    return kind


async def refusal(scope: Scope, error: VOError) -> Response:
    """What the service that a request is meant for says to an error of ours."""
    request, answer = Request(scope), None
    app, inner = scope.get("app"), scope
    while isinstance(app, Starlette):
        answer = app.exception_handlers.get(VOError, answer)
        matches = ((route, *route.matches(inner)) for route in app.routes)
        route, child = next(
            ((route, child) for route, match, child in matches if match is not Match.NONE),
            (None, {}),
        )
        inner = {**inner, **child}
        app = getattr(route, "app", None)
        if chosen := getattr(app, "app_for", None):
            app = chosen(inner)
    if answer is None:
        return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))
    response: Response = await answer(request, error)
    return response


class Rate:
    """Middleware: an address that asks faster than ``client_requests_per_s`` is told to wait."""

    def __init__(
        self, app: ASGIApp, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._per_s = settings.client_requests_per_s
        self._clock = clock
        # When the requests of each client will have been worked off at the usual rate.
        self._until: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it pass, or answer."""
        if scope["type"] == "http":
            error = scope.get(REFUSED) or self._too_fast(
                network_of(visitor_of(Request(scope)).address)
            )
            if error is not None:
                await (await refusal(scope, error))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _too_fast(self, client: str) -> TooManyError | None:
        if not self._per_s:
            return None
        now = self._clock()
        if len(self._until) > _REMEMBERED:
            self._until = {key: until for key, until in self._until.items() if until > now}
        until = max(self._until.get(client, now), now)
        if until - now > _BURST_S - 0.5 / self._per_s:
            wait_s = max(1, round(_BURST_S / 4))
            return TooManyError(
                f"more than {self._per_s:g} requests per second came from {client}; "
                f"try again in {wait_s} s",
                wait_s,
            )
        self._until[client] = until + 1 / self._per_s
        return None


class Places:
    """Middleware: requests that cost much, shared out among clients."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._of_client = {
            Kind.QUERY: settings.client_queries,
            Kind.UPLOAD: settings.client_uploads,
            Kind.CUTOUT: settings.client_cutouts,
            Kind.DOWNLOAD: settings.client_downloads,
        }
        self._of_all = settings.queries_limit
        self._waiting = settings.client_waiting
        self._wait_s = settings.queue_s
        self._gates: dict[tuple[str, Kind], anyio.Semaphore] = {}
        self._under_way: Counter[bool] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find a place for the request, or answer."""
        kind = kind_of(scope) if scope["type"] == "http" else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        visitor = visitor_of(Request(scope))
        client = visitor.key if visitor.name else network_of(visitor.address)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._place(client, kind))
            except TooManyError as error:
                await (await refusal(scope, error))(scope, receive, send)
                return
            await self._app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _place(self, client: str, kind: Kind) -> AsyncIterator[None]:
        """A place while the block lasts.

        Raises
        ------
        TooManyError
            If the client has too many that wait, or none became free in time; or if all clients
            together want too much.
        """
        short = kind is not Kind.DOWNLOAD  # those last long, and hold no connection to PostgreSQL
        if short and self._under_way[short] >= self._of_all:
            raise TooManyError(
                f"{self._of_all} requests are worked on or wait, which is all that this service "
                f"takes; try again in {_AGAIN_S} s",
                _AGAIN_S,
            )
        key, limit = (client, kind), self._of_client[kind]
        gate = self._gates.setdefault(key, anyio.Semaphore(limit, fast_acquire=True))
        said = f"you have {limit} {kind} under way and {{}}; try again in {_AGAIN_S} s"
        if gate.statistics().tasks_waiting >= self._waiting and not gate.value:
            raise TooManyError(said.format("as many waiting as may wait"), _AGAIN_S)
        self._under_way[short] += 1
        try:
            with anyio.move_on_after(self._wait_s) as patience:
                await gate.acquire()
            if patience.cancelled_caught:
                raise TooManyError(said.format(f"none ended within {self._wait_s:g} s"), _AGAIN_S)
            try:
                yield
            finally:
                gate.release()
        finally:
            self._under_way[short] -= 1
            if gate.value == limit and not gate.statistics().tasks_waiting:
                self._gates.pop(key, None)
