"""The web application: protocols mounted at their places, opened and closed as one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route

from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.notices import Notices
from vo_service.db.stream import Reader
from vo_service.services.catalog import CatalogCache
from vo_service.services.datalink import LinkService
from vo_service.services.estimates import Estimator
from vo_service.services.files import FileService
from vo_service.services.jobs import JobService
from vo_service.services.patience import Patience
from vo_service.services.tap import TapService
from vo_service.services.uploads import UploadService
from vo_service.settings import Settings
from vo_service.web.data import data_app
from vo_service.web.datalink import datalink_app
from vo_service.web.exchange import LimitBody
from vo_service.web.pages import home_page
from vo_service.web.tap import tap_app

__all__ = ["create_app"]


def create_app(
    settings: Settings, beside: Sequence[Callable[[], AbstractAsyncContextManager[None]]] = ()
) -> Starlette:
    """The application for *settings*; connects when it is started, not before.

    Parameters
    ----------
    settings
        What the operator chose.
    beside
        What else is to run for as long as the application does (a worker).
    """
    limit_ms = int(settings.sync_limit_s * 1000)
    dsn = conninfo(
        settings,
        Role.READER,
        statement_timeout=limit_ms,
        **{"vo.data_url": f"{settings.root_url}/data/"},
    )
    reader = Reader(dsn, settings.reader_connections, settings.sync_limit_s)
    engine = engine_at(dsn)
    files: AsyncConnectionPool = AsyncConnectionPool(
        dsn, min_size=1, max_size=4, open=False, timeout=10.0
    )
    jobs_dsn = conninfo(settings, Role.JOBS)
    jobs: AsyncConnectionPool = AsyncConnectionPool(
        jobs_dsn, min_size=1, max_size=4, open=False, timeout=10.0,
        check=AsyncConnectionPool.check_connection,
    )  # fmt: skip
    notices = Notices(jobs_dsn)
    uploads = UploadService(settings)

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with files, jobs, uploads.running(), contextlib.AsyncExitStack() as stack:
            for start in beside:
                await stack.enter_async_context(start())
            async with anyio.create_task_group() as group:
                group.start_soon(notices.run)
                yield
                group.cancel_scope.cancel()
        await reader.aclose()
        engine.dispose()

    catalogs = CatalogCache(engine, settings.sync_limit_s)
    patience = Patience(files, settings.sync_limit_s, settings.cost_per_s)
    tap = TapService(reader, catalogs, uploads, patience)
    estimator = Estimator(settings, files, catalogs)
    return Starlette(
        routes=[
            Route("/", home_page(settings)),
            Mount("/tap", tap_app(settings, tap, JobService(settings, jobs, notices, estimator))),
            Mount("/datalink", datalink_app(settings, LinkService(reader))),
            Mount("/data", data_app(settings, FileService(files))),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "HEAD", "POST", "DELETE"],
                expose_headers=["Content-Range", "Accept-Ranges", "ETag", "Content-Disposition"],
            ),
            Middleware(
                LimitBody,
                limit=settings.request_limit,
                files_limit=settings.request_limit + settings.upload_bytes_limit,
            ),
        ],
        lifespan=running,
    )
