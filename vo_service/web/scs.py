"""Simple Cone Search 1.03 at ``/scs/<table>``: the search itself, and VOSI beside it.

Errors are VOTables with an INFO called Error and status 200 (Simple Cone Search 1.03, section 2).
"""

from __future__ import annotations

from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vo_service.formats.output import output_format
from vo_service.formats.votable import cone_error
from vo_service.params.scs import parse_cone_search
from vo_service.services.outage import told_of
from vo_service.services.scs import ConeService
from vo_service.services.search_capabilities import scs_capabilities
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.searches import XML, always_ok, availability_of, search_app, table_answer
from vo_service.web.visitors import visitor_of

__all__ = ["scs_app"]

#: What old clients read: TABLEDATA as text/xml.
_DEFAULT = "text/xml"


def scs_app(settings: Settings, service: ConeService) -> Starlette:
    """The cone search sub-application."""

    async def query(request: Request) -> Response:
        table = await service.table(request.path_params["table"])
        search = parse_cone_search(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        written, media_type = output_format(search.response_format or _DEFAULT)
        work = service.find(search, table, visitor_of(request))
        rows = await while_connected(request.receive, work)
        await told_of(rows, written)
        services = service.descriptors(table, rows.fields)
        return table_answer(rows, written, media_type, service.infos(), services)

    async def capabilities(request: Request) -> Response:
        table = await service.table(request.path_params["table"])
        return Response(scs_capabilities(settings, table.table.name), media_type=XML)

    async def home(request: Request) -> Response:
        tables = await service.tables()
        addresses = (f"{settings.root_url}/scs/{escape(one.table.name)}?" for one in tables)
        rows = "".join(f"<li><code>{address}</code></li>" for address in addresses)
        return HTMLResponse(
            "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>Cone search</title>"
            "</head><body><h1>Cone search</h1><p>Give one of these addresses to TOPCAT or PyVO:"
            f"</p><ul>{rows}</ul></body></html>"
        )

    return search_app(
        [
            Route("/", home),
            Route("/{table}", query, methods=["GET", "POST"]),
            Route("/{table}/capabilities", capabilities),
            Route("/{table}/availability", availability_of(service.tap)),
        ],
        _tell,
    )


def _tell(request: Request, fault: str, message: str, status: int) -> Response:
    return Response(cone_error(message), always_ok(status), media_type=XML)
