"""Where requests come in: who sends them, and under which address.

Who is the client, and with which address all addresses in an answer begin, is found out here and
nowhere else: limits, the log of downloads and the login see this client. ``base_url``, where it is
set, is the address always; else a proxy of ours may tell it (`web.proxies`). A plain ``Host``
header never does: whoever writes it could lead others astray through any cache on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from starlette.applications import Starlette
from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vo_service.settings import Settings
from vo_service.web.headers import SafeHeaders
from vo_service.web.limits import Rate
from vo_service.web.proxies import Proxies, is_host

__all__ = ["PROXIED", "ROOT", "AtAddress", "Edge", "edge_middleware", "root_of"]

#: Where the scope of a request keeps the public address of this server, without slash.
ROOT = "vo.root"

#: Its presence in the scope tells that a proxy which is trusted passed the request on.
PROXIED = "vo.proxied"

#: Public addresses that are remembered: a proxy that tells any does not fill the memory.
_ADDRESSES = 8

_METHODS = ("GET", "HEAD", "POST", "DELETE")

#: What a client behind a proxy is called of which the proxy does not tell more.
_UNKNOWN = "unknown"


def edge_middleware(settings: Settings, methods: Sequence[str] = _METHODS) -> list[Middleware]:
    """What every request passes first, outermost first; pages of others may use *methods*."""
    return [
        Middleware(Edge, settings=settings),
        Middleware(SafeHeaders, hsts_s=settings.hsts_s),
        # Anybody may read from any page, without credentials: with them '*' would be no answer.
        Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=methods,
            allow_headers=["Authorization", "Range", "If-Range", "If-None-Match", "If-Match"],
            expose_headers=[
                "Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Location",
                "Retry-After", "X-Request-Id",
            ],
            max_age=86_400,
        ),
        Middleware(Rate, settings=settings),
    ]  # fmt: skip


def root_of(scope: Scope, settings: Settings) -> str:
    """The public address under which a request came, without slash at its end."""
    return str(scope.get(ROOT) or settings.root_url)


class AtAddress:
    """The application that *build* makes for the public address of each request."""

    def __init__(self, settings: Settings, build: Callable[[Settings], Starlette]) -> None:
        self._settings = settings
        self._built = lru_cache(_ADDRESSES)(
            lambda root: build(settings.model_copy(update={"base_url": root}))
        )
        self._built(settings.root_url)  # what is wrong with it shows at the start

    def app_for(self, scope: Scope) -> Starlette:
        """Who answers a request."""
        return self._built(root_of(scope, self._settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self.app_for(scope)(scope, receive, send)


class Edge:
    """Middleware: writes client, scheme and public address of a request into its scope."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._proxies = Proxies(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what was found; a request for no possible host is refused (RFC 9112, 3.2)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) > 1 or not all(is_host(host) for host in hosts if host):
            said = PlainTextResponse("Host: expected one name or address\n", 400)
            await said(scope, receive, send)
            return
        self._look(scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._lead_here(scope, MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, answer)

    def _lead_here(self, scope: Scope, headers: MutableHeaders) -> None:
        """Starlette leads to other spellings of a path at the host that the client named."""
        place = headers.get("Location", "")
        if place.startswith(("http://", "https://")):
            named = URL(scope=scope)
            own = f"{named.scheme}://{named.netloc}/"
            if place.startswith(own):
                headers["Location"] = f"{root_of(scope, self._settings)}/{place[len(own) :]}"

    def _look(self, scope: Scope) -> None:
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._proxies.trust(peer):
            return
        scope[PROXIED] = True
        hop = self._proxies.outermost(Headers(scope=scope))
        if hop is None:
            return
        scope["client"] = hop.client or _UNKNOWN, 0
        if hop.scheme:
            scope["scheme"] = hop.scheme
            if hop.host and not self._settings.base_url:
                scope[ROOT] = f"{hop.scheme}://{hop.host}"
