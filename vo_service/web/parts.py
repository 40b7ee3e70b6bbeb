"""Requests that carry files: parameters, and parts of multipart/form-data on disk.

Source: DALI 1.1, "UPLOAD" (``param:`` URIs name a part of the same request); RFC 7578.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vo_service.errors import UsageError
from vo_service.params.upload import parse_uploads
from vo_service.services.uploads import Part
from vo_service.settings import Settings
from vo_service.web.exchange import request_pairs

__all__ = ["request_with_parts"]

_FILES, _FIELDS = 100, 1000

Pairs = list[tuple[str, str]]


@contextlib.asynccontextmanager
async def request_with_parts(
    request: Request, settings: Settings
) -> AsyncIterator[tuple[Pairs, dict[str, Part]]]:
    """Parameters in order, and the parts that UPLOAD parameters name; these last as long as this.

    Raises
    ------
    UsageError
        If the body is not well formed, or a part that is wanted is there twice.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        yield await request_pairs(request), {}
        return
    try:
        form = await request.form(
            max_files=_FILES, max_fields=_FIELDS, max_part_size=settings.request_limit
        )
    except HTTPException as error:
        raise UsageError(f"the form cannot be read: {error.detail}") from error
    with tempfile.TemporaryDirectory(prefix="vo-parts-") as directory:
        try:
            items = form.multi_items()
            pairs = request.query_params.multi_items()
            pairs += [(name, value) for name, value in items if isinstance(value, str)]
            wanted = {spec.part for spec in parse_uploads(pairs, settings.uploads_limit)}
            parts: dict[str, Part] = {}
            for number, (name, value) in enumerate(items):
                if name not in wanted:
                    continue
                if name in parts:
                    raise UsageError(f"the request has two parts {name[:60]!r}: expected one")
                path = Path(directory) / str(number)
                await to_thread.run_sync(_save, value, path)
                kind = value.content_type if isinstance(value, UploadFile) else None
                parts[name] = Part(path, kind)
        finally:
            await form.close()
        yield pairs, parts


def _save(value: UploadFile | str, path: Path) -> None:
    with path.open("wb") as out:
        if isinstance(value, str):
            out.write(value.encode())
        else:
            shutil.copyfileobj(value.file, out)
