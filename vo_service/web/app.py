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

from vo_service.db.catalog import read_member_catalog
from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.notices import Notices
from vo_service.db.stream import Reader
from vo_service.services.access import AccessService
from vo_service.services.bundle_jobs import BUNDLES
from vo_service.services.bundles import BundleService
from vo_service.services.catalog import CatalogCache
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.coverage import CoverageService
from vo_service.services.cutout_jobs import SODA
from vo_service.services.datalink import LinkService
from vo_service.services.deliveries import Deliveries
from vo_service.services.downloads import DownloadLog
from vo_service.services.estimates import Estimator
from vo_service.services.files import FileService
from vo_service.services.jobs import JobService
from vo_service.services.oai import OaiService
from vo_service.services.patience import Patience
from vo_service.services.soda import SodaService
from vo_service.services.tap import TapService
from vo_service.services.uploads import UploadService
from vo_service.settings import Settings
from vo_service.web.authentication import Authentication
from vo_service.web.bundles import bundles_app
from vo_service.web.corrections import corrections_app
from vo_service.web.coverage import coverage_app
from vo_service.web.data import data_app
from vo_service.web.datalink import datalink_app
from vo_service.web.exchange import LimitBody
from vo_service.web.hips import hips_app
from vo_service.web.login import login_routes
from vo_service.web.oai import oai_routes
from vo_service.web.pages import home_page
from vo_service.web.previews import previews_app
from vo_service.web.simple import simple_protocols
from vo_service.web.soda import soda_app
from vo_service.web.tap import tap_app
from vo_service.web.tarball import MemberFiles

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
    dsn, member_dsn, door_dsn = (
        conninfo(
            settings,
            role,
            statement_timeout=limit_ms,
            **{"vo.data_url": f"{settings.root_url}/data/"},
        )
        for role in (Role.READER, Role.MEMBER, Role.DOOR)
    )
    reader = Reader(dsn, settings.reader_connections, settings.sync_limit_s)
    member_reader = Reader(member_dsn, settings.member_connections, settings.sync_limit_s)
    door_reader = Reader(door_dsn, settings.reader_connections, settings.sync_limit_s)
    engine, member_engine = engine_at(dsn), engine_at(member_dsn)
    planners: AsyncConnectionPool
    member_planners: AsyncConnectionPool
    door: AsyncConnectionPool
    gate: AsyncConnectionPool  # who asks is found out, whatever else waits at the door
    planners, member_planners, door, gate = (
        AsyncConnectionPool(dsn, min_size=least, max_size=4, open=False, timeout=10.0)
        for dsn, least in ((dsn, 1), (member_dsn, 0), (door_dsn, 1), (door_dsn, 0))
    )
    jobs_dsn = conninfo(settings, Role.JOBS)
    jobs: AsyncConnectionPool = AsyncConnectionPool(
        jobs_dsn, min_size=1, max_size=4, open=False, timeout=10.0,
        check=AsyncConnectionPool.check_connection,
    )  # fmt: skip
    notices = Notices(jobs_dsn)
    uploads = UploadService(settings)
    deliveries = Deliveries(conninfo(settings, Role.DOOR))
    downloads = DownloadLog(settings, door)

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with jobs, uploads.running(), contextlib.AsyncExitStack() as stack:
            for pool in (planners, member_planners, door, gate):
                await stack.enter_async_context(pool)
            await stack.enter_async_context(downloads.running())
            for start in beside:
                await stack.enter_async_context(start())
            async with anyio.create_task_group() as group:
                group.start_soon(notices.run)
                group.start_soon(deliveries.run)
                yield
                group.cancel_scope.cancel()
        for used in (reader, member_reader, door_reader):
            await used.aclose()
        for used_up in (engine, member_engine):
            used_up.dispose()

    limit_s, cost_per_s = settings.sync_limit_s, settings.cost_per_s
    catalogs = CatalogCache(engine, limit_s)
    member_catalogs = CatalogCache(member_engine, limit_s, read_member_catalog)
    patience = Patience(planners, limit_s, cost_per_s)
    members = TapService(
        member_reader, member_catalogs, uploads, Patience(member_planners, limit_s, cost_per_s)
    )
    tap = TapService(reader, catalogs, uploads, patience, members)
    estimator = Estimator(
        settings, planners, catalogs, Estimator(settings, member_planners, member_catalogs)
    )
    access = AccessService(gate, settings.session_s)
    bundles = BundleService(settings, door, jobs, tap)
    bundle_jobs = JobService(settings, jobs, notices, service=BUNDLES)
    links = LinkService(door_reader, settings.root_url)
    soda = SodaService(door, FileService(door))
    soda_jobs = JobService(settings, jobs, notices, service=SODA)
    lists = CorrectionLists(door)
    members_files = MemberFiles(settings.public, lists, downloads)
    return Starlette(
        routes=[
            Route("/", home_page(settings)),
            *login_routes(settings, access),
            *oai_routes(settings, OaiService(settings, door)),
            Mount("/tap", tap_app(settings, tap, JobService(settings, jobs, notices, estimator))),
            *simple_protocols(settings, tap),
            Mount("/datalink", datalink_app(settings, links, soda)),
            Mount("/soda", soda_app(settings, soda, soda_jobs, deliveries, downloads)),
            Mount("/bundles", bundles_app(settings, bundles, bundle_jobs, members_files)),
            Mount("/previews", previews_app(settings, FileService(door))),
            Mount("/hips", hips_app(settings)),
            Mount("/moc", coverage_app(CoverageService(door))),
            Mount("/corrections", corrections_app(settings, lists)),
            Mount("/data", data_app(settings, FileService(door), deliveries, downloads, lists)),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "HEAD", "POST", "DELETE"],
                allow_headers=["Authorization"],
                expose_headers=["Content-Range", "Accept-Ranges", "ETag", "Content-Disposition"],
            ),
            Middleware(Authentication, settings=settings, service=access),
            Middleware(
                LimitBody,
                limit=settings.request_limit,
                files_limit=settings.request_limit + settings.upload_bytes_limit,
            ),
        ],
        lifespan=running,
    )
