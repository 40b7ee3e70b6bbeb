"""``/hips``: the list of HiPS (``hipslist``), a page for people, and their files.

Only files that a HiPS has are answered, by the names that HiPS 1.0 gives them; its own address,
which its record gives, leads to its properties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError, VOError
from vo_service.services.hips_output import hips_list
from vo_service.services.hips_places import TILES, hips_names
from vo_service.settings import Settings
from vo_service.web.data import answer_error
from vo_service.web.files import FileDelivery, refuse_encoded_separators
from vo_service.web.previews import open_kept

__all__ = ["hips_app"]

_FILE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})/(?P<file>properties|Moc\.fits"
    r"|Norder[0-9]{1,2}/(?:Allsky|Dir[0-9]{1,12}/Npix[0-9]{1,14})\.(?:fits|png|jpg|webp))"
)
_TYPES = {
    "": "text/plain; charset=utf-8",
    ".fits": "application/fits",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
}


def hips_app(settings: Settings) -> Starlette:
    """The sub-application that serves HiPS."""
    root = settings.home / "hips"

    async def index(request: Request) -> Response:
        return HTMLResponse(_page(await to_thread.run_sync(hips_list, settings)))

    async def listed(request: Request) -> Response:
        found = await to_thread.run_sync(hips_list, settings)
        records = (
            "".join(f"{key:<20} = {value}\n" for key, value in said.items()) for said in found
        )
        return PlainTextResponse("\n".join(records), headers={"Cache-Control": "no-cache"})

    async def file(request: Request) -> Response:
        refuse_encoded_separators(request.scope)
        path = request.path_params["path"]
        asked = _FILE.fullmatch(path)
        if asked is None:
            if path.rstrip("/") in await to_thread.run_sync(hips_names, settings):
                return RedirectResponse(f"{settings.root_url}/hips/{path.rstrip('/')}/properties")
            raise NotFoundError("there is no such file in a HiPS")
        place = root / asked["name"] / "current" / TILES / asked["file"]
        found = await to_thread.run_sync(open_kept, place, place.name)
        if found is None:
            raise NotFoundError(f"{asked[0]}: there is nothing here")
        # A frame that is withdrawn must not be seen for long in what others keep.
        headers = {"Cache-Control": "public, max-age=300", "Content-Disposition": "inline"}
        kind = _TYPES[Path(asked["file"]).suffix]
        return FileDelivery(request, found, kind, headers=headers)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/hipslist", listed),
            Route("/{path:path}", file, methods=["GET", "HEAD"]),
        ],
        exception_handlers={VOError: answer_error},
    )


def _page(found: Sequence[Mapping[str, str]]) -> str:
    rows = "".join(
        f"<li><strong>{escape(said.get('obs_title', ''))}</strong>: order "
        f"{escape(said.get('hips_order', ''))}, {escape(said.get('hips_tile_format', ''))}, of "
        f"{escape(said.get('hips_release_date', ''))}<br>"
        f'<code>{escape(url)}</code> <a href="{escape(url)}/properties">properties</a> '
        f'<a href="{escape(url)}/Moc.fits">MOC</a></li>'
        for said in found
        if (url := said["hips_service_url"])
    )
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>HiPS</title>'
        "<style>:root { color-scheme: light dark } body { font: 1rem/1.6 system-ui, sans-serif; "
        "max-width: 52rem; margin: 0 auto; padding: 2rem 1rem }</style>"
        "<h1>Sky images (HiPS)</h1><p>Give an address to Aladin (<em>File, Open URL</em>) or "
        'Aladin Lite (<em>setImageSurvey</em>); all of them: <a href="hipslist">hipslist</a>.</p>'
        f"<ul>{rows or '<li>There are none yet.</li>'}</ul>"
        '<p><a href="../">Up</a></p></html>'
    )
