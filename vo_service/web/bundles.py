"""``/bundles``: files together, as a tar archive or as lists; and requests for them.

``GET /bundles?ID=...`` answers at once; ``/bundles/async`` is UWS 1.1 (`web.uws`), where a
request is resolved once and stays as it was until it is destroyed. Whether a file may be read
is asked for the one who fetches it, whenever it is fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlencode

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError, VOError
from vo_service.formats.bundlepage import bundle_page, form_page
from vo_service.formats.uwspage import error_page
from vo_service.model.bundle import Bundle
from vo_service.model.job import Job, Result
from vo_service.params.bundle import parse_bundle_query
from vo_service.services.bundle_jobs import TAR, bundle_name
from vo_service.services.bundle_layout import LISTS, inner_lists, lay_out, lists_of
from vo_service.services.bundles import BundleService
from vo_service.services.jobs import JobService
from vo_service.services.results import result_file
from vo_service.settings import Settings
from vo_service.web.browsers import page_response, wants_page
from vo_service.web.conditions import parse_ranges
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.faults import error_headers, status_of
from vo_service.web.files import Content, FileDelivery
from vo_service.web.tarball import MemberFiles, TarContent, TarSource, held_source
from vo_service.web.uws import open_file, uws_routes
from vo_service.web.visitors import visitor_of

__all__ = ["bundles_app", "deliver_tar"]

_log = logging.getLogger(__name__)

#: Directory in the archive of a request that is answered at once, and name of its file.
_NAME = "bundle"
_TAR = "application/x-tar"


def bundles_app(
    settings: Settings, service: BundleService, jobs: JobService, files: MemberFiles
) -> Starlette:
    """The sub-application of bundles; *jobs* are those of the service `BUNDLES`."""
    url = f"{settings.root_url}/bundles"

    async def form(request: Request) -> Response:
        if request.query_params:
            return await sync(request)
        limits = settings.bundle_members_limit, settings.bundle_bytes_limit
        return page_response(form_page(f"{url}/async", *limits))

    async def page(job: Job, place: str) -> bytes:
        return bundle_page(job, place, bundle_name(job), await service.get(job.number))

    async def deliver(request: Request, job: Job, result: Result) -> Response:
        if result.name != TAR:
            name = f"{bundle_name(job)}-{result.name}.{result.suffix}"
            file = await _stored(settings, job, name, result.name)
            return FileDelivery(request, file, f"{result.media_type}; charset=utf-8")
        bundle = await service.get(job.number)
        if bundle is None:
            raise NotFoundError("the bundle was destroyed; ask for a new one")
        visitor = visitor_of(request)
        source = TarSource(
            members=partial(service.members, job.number),
            readable=partial(service.readable, visitor),
            files=files,
            text=lambda name: _stored(settings, job, name, name),
            visitor=visitor,
        )
        return await deliver_tar(request, bundle_name(job), bundle, source)

    async def sync(request: Request) -> Response:
        pairs = await request_pairs(request)
        wanted = parse_bundle_query(
            pairs,
            members_limit=settings.bundle_members_limit,
            query_length=settings.query_length_limit,
        )
        visitor = visitor_of(request)
        selection = await while_connected(request.receive, service.select(wanted, visitor))
        lists = lists_of(settings, selection, _manifest_url(settings, pairs))
        if wanted.response_format != "tar":
            kind = LISTS[wanted.response_format]
            text = "".join(lists[wanted.response_format]())
            return Response(
                text.encode(),
                media_type=kind.media_type,
                headers={
                    "Content-Disposition": f'attachment; filename="{_NAME}.{kind.suffix}"',
                    "X-Content-Type-Options": "nosniff",
                },
            )
        texts = inner_lists(lists)
        sizes = {name: len(text) for name, text in texts.items()}
        bundle, members = lay_out(_NAME, sizes, selection, corrected=wanted.corrected)
        source = held_source(members, texts, service, files, visitor)
        return await deliver_tar(request, _NAME, bundle, source)

    return Starlette(
        routes=[
            Route("/", form, methods=["GET", "POST"]),
            Route("/sync", sync, methods=["GET", "POST"]),
            *uws_routes(settings, jobs, f"{url}/async", page=page, deliver=deliver),
        ],
        exception_handlers={
            VOError: _answer_error,
            ClientDisconnect: _nobody,
            Exception: _defect,
        },
    )


async def deliver_tar(request: Request, name: str, bundle: Bundle, source: TarSource) -> Response:
    """A tar archive, or the part of it that is asked for.

    Raises
    ------
    NotFoundError
        If what is asked for begins with a file that is not to be had any more.
    """
    content = TarContent(f"{name}.tar", bundle.tar_size, bundle.tag, source)
    try:
        spans = parse_ranges(request.headers.get("range", ""), bundle.tar_size)
        await content.check(spans[0][0] if spans else 0)
    except BaseException:
        content.close()
        raise
    return FileDelivery(request, content, _TAR)


async def _stored(settings: Settings, job: Job, name: str, result: str) -> Content:
    """A list of a job, to be delivered under a name."""
    path = result_file(settings, job.job_id, result)
    try:
        return await to_thread.run_sync(open_file, path, name)
    except FileNotFoundError:
        raise NotFoundError("the bundle was destroyed; ask for a new one") from None


def _manifest_url(settings: Settings, pairs: Sequence[tuple[str, str]]) -> str:
    """Where the same request is answered with its manifest."""
    kept = [(name, value) for name, value in pairs if name.upper() != "RESPONSEFORMAT"]
    query = urlencode([*kept, ("RESPONSEFORMAT", "manifest")])
    return f"{settings.root_url}/bundles/sync?{query}"


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    if wants_page(request):
        response = page_response(error_page(str(error)), status_of(error))
        response.headers.update(error_headers(error))
        return response
    return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _defect(request: Request, error: Exception) -> Response:
    _log.error("defect at %s", request.url.path, exc_info=error)
    return PlainTextResponse("this service made an error; its operator finds it in the log\n", 500)
