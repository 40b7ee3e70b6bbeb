"""OAI-PMH 2.0 at ``/oai``, with VOSI capabilities and availability below it.

Whatever is wrong with a request is status 200 with error elements (OAI-PMH 2.0, "Error and
Exception Conditions"); HTTP has a say only where we cannot answer at all.
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

from vo_service.errors import TransientError, UsageError, VOError
from vo_service.formats.vosi import availability
from vo_service.params.oai import Fault, OaiError, parse_harvest
from vo_service.services.capabilities import registry_capabilities
from vo_service.services.oai import OaiService, error_answer
from vo_service.settings import Settings
from vo_service.web.compression import Compressed
from vo_service.web.exchange import request_pairs
from vo_service.web.faults import error_headers, status_of

__all__ = ["oai_routes"]

_log = logging.getLogger(__name__)
_XML = "text/xml"


def oai_routes(settings: Settings, service: OaiService) -> list[Route]:
    """Routes of ``/oai`` itself, which has no slash at its end, and of what is below it."""
    since = datetime.now(UTC)
    described = registry_capabilities(settings)

    async def harvest(request: Request) -> Response:
        try:
            pairs = await request_pairs(request)
        except UsageError as error:
            raise OaiError([Fault("badArgument", str(error))]) from error
        return Response(await service.answer(parse_harvest(pairs)), media_type=_XML)

    async def capabilities(request: Request) -> Response:
        return Response(described, media_type=_XML)

    async def available(request: Request) -> Response:
        try:
            await service.available()
        except TransientError as error:
            return Response(availability(False, notes=[str(error)]), media_type=_XML)
        return Response(availability(True, up_since=since), media_type=_XML)

    async def answer_fault(request: Request, error: Exception) -> Response:
        assert isinstance(error, OaiError)  # noqa: S101 - registered for this kind only
        return Response(error_answer(settings, error), media_type=_XML)

    app = Starlette(
        routes=[
            Route("/oai", harvest, methods=["GET", "POST"]),
            Route("/oai/", harvest, methods=["GET", "POST"]),
            Route("/oai/capabilities", capabilities),
            Route("/oai/availability", available),
        ],
        exception_handlers={
            OaiError: answer_fault,
            VOError: _answer_error,
            HTTPException: _answer_http,
            ClientDisconnect: _nobody,
            Exception: _defect,
        },
        middleware=[Middleware(Compressed)],
    )
    return [Route("/oai", app), Route("/oai/{rest:path}", app)]


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    headers = dict(error_headers(error) or {})
    if isinstance(error, TransientError):
        headers.setdefault("Retry-After", "60")
    return PlainTextResponse(f"{error}\n", status_of(error), headers)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    place = f"{request.method} {request.url.path}"
    return PlainTextResponse(f"{place}: {error.detail}\n", error.status_code, error.headers)


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("defect at %s", request.url.path, exc_info=error)
    return PlainTextResponse("this service made an error; its operator finds it in the log\n", 500)
