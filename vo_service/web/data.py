"""``/data/<collection>/<path>``: the files themselves.

The archive's rows say whether a file is public, the tree of links says where it is, and
`web.files` delivers the bytes.
"""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import VOError
from vo_service.services.files import FileService
from vo_service.settings import Settings
from vo_service.web.faults import error_headers, status_of
from vo_service.web.files import FileDelivery, open_published, refuse_encoded_separators
from vo_service.web.visitors import visitor_of

__all__ = ["data_app"]


def data_app(settings: Settings, service: FileService) -> Starlette:
    """The sub-application that delivers files."""

    async def deliver(request: Request) -> Response:
        refuse_encoded_separators(request.scope)
        path = request.path_params["path"]
        found = await service.find(path, visitor_of(request))
        roots = {path.partition("/")[0]: [Path(root) for root in found.roots]}
        file = await to_thread.run_sync(open_published, settings.public, roots, path)
        return FileDelivery(request, file, found.media_type)

    return Starlette(
        routes=[Route("/{path:path}", deliver, methods=["GET", "HEAD"])],
        exception_handlers={VOError: _answer_error},
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))
