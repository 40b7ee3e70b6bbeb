"""``/data/<collection>/<path>``: the files themselves.

The archive's rows say whether a file is public, the tree of links says where it is, and
`web.files` delivers the bytes.
"""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vo_service.errors import UsageError, VOError
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.dataservers import Elsewhere
from vo_service.services.deliveries import Deliveries
from vo_service.services.downloads import DownloadLog
from vo_service.services.files import FileService
from vo_service.settings import Settings
from vo_service.web.corrections import (
    WHY_NOT_CORRECTED,
    corrected_content,
    wants_correction,
)
from vo_service.web.faults import error_headers, status_of
from vo_service.web.files import (
    Content,
    FileDelivery,
    open_published,
    open_source,
    refuse_encoded_separators,
)
from vo_service.web.front import Front
from vo_service.web.noted import noting
from vo_service.web.visitors import visitor_of

__all__ = ["answer_error", "data_app"]


def data_app(
    settings: Settings,
    service: FileService,
    deliveries: Deliveries,
    log: DownloadLog,
    corrections: CorrectionLists,
    *,
    front: Front,
) -> Starlette:
    """The sub-application that delivers files, or sends on to who does."""
    elsewhere = Elsewhere(settings)

    async def deliver(request: Request) -> Response:
        refuse_encoded_separators(request.scope)
        path = request.path_params["path"]
        correct = wants_correction(request)
        delivery = deliveries.begin(path)  # before asking: nothing may happen in between unseen
        found = await service.find(path, visitor_of(request))
        delivery.state = found.state
        if (address := elsewhere.address(path, found)) is not None:
            if correct:
                raise UsageError(f"{path}: is delivered by another server: {WHY_NOT_CORRECTED}")
            # Signed for this moment: not to be kept.
            return RedirectResponse(address, 302, {"Cache-Control": "no-store"})
        roots = [Path(root) for root in found.roots]
        if found.unlinked is not None:
            file = await to_thread.run_sync(open_source, found.unlinked, roots, path)
        else:
            links = {path.partition("/")[0]: roots}
            file = await to_thread.run_sync(open_published, settings.public, links, path)
        file.expect(found.size)
        content: Content = file
        if correct:
            content = await corrected_content(corrections, request, path, file)
        answer = FileDelivery(
            request,
            content,
            found.media_type,
            running=delivery.sending,
            on_end=noting(log, request, found.product_id, "corrected" if correct else "file"),
        )
        if correct or found.unlinked is not None:
            return answer
        return front.offer(request, path, found.product_id, answer)

    return Starlette(
        routes=[Route("/{path:path}", deliver, methods=["GET", "HEAD"])],
        exception_handlers={VOError: answer_error},
    )


async def answer_error(request: Request, error: Exception) -> Response:
    """An error in words."""
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))
