"""The web application: protocols mounted at their places, opened and closed as one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from vo_service.services.access import AccessService
from vo_service.services.bundle_jobs import BUNDLES
from vo_service.services.bundles import BundleService
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.coverage import CoverageService
from vo_service.services.cutout_jobs import SODA
from vo_service.services.datalink import LinkService
from vo_service.services.drain import Drain
from vo_service.services.estimates import Estimator
from vo_service.services.files import FileService
from vo_service.services.jobs import JobService
from vo_service.services.oai import OaiService
from vo_service.services.outage import Outage
from vo_service.services.slow import noting_slow
from vo_service.services.soda import SodaService
from vo_service.services.tap import TapService
from vo_service.settings import Settings
from vo_service.web.authentication import Authentication
from vo_service.web.bundles import bundles_app
from vo_service.web.corrections import corrections_app
from vo_service.web.coverage import coverage_app
from vo_service.web.data import data_app
from vo_service.web.datalink import datalink_app
from vo_service.web.edge import AtAddress, edge_middleware
from vo_service.web.exchange import LimitBody
from vo_service.web.hips import hips_app
from vo_service.web.limits import Places
from vo_service.web.login import login_routes
from vo_service.web.measured import Measured, Templates
from vo_service.web.oai import oai_routes
from vo_service.web.operator import operator_port
from vo_service.web.pages import home_page
from vo_service.web.previews import previews_app
from vo_service.web.resources import Beside, Resources
from vo_service.web.simple import simple_protocols
from vo_service.web.soda import soda_app
from vo_service.web.tap import tap_app
from vo_service.web.tarball import MemberFiles

__all__ = ["create_app"]


def create_app(
    settings: Settings, beside: Sequence[Beside] = (), drain: Drain | None = None
) -> Starlette:
    """The application for *settings*; connects when it is started, not before.

    Parameters
    ----------
    settings
        What the operator chose.
    beside
        What else is to run for as long as the application does (a worker).
    drain
        Begun by who serves it when it is to end.
    """
    held = Resources(settings)
    access = AccessService(held.gate, settings.session_s)
    templates = Templates()

    def at(address: Settings) -> Starlette:
        return templates.learned(_protocols(address, held, access, drain))

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        watched = partial(noting_slow, settings), partial(operator_port, settings, drain)
        async with held.running((*watched, *beside)):
            yield

    return Starlette(
        routes=[Mount("/", AtAddress(settings, at))],
        middleware=[
            Middleware(Measured, settings=settings, templates=templates),
            *edge_middleware(settings),
            Middleware(Authentication, settings=settings, service=access),
            Middleware(Places, settings=settings),
            Middleware(
                LimitBody,
                limit=settings.request_limit,
                files_limit=settings.request_limit + settings.upload_bytes_limit,
            ),
        ],
        lifespan=running,
    )


def _protocols(
    settings: Settings, held: Resources, access: AccessService, drain: Drain | None
) -> Starlette:
    """Everything that is served, with addresses below the root of *settings*."""
    tap, estimator = _searches(settings, held)
    door, jobs, notices = held.door, held.jobs, held.notices
    files, lists = FileService(door), CorrectionLists(door)
    soda = SodaService(door, files, held.shards)
    links = LinkService(held.door_reader.telling(_data_url(settings)), settings.root_url)
    tap_jobs = JobService(settings, jobs, notices, estimator, drain=drain)
    soda_jobs = JobService(settings, jobs, notices, service=SODA, drain=drain)
    bundle_jobs = JobService(settings, jobs, notices, service=BUNDLES, drain=drain)
    bundles = bundles_app(
        settings,
        BundleService(settings, door, jobs, tap),
        bundle_jobs,
        MemberFiles(settings.public, lists, held.downloads),
    )
    data = data_app(settings, files, held.deliveries, held.downloads, lists, front=held.front)
    return Starlette(
        routes=[
            Route("/", home_page(settings)),
            *login_routes(settings, access),
            *oai_routes(settings, OaiService(settings, door)),
            Mount("/tap", tap_app(settings, tap, tap_jobs)),
            *simple_protocols(settings, tap),
            Mount("/datalink", datalink_app(settings, links, soda)),
            Mount("/soda", soda_app(settings, soda, soda_jobs, held.deliveries, held.downloads)),
            Mount("/bundles", bundles),
            Mount("/previews", previews_app(settings, files)),
            Mount("/hips", hips_app(settings)),
            Mount("/moc", coverage_app(CoverageService(door))),
            Mount("/corrections", corrections_app(settings, lists)),
            Mount("/data", data),
        ]
    )


def _searches(settings: Settings, held: Resources) -> tuple[TapService, Estimator]:
    """Searches of anybody, and in them those of known people; what queries are expected to cost."""
    anybody, known, data_url = held.anybody, held.members, _data_url(settings)
    members = TapService(
        known.reader.telling(data_url), known.catalogs, held.uploads, known.patience,
        outage=Outage(held.shards, known.dsn, settings.shard_down),
    )  # fmt: skip
    tap = TapService(
        anybody.reader.telling(data_url), anybody.catalogs, held.uploads, anybody.patience, members,
        Outage(held.shards, anybody.dsn, settings.shard_down), held.replicas.telling(data_url),
    )  # fmt: skip
    estimator = Estimator(settings, known.planners, known.catalogs)
    return tap, Estimator(settings, anybody.planners, anybody.catalogs, estimator)


def _data_url(settings: Settings) -> str:
    return f"{settings.root_url}/data/"
