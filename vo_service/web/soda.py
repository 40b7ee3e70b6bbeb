"""SODA 1.0 at ``/soda``: sync, async, capabilities, availability, examples.

Errors are plain text that begins with the word of the fault (SODA 1.0, "Errors").
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import (
    ForbiddenError,
    MultiValuedError,
    NotFoundError,
    TransientError,
    UnauthorizedError,
    UsageError,
    VOError,
)
from vo_service.formats.examples import MEDIA_TYPE, examples_document
from vo_service.params.soda import parse_cutout_query
from vo_service.services.capabilities import soda_capabilities
from vo_service.services.cutouts import soda_url
from vo_service.services.cutting import Cutter
from vo_service.services.deliveries import Deliveries, Delivery
from vo_service.services.downloads import DownloadLog
from vo_service.services.jobs import JobService
from vo_service.services.search_examples import soda_examples
from vo_service.services.soda import SodaService
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.faults import error_headers, status_of
from vo_service.web.files import FileDelivery
from vo_service.web.noted import noting
from vo_service.web.searches import availability_of, documents
from vo_service.web.uws import uws_routes
from vo_service.web.visitors import visitor_of

__all__ = ["soda_app"]

_log = logging.getLogger(__name__)

#: Cutouts that are worked out at once: it takes all of a processor.
_CUTTERS = 4

_FAULTS: dict[type[VOError], str] = {
    UnauthorizedError: "AuthenticationError",
    ForbiddenError: "AuthorizationError",
    MultiValuedError: "MultiValuedParamNotSupported",
    UsageError: "UsageError",
    NotFoundError: "UsageError",
    TransientError: "ServiceUnavailable",
    VOError: "Error",
}


def soda_app(
    settings: Settings,
    service: SodaService,
    jobs: JobService,
    deliveries: Deliveries,
    log: DownloadLog,
) -> Starlette:
    """The SODA sub-application."""
    cutter, cutters = Cutter.of(settings), anyio.CapacityLimiter(_CUTTERS)
    described = soda_capabilities(settings)
    examples = examples_document(soda_examples(settings), "SODA examples")

    async def sync(request: Request) -> Response:
        query = parse_cutout_query(await request_pairs(request), limit=settings.cutouts_sync_limit)
        visitor = visitor_of(request)
        located = await while_connected(request.receive, service.locate(query.ids, visitor))
        # Before asking who may read them: nothing may happen in between unseen.
        under_way = [deliveries.begin(dataset.place) for dataset in located]
        found = await service.check(located, visitor, corrected=query.corrected)
        for delivery, one in zip(under_way, found, strict=True):
            delivery.state = one.standing.state
        if query.is_picture:
            picture = await to_thread.run_sync(cutter.picture, query, found, limiter=cutters)
            if picture is None:
                return Response(status_code=204)
            return Response(picture, media_type=query.media_type)
        cutout = await to_thread.run_sync(cutter.cutout, query, found, limiter=cutters)
        if cutout is None:
            return Response(status_code=204)
        notes = [noting(log, request, one.standing.product_id, "cutout") for one in found]

        def note(status: int, size: int, complete: bool) -> None:
            for each in notes:
                each(status, size, complete)

        running = _all_of(under_way)
        return FileDelivery(request, cutout, query.media_type, running=running, on_end=note)

    return Starlette(
        routes=[
            Route("/sync", sync, methods=["GET", "POST"]),
            *uws_routes(settings, jobs, f"{soda_url(settings)}/async"),
            Route("/capabilities", documents(lambda _: described)),
            Route("/availability", availability_of(service)),
            Route("/examples", documents(lambda _: examples, MEDIA_TYPE)),
        ],
        exception_handlers={
            VOError: _answer_error,
            HTTPException: _answer_http,
            ClientDisconnect: _nobody,
            Exception: _defect,
        },
    )


def _all_of(
    under_way: list[Delivery],
) -> Callable[[anyio.CancelScope], AbstractContextManager[object]]:
    """While bytes are sent, a withdrawal of one of the files cuts the delivery."""

    @contextlib.contextmanager
    def running(scope: anyio.CancelScope) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for delivery in under_way:
                stack.enter_context(delivery.sending(scope))
            yield

    return running


def _error(fault: str, message: str, status: int, headers: dict[str, str] | None) -> Response:
    return PlainTextResponse(f"{fault}: {message}\n", status, headers)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    fault = next(_FAULTS[kind] for kind in type(error).__mro__ if kind in _FAULTS)
    return _error(fault, str(error), status_of(error), error_headers(error))


async def _answer_http(request: Request, error: Exception) -> Response:
    """What Starlette refuses: a place that is not here, a method, a broken multipart form."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    place = f"{request.method} {request.url.path}"
    said = f"{place}: {error.detail}"
    return _error("UsageError", said, error.status_code, dict(error.headers or {}))


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("defect at %s", request.url.path, exc_info=error)
    return _error(
        "Error", "this service made an error; its operator finds it in the log", 500, None
    )
