"""TAP 1.1 at ``/tap``: sync, async, tables, capabilities, availability, examples.

Errors are VOTables with a readable message (DALI 1.1, "Errors").
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError, VOError
from vo_service.formats.output import output_format
from vo_service.formats.uwspage import error_page
from vo_service.formats.votable import error_votable
from vo_service.params.tap import parse_tap_query
from vo_service.services.datalink import links_descriptors
from vo_service.services.jobs import JobService
from vo_service.services.origin import query_origin
from vo_service.services.outage import told_of
from vo_service.services.tap import TapService
from vo_service.settings import Settings
from vo_service.web.browsers import page_response, wants_page
from vo_service.web.compression import Compressed
from vo_service.web.exchange import TableResponse, while_connected
from vo_service.web.faults import error_headers, status_of
from vo_service.web.parts import request_with_parts
from vo_service.web.tap_documents import TapDocuments
from vo_service.web.uws import uws_routes
from vo_service.web.visitors import visitor_of

__all__ = ["tap_app"]

_log = logging.getLogger(__name__)
_VOTABLE = "application/x-votable+xml"

Endpoint = Callable[[Request], Awaitable[Response]]


def tap_app(settings: Settings, service: TapService, jobs: JobService) -> Starlette:
    """The TAP sub-application."""

    async def sync(request: Request) -> Response:
        async with request_with_parts(request, settings) as (pairs, parts):
            wanted = parse_tap_query(
                pairs,
                maxrec_default=settings.maxrec_default,
                maxrec_limit=settings.maxrec_limit,
                query_length=settings.query_length_limit,
                uploads_limit=settings.uploads_limit,
            )
            written, media_type = output_format(wanted.response_format)
            work = service.query(wanted, parts, visitor_of(request))
            rows = await while_connected(request.receive, work)
        await told_of(rows, written)
        services = links_descriptors(settings, rows.fields)
        body = written.write(rows, query_origin(settings, wanted), services)
        response = TableResponse(rows, body, media_type)
        response.headers["Content-Disposition"] = written.disposition
        response.headers["X-Content-Type-Options"] = "nosniff"  # text stays text in a browser
        return response

    documents = TapDocuments(settings, service)
    return Starlette(
        routes=[
            Route("/", _home(settings)),
            Route("/sync", sync, methods=["GET", "POST"]),
            *uws_routes(settings, jobs, f"{settings.root_url}/tap/async"),
            Route("/capabilities", documents.capabilities),
            Route("/availability", documents.availability),
            Route("/tables", documents.tables),
            Route("/tables/{name:path}", documents.table),
            Route("/examples", documents.examples),
        ],
        exception_handlers={
            VOError: _answer_error,
            ClientDisconnect: _nobody,
            404: _no_such_place,
            405: _wrong_method,
            Exception: _defect,
        },
        middleware=[Middleware(Compressed)],
    )


def _home(settings: Settings) -> Endpoint:
    async def home(request: Request) -> Response:
        url = f"{settings.root_url}/tap"
        return HTMLResponse(
            "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>TAP</title></head>"
            "<body><h1>TAP service</h1><p>Give this address to TOPCAT or PyVO: "
            f"<code>{url}</code></p><ul>"
            "<li><a href='examples'>Example queries</a></li>"
            "<li><a href='tables'>Tables</a></li>"
            "<li><a href='capabilities'>Capabilities</a></li>"
            "<li><a href='availability'>Availability</a></li></ul></body></html>"
        )

    return home


def _error(
    request: Request, message: str, status: int, headers: dict[str, str] | None = None
) -> Response:
    """A VOTable, but for browsers, which can only store one."""
    if wants_page(request):
        response = page_response(error_page(message), status)
    else:
        response = Response(error_votable(message), status, media_type=_VOTABLE)
    response.headers.update(headers or {})
    return response


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    return _error(request, str(error), status_of(error), error_headers(error))


async def _no_such_place(request: Request, error: Exception) -> Response:
    return await _answer_error(request, NotFoundError(f"there is nothing at {request.url.path}"))


async def _wrong_method(request: Request, error: Exception) -> Response:
    allowed = getattr(error, "headers", None) or {}
    said = f"{request.method} is not possible here: expected {allowed.get('Allow', 'GET')}"
    return _error(request, said, 405, dict(allowed))


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("defect at %s", request.url.path, exc_info=error)
    return _error(request, "this service made an error; its operator finds it in the log", 500)
