"""What every answer tells a browser to beware of.

Source: RFC 6797 (HSTS); Fetch, "X-Content-Type-Options"; Referrer Policy; Content Security Policy
Level 3. An endpoint that knows better says so itself: only what it left out is added.
"""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PAGE_POLICY", "SafeHeaders"]

#: For pages: no scripts, pictures of our own, nothing in frames of others.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_PAGES = ("text/html", "application/xhtml+xml")


class SafeHeaders:
    """Middleware: headers of safety, on answers of every kind.

    *hsts_s* are the seconds for which browsers are told to come by HTTPS only; 0 tells nothing.
    """

    def __init__(self, app: ASGIApp, hsts_s: int) -> None:
        self._app = app
        self._hsts = f"max-age={hsts_s}" if hsts_s else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to the head of the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secure = self._hsts and scope["scheme"] == "https" and _has_name(scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                if headers.get("Content-Type", "").startswith(_PAGES):
                    headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                if secure:
                    headers.setdefault("Strict-Transport-Security", self._hsts)
            await send(message)

        await self._app(scope, receive, answer)


def _has_name(scope: Scope) -> bool:
    """Whether the client asked a host by a name of its own.

    The policy counts for all ports of a host: for ``localhost`` it would lock people out of
    whatever else they run there.
    """
    asked = Headers(scope=scope).get("host", "")
    if asked.startswith("["):
        return False
    host = asked.partition(":")[0].lower()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host not in {"", "localhost"} and not host.endswith(".localhost")
    return False
