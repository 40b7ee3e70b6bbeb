"""DataLink 1.1 at ``/datalink``: links, capabilities, availability; and headers as text.

An identifier that has no link is a row that says why; errors of the request as a whole are
VOTables whose text begins with the fault (DataLink 1.1, "Errors").
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError, TransientError, UsageError, VOError
from vo_service.formats.header_text import header_text
from vo_service.formats.vosi import availability
from vo_service.formats.votable import Info, error_votable, votable
from vo_service.params.datalink import parse_header_query, parse_links_query
from vo_service.services.capabilities import datalink_capabilities
from vo_service.services.datalink import LINKS_STANDARD, LinkService
from vo_service.services.soda import SodaService
from vo_service.settings import Settings
from vo_service.web.compression import Compressed
from vo_service.web.exchange import TableResponse, request_pairs, while_connected
from vo_service.web.faults import error_headers, status_of
from vo_service.web.visitors import visitor_of

__all__ = ["datalink_app"]

_log = logging.getLogger(__name__)
_STANDARD = Info("standardID", LINKS_STANDARD)

_FAULTS: dict[type[VOError], str] = {
    UsageError: "UsageFault",
    NotFoundError: "NotFoundFault",
    TransientError: "TransientFault",
    VOError: "DefaultFault",
}


def datalink_app(settings: Settings, service: LinkService, cutouts: SodaService) -> Starlette:
    """The DataLink sub-application."""
    since = datetime.now(UTC)
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

    async def capabilities(request: Request) -> Response:
        return Response(described, media_type="text/xml")

    async def available(request: Request) -> Response:
        try:
            await service.available()
        except TransientError as error:
            return Response(availability(False, notes=[str(error)]), media_type="text/xml")
        return Response(availability(True, up_since=since), media_type="text/xml")

    return Starlette(
        routes=[
            Route("/links", links, methods=["GET", "POST"]),
            Route("/header", header, methods=["GET", "POST"]),
            Route("/capabilities", capabilities),
            Route("/availability", available),
        ],
        exception_handlers={
            VOError: _answer_error,
            HTTPException: _answer_http,
            ClientDisconnect: _nobody,
            Exception: _defect,
        },
        middleware=[Middleware(Compressed)],
    )


def _error(fault: str, message: str, status: int, headers: dict[str, str] | None) -> Response:
    document = error_votable(f"{fault}: {message}", [_STANDARD])
    return Response(document, status, headers, media_type="application/x-votable+xml")


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    fault = next(_FAULTS[kind] for kind in type(error).__mro__ if kind in _FAULTS)
    return _error(fault, str(error), status_of(error), error_headers(error))


async def _answer_http(request: Request, error: Exception) -> Response:
    """What Starlette refuses: a place that is not here, a method, a broken multipart form."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    fault = "NotFoundFault" if error.status_code == 404 else "UsageFault"
    place = f"{request.method} {request.url.path}"
    return _error(fault, f"{place}: {error.detail}", error.status_code, dict(error.headers or {}))


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("defect at %s", request.url.path, exc_info=error)
    said = "this service made an error; its operator finds it in the log"
    return _error("FatalFault", said, 500, None)
