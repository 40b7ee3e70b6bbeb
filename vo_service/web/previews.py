"""``/previews/<collection>/<path>.png`` and ``.thumb.png``: pictures of files.

Who may see one is whoever may have the file: the same question, asked each time.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vo_service.archive.opening import OpenFile
from vo_service.errors import NotFoundError, VOError
from vo_service.services.files import FileService
from vo_service.services.previews import preview_file
from vo_service.settings import Settings
from vo_service.web.data import answer_error
from vo_service.web.files import FileDelivery, refuse_encoded_separators
from vo_service.web.visitors import visitor_of

__all__ = ["open_kept", "previews_app"]

_THUMB, _PREVIEW = ".thumb.png", ".png"


def previews_app(settings: Settings, service: FileService) -> Starlette:
    """The sub-application that shows previews."""

    async def show(request: Request) -> Response:
        refuse_encoded_separators(request.scope)
        asked = request.path_params["path"]
        ending = _THUMB if asked.endswith(_THUMB) else _PREVIEW
        if not asked.endswith(ending):
            raise NotFoundError(f"{asked!r}: expected the path of a file, then .png or .thumb.png")
        path = asked.removesuffix(ending)
        found = await service.find(path, visitor_of(request))
        place = preview_file(settings, found.product_id, thumbnail=ending == _THUMB)
        file = await to_thread.run_sync(open_kept, place, Path(asked).name)
        if file is None:
            raise NotFoundError(f"there is no preview of {path!r} (yet)")
        public = found.state == "public"
        # A withdrawal takes it away at once, so nobody may answer with it in our stead.
        headers = {
            "Cache-Control": f"{'public' if public else 'private'}, no-cache",
            "Content-Disposition": "inline",
        }
        return FileDelivery(request, file, "image/png", headers=headers)

    return Starlette(
        routes=[Route("/{path:path}", show, methods=["GET", "HEAD"])],
        exception_handlers={VOError: answer_error},
    )


def open_kept(place: Path, name: str) -> OpenFile | None:
    """Open a file that this service has made itself; None where it is not there. Blocks."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    file = io.FileIO(handle, closefd=True)
    status = os.fstat(handle)
    return OpenFile(file, name, status.st_size, status.st_mtime_ns, status.st_ino)
