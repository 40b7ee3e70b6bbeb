"""What endpoints of the simple protocols (SIA, SCS, SSA, DataLink) share: answers, errors, VOSI.

Each says errors in its own document; which error it is, and its HTTP status, is the same for all.
Source: DALI 1.1, "Errors"; VOSI 1.1.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vo_service.errors import NotFoundError, TransientError, UsageError, VOError
from vo_service.formats.encoder import Heading, Info, Input, ServiceDescriptor, encoded
from vo_service.formats.output import OutputFormat
from vo_service.formats.vosi import availability
from vo_service.formats.votable import VOTableEncoder, error_votable
from vo_service.model.table import Rows
from vo_service.web.compression import Compressed
from vo_service.web.exchange import TableResponse
from vo_service.web.faults import error_headers, status_of

__all__ = [
    "XML",
    "Endpoint",
    "Tell",
    "always_ok",
    "availability_of",
    "collection_of",
    "documents",
    "query_routes",
    "search_app",
    "table_answer",
    "told_in_votable",
    "votable_answer",
]

_log = logging.getLogger(__name__)

XML = "text/xml"

Endpoint = Callable[[Request], Awaitable[Response]]

#: The answer that tells an error: the request, the fault's name, what is wrong, the status.
Tell = Callable[[Request, str, str, int], Response]


class Available(Protocol):
    """What can be asked whether it works."""

    async def available(self) -> None:
        """Raise TransientError if it does not."""


_FAULTS: dict[type[VOError], str] = {
    UsageError: "UsageFault",
    NotFoundError: "NotFoundFault",
    TransientError: "TransientFault",
    VOError: "DefaultFault",
}


def search_app(routes: Sequence[BaseRoute], tell: Tell) -> Starlette:
    """A sub-application whose errors are told by *tell*."""

    async def answer_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
        fault = next(_FAULTS[kind] for kind in type(error).__mro__ if kind in _FAULTS)
        response = tell(request, fault, str(error), status_of(error))
        response.headers.update(error_headers(error))
        return response

    async def answer_http(request: Request, error: Exception) -> Response:
        """What Starlette refuses: a place that is not here, a method, a broken form."""
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
        fault = "NotFoundFault" if error.status_code == 404 else "UsageFault"
        said = f"{request.method} {request.url.path}: {error.detail}"
        response = tell(request, fault, said, error.status_code)
        response.status_code = error.status_code
        response.headers.update(dict(error.headers or {}))
        return response

    async def nobody(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    async def defect(request: Request, error: Exception) -> Response:
        _log.error("defect at %s", request.url.path, exc_info=error)
        said = "this service made an error; its operator finds it in the log"
        return tell(request, "FatalFault", said, 500)

    return Starlette(
        routes=list(routes),
        exception_handlers={
            VOError: answer_error,
            HTTPException: answer_http,
            ClientDisconnect: nobody,
            Exception: defect,
        },
        middleware=[Middleware(Compressed)],
    )


def always_ok(status: int) -> int:
    """The status where a protocol tells errors of the request in documents with 200."""
    return 200 if status in (400, 413) else status


def told_in_votable(request: Request, fault: str, message: str, status: int) -> Response:
    """SIA 1.0 and SSAP 1.1: QUERY_STATUS says ERROR, the request itself went well."""
    return Response(error_votable(message), always_ok(status), media_type=XML)


def table_answer(
    rows: Rows,
    written: OutputFormat,
    media_type: str,
    infos: Sequence[Info],
    services: Sequence[ServiceDescriptor] = (),
) -> TableResponse:
    """Rows as a file of a format; the answer closes them."""
    response = TableResponse(rows, written.write(rows, infos, services), media_type)
    response.headers["Content-Disposition"] = written.disposition
    response.headers["X-Content-Type-Options"] = "nosniff"  # text stays text in a browser
    return response


def votable_answer(
    rows: Rows,
    infos: Sequence[Info],
    services: Sequence[ServiceDescriptor] = (),
    inputs: Sequence[Input] = (),
) -> TableResponse:
    """Rows as the VOTable that clients from before DALI read; *inputs* where they are asked for.

    Source: SIA 1.0, "Metadata Query"; SSAP 1.1, "Service metadata".
    """
    params = [dataclasses.replace(one, name=f"INPUT:{one.name}") for one in inputs]
    heading = Heading(rows.fields, infos, services, params)
    return TableResponse(rows, encoded(rows, VOTableEncoder(heading, "TABLEDATA")), XML)


def collection_of(request: Request) -> str | None:
    """The collection of a service's address, None for the service of all.

    Raises
    ------
    NotFoundError
        If no collection could be called so.
    """
    name: str | None = request.path_params.get("collection")
    if name is not None and not name.isprintable():
        raise NotFoundError("there is no such collection")
    return name


def query_routes(
    query: Endpoint, capabilities: Endpoint, availability: Endpoint
) -> list[BaseRoute]:
    """The places of a service of all collections and of one: ``[/<collection>]/query`` and VOSI."""
    endpoints = {"query": query, "capabilities": capabilities, "availability": availability}
    return [
        Route(f"{at}/{name}", endpoint, methods=["GET", "POST"])
        for at in ("", "/{collection}")
        for name, endpoint in endpoints.items()
    ]


def documents(make: Callable[[Request], bytes], media_type: str = XML) -> Endpoint:
    """An endpoint that answers with a document."""

    async def answer(request: Request) -> Response:
        return Response(make(request), media_type=media_type)

    return answer


def availability_of(service: Available) -> Endpoint:
    """VOSI availability of a service."""
    since = datetime.now(UTC)

    async def answer(request: Request) -> Response:
        try:
            await service.available()
        except TransientError as error:
            return Response(availability(False, notes=[str(error)]), media_type=XML)
        return Response(availability(True, up_since=since), media_type=XML)

    return answer
