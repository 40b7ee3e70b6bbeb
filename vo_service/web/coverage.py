"""``/moc/<collection>``: where a collection has observations, as FITS, JSON or ASCII.

``.fits`` (or no ending), ``.json``, ``.txt``; before it ``.time`` for the MOC of time and space.
``/moc/all`` is the union of all. Source: MOC 2.0, "Serialization".
"""

from __future__ import annotations

import hashlib
import re
from html import escape

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError, VOError
from vo_service.services.coverage import ALL, CoverageService, written_moc
from vo_service.web.conditions import Validators
from vo_service.web.data import answer_error

__all__ = ["coverage_app"]

_TYPES = {"fits": "application/fits", "json": "application/json", "txt": "text/plain"}
_NAME = re.compile(r"(?P<name>.+?)(?P<time>\.time)?(?:\.(?P<form>fits|json|txt))?")


def coverage_app(service: CoverageService) -> Starlette:
    """The sub-application that serves MOCs."""

    async def index(request: Request) -> Response:
        names = [*await service.collections(), ALL]
        return HTMLResponse(_page(names))

    async def moc(request: Request) -> Response:
        asked = _NAME.fullmatch(request.path_params["name"])
        if asked is None or "\0" in asked["name"]:
            raise NotFoundError("expected /moc/COLLECTION, then .fits, .json or .txt")
        form = asked["form"] or "fits"
        kept = await service.get(asked["name"])
        text = kept.space_time if asked["time"] else kept.space
        if text is None:
            raise NotFoundError(f"no time of observations of {asked['name']!r} is known")
        tag = hashlib.sha256(f"{form} {text}".encode()).hexdigest()[:32]
        valid = Validators(f'"{tag}"', int(kept.updated.timestamp()) * 10**9)
        headers = {**valid.headers, "Cache-Control": "no-cache"}
        if valid.failed_condition(request.headers) == 304:
            return Response(status_code=304, headers=headers)
        content = await to_thread.run_sync(
            lambda: written_moc(text, form, with_time=bool(asked["time"]))
        )
        name = f"{asked['name']}{asked['time'] or ''}.{form}"
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        headers["Content-Disposition"] = f'inline; filename="{plain}"'
        return Response(content, headers=headers, media_type=_TYPES[form])

    return Starlette(
        routes=[Route("/", index), Route("/{name}", moc, methods=["GET", "HEAD"])],
        exception_handlers={VOError: answer_error},
    )


def _page(names: list[str]) -> str:
    """The list for people."""
    rows = "".join(
        f"<li>{escape(name)}: "
        + ", ".join(
            f'<a href="{escape(name)}{time}.{form}">{label} {form}</a>'
            for time, label in (("", "space"), (".time", "space and time"))
            for form in _TYPES
        )
        + "</li>"
        for name in names
    )
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Coverage</title>'
        "<style>:root { color-scheme: light dark } body { font: 1rem/1.6 system-ui, sans-serif; "
        "max-width: 52rem; margin: 0 auto; padding: 2rem 1rem }</style>"
        "<h1>Coverage</h1><p>Where, and when, each collection has observations that everybody may "
        f'know of (MOC 2.0).</p><ul>{rows}</ul><p><a href="../">Up</a></p></html>'
    )
