"""SSA 1.1 at ``/ssa``, of all spectra, and at ``/ssa/<collection>``: query and VOSI.

Errors are VOTables with QUERY_STATUS=ERROR and status 200 (SSAP 1.1, "Error response").
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from vo_service.params.ssa import parse_spectrum_search
from vo_service.services.search_capabilities import ssa_capabilities
from vo_service.services.ssa import SSA_INPUTS, SpectrumService
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.searches import (
    availability_of,
    collection_of,
    documents,
    query_routes,
    search_app,
    told_in_votable,
    votable_answer,
)
from vo_service.web.visitors import visitor_of

__all__ = ["ssa_app"]


def ssa_app(settings: Settings, service: SpectrumService) -> Starlette:
    """The SSA sub-application."""

    async def query(request: Request) -> Response:
        search = parse_spectrum_search(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        work = service.find(search, collection_of(request), visitor_of(request))
        rows = await while_connected(request.receive, work)
        services = service.descriptors(rows.fields)
        inputs = SSA_INPUTS if search.metadata else ()
        return votable_answer(rows, service.infos(), services, inputs)

    def described(request: Request) -> bytes:
        return ssa_capabilities(settings, collection_of(request))

    routes = query_routes(query, documents(described), availability_of(service.tap))
    return search_app(routes, told_in_votable)
