"""DataLink 1.1 at ``/datalink``: links, capabilities, availability; and headers as text.

An identifier that has no link is a row that says why; errors of the request as a whole are
VOTables whose text begins with the fault (DataLink 1.1, "Errors").
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.formats.header_text import header_text
from vo_service.formats.votable import Info, error_votable, votable
from vo_service.params.datalink import parse_header_query, parse_links_query
from vo_service.services.capabilities import datalink_capabilities
from vo_service.services.datalink import LINKS_STANDARD, LinkService
from vo_service.services.soda import SodaService
from vo_service.settings import Settings
from vo_service.web.exchange import TableResponse, request_pairs, while_connected
from vo_service.web.searches import availability_of, documents, search_app
from vo_service.web.visitors import visitor_of

__all__ = ["datalink_app"]

_STANDARD = Info("standardID", LINKS_STANDARD)


def datalink_app(settings: Settings, service: LinkService, cutouts: SodaService) -> Starlette:
    """The DataLink sub-application."""
    described = datalink_capabilities(settings)

    async def links(request: Request) -> Response:
        wanted = parse_links_query(await request_pairs(request), maxrec_limit=settings.maxrec_limit)
        visitor = visitor_of(request)
        services = await cutouts.descriptors(settings, wanted.ids, visitor)
        rows = await while_connected(request.receive, service.links(wanted, visitor))
        body = votable(rows, serialization="TABLEDATA", infos=[_STANDARD], services=services)
        return TableResponse(rows, body, wanted.media_type)

    async def header(request: Request) -> Response:
        identifier = parse_header_query(await request_pairs(request))
        visitor = visitor_of(request)
        [dataset] = await cutouts.locate([identifier], visitor)
        if not dataset.readable:
            await cutouts.check([dataset], visitor)  # says why
        return PlainTextResponse(
            header_text(dataset.hdus), headers={"X-Content-Type-Options": "nosniff"}
        )

    return search_app(
        [
            Route("/links", links, methods=["GET", "POST"]),
            Route("/header", header, methods=["GET", "POST"]),
            Route("/capabilities", documents(lambda _: described)),
            Route("/availability", availability_of(service)),
        ],
        _tell,
    )


def _tell(request: Request, fault: str, message: str, status: int) -> Response:
    document = error_votable(f"{fault}: {message}", [_STANDARD])
    return Response(document, status, media_type="application/x-votable+xml")
