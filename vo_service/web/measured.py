"""The outermost middleware: every request gets an id, is counted and timed, and may be logged.

The id is that of ``X-Request-ID`` where a trusted proxy sent it, else made here; it goes back with
the answer, into log lines and into SQL. Meters are labelled with the template of the route, never
with the path. What the log of requests says of a person is the operator's choice
(``log_personal``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Mount, Route, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vo_service.model.visitor import Visitor
from vo_service.settings import Settings
from vo_service.telemetry.context import acceptable, new_id, working_for
from vo_service.telemetry.logs import ACCESS, FIELDS
from vo_service.telemetry.meters import REQUEST_BYTES, REQUEST_SECONDS, REQUESTS, UNDER_WAY
from vo_service.telemetry.tracing import span

__all__ = ["Measured", "Templates"]

_HEADER = "x-request-id"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_UNKNOWN = "(none)"
#: An answer that was never begun: the client left.
_LEFT = 499


class Templates:
    """Which route a path belongs to: ``/tap/async/{job_id}`` for all jobs."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Any, str]]] = {}

    def learned(self, application: Starlette) -> Starlette:
        """*application*, whose templates are known now; those at another address are the same."""
        if not self._known:
            for template in _templates(application.routes, ""):
                pattern, readable, _ = compile_path(template)
                self._known.setdefault(_first(template), []).append((pattern, readable))
        return application

    def of(self, path: str) -> str:
        """The template of *path*; ``(none)`` where there is no such place."""
        for part in (_first(path), ""):
            for pattern, template in self._known.get(part, ()):
                if pattern.match(path):
                    return template
        return _UNKNOWN


def _templates(routes: Iterable[BaseRoute], above: str) -> Iterator[str]:
    for route in routes:
        match route:
            case Route():
                yield above + route.path
            case Mount() if route.routes:
                yield from _templates(route.routes, above + route.path)
            case Mount():
                yield f"{above}{route.path}/{{path:path}}"


def _first(path: str) -> str:
    """The first part of a path; empty where that is variable."""
    part = path.lstrip("/").partition("/")[0]
    return "" if "{" in part else part


class Measured:
    """The middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, templates: Templates) -> None:
        self._app = app
        self._templates = templates
        self._personal = settings.log_personal
        proxies = settings.trusted_proxies
        self._trusted = [ip_network(proxy) for proxy in proxies if proxy != "unix"]
        self._unix_trusted = "unix" in proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at the answer as it leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = self._id(scope)
        status, size = 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[_HEADER] = name
            else:
                size += len(message.get("body", b""))
            await send(message)

        # Before anything changes the scope: routing does.
        asked = {"path": scope["path"], "query": scope["query_string"].decode("latin-1")}
        method = scope["method"] if scope["method"] in _METHODS else "other"
        endpoint = self._templates.of(scope["path"])
        began = time.perf_counter()
        UNDER_WAY.inc()
        try:
            with working_for(name), span(f"{method} {endpoint}"):
                await self._app(scope, receive, counted)
        except Exception:
            status = status or 500
            raise
        finally:
            UNDER_WAY.dec()
            seconds = time.perf_counter() - began
            REQUESTS.labels(endpoint, method, str(status or _LEFT)).inc()
            REQUEST_SECONDS.labels(endpoint).observe(seconds)
            REQUEST_BYTES.labels(endpoint).inc(size)
            with working_for(name):
                ACCESS.info(
                    "request",
                    extra={
                        FIELDS: {
                            "method": method,
                            "endpoint": endpoint,
                            "status": status or _LEFT,
                            "bytes": size,
                            "seconds": round(seconds, 4),
                            **(_personal(scope, asked) if self._personal else {}),
                        }
                    },
                )

    def _id(self, scope: Scope) -> str:
        given = Headers(scope=scope).getlist(_HEADER)
        if len(given) == 1 and acceptable(given[0]) and self._from_proxy(scope):
            return given[0]
        return new_id()

    def _from_proxy(self, scope: Scope) -> bool:
        if not scope.get("client"):
            return self._unix_trusted
        try:
            peer = ip_address(scope["client"][0])
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)


def _personal(scope: Scope, asked: dict[str, str]) -> dict[str, str | None]:
    visitor = scope.get("visitor")
    client = scope.get("client")
    return {
        **asked,
        "client": client[0] if client else None,
        "person": visitor.name if isinstance(visitor, Visitor) else None,
    }
