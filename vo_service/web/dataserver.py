"""The file part alone, for a data server: ``/data/<collection>/<path>`` and ``/health``.

With a ``database_url`` it asks the centre's database (role ``vo_door``) who may read what, and
knows people as the centre does; without one it serves what is linked in its tree, opens signed
links, and sends whoever asks for anything else to the centre, which may sign. Source: MISSION B8.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import anyio
import psycopg
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vo_service.db.connect import Role, conninfo
from vo_service.errors import NotFoundError, UsageError, VOError
from vo_service.services.access import AccessService
from vo_service.services.datafiles import DataFiles, Readable
from vo_service.services.dataservers import local_roots
from vo_service.services.deliveries import Deliveries
from vo_service.services.downloads import DownloadLog
from vo_service.services.signing import SignedLinks, is_signed
from vo_service.settings import Settings
from vo_service.web.authentication import Authentication
from vo_service.web.corrections import WHY_NOT_CORRECTED, wants_correction
from vo_service.web.data import answer_error
from vo_service.web.edge import edge_middleware
from vo_service.web.files import (
    FileDelivery,
    OpenFile,
    open_published,
    open_source,
    refuse_encoded_separators,
)
from vo_service.web.limits import Places
from vo_service.web.measured import Measured, Templates
from vo_service.web.noted import noting
from vo_service.web.operator import operator_port
from vo_service.web.visitors import visitor_of

__all__ = ["create_data_app"]

_log = logging.getLogger(__name__)

_LIMIT_MS = 10_000


def create_data_app(settings: Settings) -> Starlette:
    """The application of a data server; connects, if it has a database, when it is started.

    Raises
    ------
    ConfigError
        If a collection file is wrong.
    """
    roots = local_roots(settings)
    links = SignedLinks(settings.signing_keys)
    methods = ["GET", "HEAD"]
    templates = Templates()
    measured = Middleware(Measured, settings=settings, templates=templates)
    edge = edge_middleware(settings, methods)
    if settings.database_url is None:
        alone = _Alone(settings, DataFiles(links, roots, None))
        return templates.learned(
            Starlette(
                routes=[
                    Route("/data/{path:path}", alone.deliver, methods=methods),
                    Route("/health", alone.health),
                ],
                middleware=[measured, *edge, Middleware(Places, settings=settings)],
                exception_handlers={VOError: answer_error},
                lifespan=lambda app: operator_port(settings),
            )
        )
    dsn = conninfo(settings, Role.DOOR, statement_timeout=_LIMIT_MS)
    door: AsyncConnectionPool = AsyncConnectionPool(
        dsn, min_size=1, max_size=4, open=False, timeout=10.0,
        check=AsyncConnectionPool.check_connection,
    )  # fmt: skip
    joined = _Joined(settings, DataFiles(links, roots, door), door, dsn)
    access = AccessService(door, settings.session_s)
    return templates.learned(
        Starlette(
            routes=[
                Route("/data/{path:path}", joined.deliver, methods=methods),
                Route("/health", joined.health),
            ],
            middleware=[
                measured,
                *edge,
                Middleware(Authentication, settings=settings, service=access),
                Middleware(Places, settings=settings),
            ],
            exception_handlers={VOError: answer_error},
            lifespan=joined.running,
        )
    )


class _Alone:
    """A data server that reaches no database."""

    def __init__(self, settings: Settings, files: DataFiles) -> None:
        self._settings = settings
        self._files = files

    async def deliver(self, request: Request) -> Response:
        path = _path(request)
        pairs = request.query_params.multi_items()
        if is_signed(pairs):
            readable = await self._files.signed(path, pairs)
            file = await to_thread.run_sync(_open, self._settings, path, readable)
        else:
            readable = await self._files.find(path, visitor_of(request))
            try:
                file = await to_thread.run_sync(_open, self._settings, path, readable)
            except NotFoundError:
                if not self._settings.centre_url:
                    raise
                # What is closed, or not here, is for the centre to say; it signs what it
                # sends back, so nobody is sent to and fro.
                return RedirectResponse(f"{self._settings.centre_url}data/{quote(path)}", 302)

        def told(status: int, size: int, complete: bool) -> None:
            # There is no table to write to; whoever collects log lines has a log of downloads.
            _log.info(
                "download path=%s status=%s bytes=%s complete=%s", quote(path), status, size,
                complete,
            )  # fmt: skip

        return FileDelivery(request, file, readable.media_type, on_end=told)

    async def health(self, request: Request) -> Response:
        """Whether files can be served: the tree is there."""
        return _health(self._settings.public.is_dir())


class _Joined:
    """A data server with the centre's database."""

    def __init__(
        self, settings: Settings, files: DataFiles, door: AsyncConnectionPool[Any], dsn: str
    ) -> None:
        self._settings = settings
        self._files = files
        self._door = door
        self._deliveries = Deliveries(dsn)
        self._log = DownloadLog(settings, door)

    @contextlib.asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        async with (
            self._door, self._log.running(), operator_port(self._settings),
            anyio.create_task_group() as group,
        ):  # fmt: skip
            group.start_soon(self._deliveries.run)
            yield
            group.cancel_scope.cancel()

    async def deliver(self, request: Request) -> Response:
        path = _path(request)
        pairs = request.query_params.multi_items()
        delivery = self._deliveries.begin(path)  # before asking: nothing may happen unseen
        if is_signed(pairs):
            readable = await self._files.signed(path, pairs)
        else:
            readable = await self._files.find(path, visitor_of(request))
        delivery.state = readable.state
        file = await to_thread.run_sync(_open, self._settings, path, readable)
        file.expect(readable.size)
        assert readable.product_id is not None  # noqa: S101 - the database knows it
        return FileDelivery(
            request,
            file,
            readable.media_type,
            running=delivery.sending,
            on_end=noting(self._log, request, readable.product_id),
        )

    async def health(self, request: Request) -> Response:
        """Whether files can be served: the tree is there and the database answers."""
        try:
            async with self._door.connection(timeout=3.0) as connection:
                await connection.execute("SELECT")
        except (psycopg.Error, PoolTimeout):
            return _health(False)
        return _health(self._settings.public.is_dir())


def _path(request: Request) -> str:
    refuse_encoded_separators(request.scope)
    path = str(request.path_params["path"])
    if wants_correction(request):
        raise UsageError(f"{path}: {WHY_NOT_CORRECTED}")
    return path


def _open(settings: Settings, path: str, readable: Readable) -> OpenFile:
    """Open a file by its link, or in the first of its places where there is one."""
    if readable.linked:
        links = {path.partition("/")[0]: readable.roots}
        return open_published(settings.public, links, path)
    for place in readable.places:
        with contextlib.suppress(NotFoundError):
            return open_source(place, readable.roots, path)
    raise NotFoundError(f"{path}: no such file is published")


def _health(well: bool) -> Response:
    return PlainTextResponse("well\n" if well else "not well\n", 200 if well else 503)
