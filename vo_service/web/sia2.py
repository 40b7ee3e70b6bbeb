"""SIA 2.0 at ``/sia2``: query, capabilities, availability, examples.

Errors are VOTables whose text begins with the fault, or such a text where the answer would have
been text (SIA 2.0, "Errors").
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import UsageError
from vo_service.formats.examples import MEDIA_TYPE, examples_document
from vo_service.formats.output import output_format
from vo_service.formats.votable import Info, error_votable
from vo_service.params.sia2 import parse_image_search
from vo_service.services.outage import told_of
from vo_service.services.search_capabilities import sia2_capabilities
from vo_service.services.search_examples import sia2_examples
from vo_service.services.sia2 import SIA2_STANDARD, ImageService
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.searches import availability_of, documents, search_app, table_answer
from vo_service.web.visitors import visitor_of

__all__ = ["sia2_app"]

_TEXT = frozenset({"csv", "tsv"})


def sia2_app(settings: Settings, service: ImageService) -> Starlette:
    """The SIA 2.0 sub-application."""
    capabilities = sia2_capabilities(settings)
    examples = examples_document(sia2_examples(settings), "SIA examples")

    async def query(request: Request) -> Response:
        search = parse_image_search(
            await request_pairs(request),
            maxrec_default=settings.maxrec_default,
            maxrec_limit=settings.maxrec_limit,
        )
        written, media_type = output_format(search.response_format)
        work = service.find(search, visitor_of(request))
        rows = await while_connected(request.receive, work)
        await told_of(rows, written)
        services = service.descriptors(rows.fields)
        return table_answer(rows, written, media_type, service.infos(), services)

    return search_app(
        [
            Route("/query", query, methods=["GET", "POST"]),
            Route("/capabilities", documents(lambda _: capabilities)),
            Route("/availability", availability_of(service.tap)),
            Route("/examples", documents(lambda _: examples, MEDIA_TYPE)),
        ],
        _tell,
    )


def _tell(request: Request, fault: str, message: str, status: int) -> Response:
    said = f"{fault}: {message}"
    if _wants_text(request):
        return PlainTextResponse(f"{said}\n", status)
    document = error_votable(said, [Info("standardID", SIA2_STANDARD)])
    return Response(document, status, media_type="application/x-votable+xml")


def _wants_text(request: Request) -> bool:
    """Whether the answer would have been text; what a form asked for is not looked at again."""
    asked = (v for k, v in request.query_params.multi_items() if k.upper() == "RESPONSEFORMAT")
    try:
        return output_format(next(asked, None))[0].suffix in _TEXT
    except UsageError:
        return False
