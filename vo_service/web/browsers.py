"""Browsers among the clients: who gets a page, and whose clicks are believed.

Source: RFC 9110, "Accept"; Fetch Metadata Request Headers (W3C), "Sec-Fetch-Site".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from vo_service.errors import ForbiddenError
from vo_service.web.visitors import visitor_of

__all__ = ["page_response", "refuse_other_sites", "wants_page"]

_PAGES = {"text/html", "application/xhtml+xml"}

#: What Java sends for a program that says nothing, TOPCAT for one: no wish for a page.
_JAVA = "text/html, image/gif, image/jpeg"


def wants_page(request: Request) -> bool:
    """Whether a client likes a page best; one that takes everything gets the document."""
    accepted = request.headers.get("accept", "")
    if accepted.startswith(_JAVA):
        return False
    kinds = [_quality(kind) for kind in accepted.split(",")]
    best, quality = max(kinds, key=lambda kind: kind[1])  # the first of those that are equal
    return best in _PAGES and quality > 0


def page_response(page: bytes, status: int = 200) -> Response:
    """A page without scripts, not to be framed by others, whose address stays on this site.

    The address of a job may be all that protects it.
    """
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    )
    return Response(
        page,
        status,
        {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            "Vary": "Accept",
        },
        "text/html; charset=utf-8",
    )


def refuse_other_sites(request: Request) -> None:
    """Refuse a change that a page of another site makes in the name of a known visitor.

    A browser sends what it knows of a visitor along with any site's form. Of visitors whom
    nobody knows it has nothing to send: the pages of others that CORS lets in may act for them.

    Raises
    ------
    ForbiddenError
        If the visitor is known and the browser says that another site asks.
    """
    if visitor_of(request).name is None:
        return
    site = request.headers.get("sec-fetch-site")
    if site is None:
        origin = request.headers.get("origin")
        same = origin is None or origin.partition("://")[2] == request.headers.get("host")
    else:
        same = site in {"same-origin", "none"}
    if not same:
        raise ForbiddenError("a page of another site asked for this: do it from a page of this one")


def _quality(kind: str) -> tuple[str, float]:
    """A media type of Accept and how much it is liked, 0 to 1."""
    name, *parameters = (part.strip().lower() for part in kind.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0
