"""Documents of the TAP service: VOSI capabilities, availability, tables; DALI examples.

They change only with the catalogue, so each is made once for a catalogue and carries
Last-Modified and an ETag. Source: VOSI 1.1; DALI 1.1, "DALI-examples".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from vo_service.errors import NotFoundError, TransientError, UsageError
from vo_service.formats.examples import MEDIA_TYPE, examples_document
from vo_service.formats.vosi import availability, table_document, tableset
from vo_service.model.table import Catalog
from vo_service.services.capabilities import tap_capabilities
from vo_service.services.examples import EXAMPLES
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["TapDocuments"]

_XML = "text/xml"


class TapDocuments:
    """Endpoints of the documents, and the documents made so far."""

    def __init__(self, settings: Settings, service: TapService) -> None:
        self._settings = settings
        self._service = service
        self._since = datetime.now(UTC)
        self._catalog: Catalog | None = None
        self._made: dict[str, bytes] = {}

    async def capabilities(self, request: Request) -> Response:
        """VOSI capabilities, with the TAPRegExt description of the service."""
        return self._answer(request, "capabilities", lambda: tap_capabilities(self._settings))

    async def availability(self, request: Request) -> Response:
        """VOSI availability: whether a query can be answered now."""
        try:
            await self._service.available()
        except TransientError as error:
            return Response(availability(False, notes=[str(error)]), media_type=_XML)
        return Response(availability(True, up_since=self._since), media_type=_XML)

    async def tables(self, request: Request) -> Response:
        """VOSI tables; ``detail=min`` leaves the columns out."""
        detail = self._detail(request)
        catalog = await self._current()
        return self._answer(request, f"tables {detail}", lambda: tableset(catalog, detail))

    async def table(self, request: Request) -> Response:
        """VOSI tables: one table, by the name that the list gives."""
        catalog = await self._current()
        name = request.path_params["name"]
        table = next((t for t in catalog.tables if t.name.lower() == name.lower()), None)
        if table is None:
            raise NotFoundError(f"there is no table {name!r} here")
        keys = [key for key in catalog.keys if key.from_table == table.name]
        return self._answer(request, f"table {table.name}", lambda: table_document(table, keys))

    async def examples(self, request: Request) -> Response:
        """DALI examples: queries that work."""
        return self._answer(
            request, "examples", lambda: examples_document(EXAMPLES, "TAP examples"), MEDIA_TYPE
        )

    def _detail(self, request: Request) -> Literal["min", "max"]:
        given = {k.lower(): v.lower() for k, v in request.query_params.items()}.get("detail", "max")
        if given not in ("min", "max"):
            raise UsageError(f"detail={given[:60]!r}: expected min or max")
        return "min" if given == "min" else "max"

    async def _current(self) -> Catalog:
        """The catalogue; documents made for an older one are forgotten."""
        catalog = await self._service.catalog()
        if catalog is not self._catalog:
            self._catalog = catalog
            self._since = datetime.now(UTC) if self._made else self._since
            self._made.clear()
        return catalog

    def _answer(
        self, request: Request, name: str, make: Callable[[], bytes], media_type: str = _XML
    ) -> Response:
        body = self._made.get(name)
        if body is None:
            body = self._made[name] = make()
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": etag, "Last-Modified": format_datetime(self._since, usegmt=True)}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media_type)
