"""SIA 1.0 at ``/sia`` and SSA 1.1 at ``/ssa``, of all collections or of one: query and VOSI.

Errors are VOTables with QUERY_STATUS=ERROR and status 200 (SIA 1.0, "Error Response"; SSAP 1.1,
"Error response").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from vo_service.formats.encoder import Input
from vo_service.model.table import Rows
from vo_service.params.sia1 import parse_old_image_search
from vo_service.params.ssa import parse_spectrum_search
from vo_service.services.search_capabilities import sia1_capabilities, ssa_capabilities
from vo_service.services.sia1 import SIA1_INPUTS, OldImageService
from vo_service.services.ssa import SSA_INPUTS, SpectrumService
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.searches import (
    Endpoint,
    availability_of,
    collection_of,
    documents,
    query_routes,
    search_app,
    told_in_votable,
    votable_answer,
)
from vo_service.web.visitors import visitor_of

__all__ = ["sia1_app", "ssa_app"]

_Service = OldImageService | SpectrumService


def sia1_app(settings: Settings, service: OldImageService) -> Starlette:
    """The SIA 1.0 sub-application."""

    async def query(request: Request) -> Response:
        search = parse_old_image_search(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        work = service.find(search, collection_of(request), visitor_of(request))
        return await _found(request, work, service, SIA1_INPUTS if search.metadata else ())

    return _app(settings, service, query, sia1_capabilities)


def ssa_app(settings: Settings, service: SpectrumService) -> Starlette:
    """The SSA sub-application."""

    async def query(request: Request) -> Response:
        search = parse_spectrum_search(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        work = service.find(search, collection_of(request), visitor_of(request))
        return await _found(request, work, service, SSA_INPUTS if search.metadata else ())

    return _app(settings, service, query, ssa_capabilities)


async def _found(
    request: Request, work: Awaitable[Rows], service: _Service, inputs: Sequence[Input]
) -> Response:
    rows = await while_connected(request.receive, work)
    return votable_answer(rows, service.infos(), service.descriptors(rows.fields), inputs)


def _app(
    settings: Settings,
    service: _Service,
    query: Endpoint,
    capabilities: Callable[[Settings, str | None], bytes],
) -> Starlette:
    def described(request: Request) -> bytes:
        return capabilities(settings, collection_of(request))

    routes = query_routes(query, documents(described), availability_of(service.tap))
    return search_app(routes, told_in_votable)
