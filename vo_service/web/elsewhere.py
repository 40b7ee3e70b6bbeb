"""``/elsewhere``: what exists at a position, here and at other sites; a page, or any format.

``?POS=ra,dec&RADIUS=degrees``, with RESPONSEFORMAT as everywhere; without POS, a form.
"""

from __future__ import annotations

from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from vo_service.formats.output import output_format
from vo_service.params.elsewhere import parse_elsewhere
from vo_service.services.elsewhere import ElsewhereService
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.searches import search_app, table_answer
from vo_service.web.visitors import visitor_of

__all__ = ["elsewhere_app"]

_PAGE = "text/html"


def elsewhere_app(settings: Settings, service: ElsewhereService) -> Starlette:
    """The sub-application."""
    form = _form(settings.publisher)

    async def counts(request: Request) -> Response:
        search = parse_elsewhere(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        if search.circle is None:
            return HTMLResponse(form)
        written, media_type = output_format(search.response_format or _PAGE)
        work = service.counts(search.circle, search, visitor_of(request))
        rows, infos = await while_connected(request.receive, work)
        return table_answer(rows, written, media_type, infos)

    return search_app([Route("/", counts, methods=["GET", "POST"])], _tell)


def _tell(request: Request, fault: str, message: str, status: int) -> Response:
    return PlainTextResponse(f"{fault}: {message}\n", status)


def _form(publisher: str) -> str:
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>What exists here</title>'
        "<style>:root { color-scheme: light dark } body { font: 1rem/1.6 system-ui, sans-serif; "
        "max-width: 52rem; margin: 0 auto; padding: 2rem 1rem } input { font: inherit } "
        "button { font: inherit }</style>"
        "<h1>What exists at a position</h1><p>Products of "
        f"{escape(publisher)} and of other sites whose footprint or position lies there, counted "
        "by facility and instrument.</p>"
        '<form><p><label>Right ascension, declination (ICRS, degrees) <input name="POS" '
        'placeholder="149.38, 69.65" required size="24"></label></p>'
        '<p><label>Radius (degrees) <input name="RADIUS" value="0.1" size="8"></label></p>'
        '<p><label>As <select name="RESPONSEFORMAT"><option value="html">a page</option>'
        '<option value="votable">VOTable</option><option value="json">JSON</option>'
        '<option value="csv">CSV</option></select></label></p>'
        "<p><button>Count</button></p></form>"
        "<p>All rows and their addresses: tables <code>elsewhere.everything</code> and "
        '<code>elsewhere.obscore</code> of <a href="../tap/examples#elsewhere">TAP</a>.</p>'
        '<p><a href="../">Up</a></p></html>'
    )
