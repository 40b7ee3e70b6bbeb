"""Who asks, found out before anything else, and how one that is not known may say so.

A middleware reads ``Authorization`` (Basic, Bearer) and the cookie of a session; it answers wrong
credentials itself, adds the challenges to every 401, and tells a client that it was known. With
it come the pages ``/login``, ``/logout`` and ``/whoami``. Source: RFC 9110, "HTTP Authentication";
RFC 7617 (Basic); RFC 6750 (Bearer); AuthVO 1.0 WD (ivoa_cookie, X-VO-Authenticated; optional
authentication shows as challenges beside 200 of capabilities).
"""

from __future__ import annotations

import base64
import binascii
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vo_service.errors import UnauthorizedError, VOError
from vo_service.model.visitor import Visitor
from vo_service.services.access import AccessService
from vo_service.settings import Settings
from vo_service.web.edge import root_of
from vo_service.web.faults import error_headers, status_of
from vo_service.web.visitors import visitor_of

__all__ = ["COOKIE", "Authentication", "challenges"]

#: The cookie of a session.
COOKIE = "vo_session"

_PASSWORD = "ivo://ivoa.net/sso#tls-with-password"  # noqa: S105 - the name of a protocol
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,200}=*")  # RFC 6750, "b64token"


def challenges(settings: Settings, root: str) -> list[str]:
    """Ways to log in, a value of ``WWW-Authenticate`` each; *root* is our public address."""
    realm = re.sub(r'[^ -~]|["\\]', "", settings.publisher)
    login = f'standard_id="{_PASSWORD}", access_url="{root}/login"'
    return [
        f'Basic realm="{realm}", charset="UTF-8"',
        f'Bearer realm="{realm}"',
        f"ivoa_cookie {login}",
        f"ivoa_bearer {login}",
    ]


class Authentication:
    """The middleware: leaves a `Visitor` in ``scope["visitor"]`` where somebody is known."""

    def __init__(self, app: ASGIApp, settings: Settings, service: AccessService) -> None:
        self._app = app
        self._service = service
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks, then go on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._tell(scope, message)
            await send(message)

        try:
            visitor = await self._visitor(scope)
        except VOError as error:
            said = PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))
            await said(scope, receive, answer)
            return
        if visitor is not None:
            scope["visitor"] = visitor
        await self._app(scope, receive, answer)

    async def _visitor(self, scope: Scope) -> Visitor | None:
        headers = Headers(scope=scope)
        address = visitor_of(Request(scope)).address
        given = headers.getlist("authorization")
        if len(given) > 1:
            raise UnauthorizedError("the request has two Authorization headers: expected one")
        if given:
            return await self._authorized(given[0], address)
        secret = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if secret is not None and _TOKEN.fullmatch(secret):
            return await self._service.by_session(secret, address)
        return None

    async def _authorized(self, header: str, address: str) -> Visitor:
        scheme, _, rest = header.strip().partition(" ")
        match scheme.lower():
            case "basic":
                name, password = _basic(rest.strip())
                return await self._service.by_password(name, password, address)
            case "bearer" if _TOKEN.fullmatch(rest.strip()):
                return await self._service.by_token(rest.strip(), address)
        raise UnauthorizedError("Authorization: expected Basic with name and password, or Bearer")

    def _tell(self, scope: Scope, message: Message) -> None:
        """Write into the head of an answer what it is to say of who asked."""
        headers = MutableHeaders(scope=message)
        visitor = scope.get("visitor")
        if isinstance(visitor, Visitor) and visitor.name is not None:
            headers["X-VO-Authenticated"] = visitor.name
            headers.setdefault("Cache-Control", "private")
        elif scope["path"].endswith("/capabilities") or message["status"] == 401:
            # To the login page a browser shall not add a form of its own, as for Basic it does.
            offered = challenges(self._settings, root_of(scope, self._settings))
            for value in offered[2 if scope["path"] == "/login" else 0 :]:
                headers.append("WWW-Authenticate", value)


def _basic(text: str) -> tuple[str, str]:
    """Name and password (RFC 7617)."""
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        name, colon, password = "", "", ""
    if not colon:
        raise UnauthorizedError("Authorization: Basic: expected base64 of name:password in UTF-8")
    return name, password
