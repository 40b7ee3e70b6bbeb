"""UWS 1.1 at ``/async``: jobs, their atoms, parameters and results.

Source: UWS 1.1, "REST binding"; TAP 1.1, "/async". Every change is answered with 303 and an
absolute address; containers are XML (the job list and a job also pages, for browsers), atoms
are text.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from io import FileIO
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import ForbiddenError, NotFoundError, UsageError
from vo_service.formats.output import file_disposition
from vo_service.formats.uws import (
    job_document,
    job_list,
    parameter_list,
    result_list,
    timestamp,
)
from vo_service.formats.uwspage import job_list_page, job_page
from vo_service.formats.votable import error_votable
from vo_service.model.job import Job, Result
from vo_service.params.uws import (
    parse_action,
    parse_destruction,
    parse_duration,
    parse_filter,
    parse_phase_change,
    parse_wait,
    split_creation,
)
from vo_service.services.jobs import JobService
from vo_service.services.results import part_file, result_file
from vo_service.services.uploads import Part
from vo_service.settings import Settings
from vo_service.web.browsers import page_response, refuse_other_sites, wants_page
from vo_service.web.exchange import request_pairs, while_connected
from vo_service.web.files import FileDelivery, OpenFile
from vo_service.web.visitors import visitor_of

__all__ = ["open_file", "uws_routes"]

_XML = "text/xml"
_VOTABLE = "application/x-votable+xml"
_BY_ACCEPT = {"Vary": "Accept"}

#: Never what the client said that it is: a browser must not run what somebody uploaded.
_UNKNOWN_BYTES = "application/octet-stream"

_PARTS, _FIELDS = 100, 1000

Endpoint = Callable[[Request], Awaitable[Response]]
Pairs = list[tuple[str, str]]
Parts = list[tuple[str, Part]]
Deliver = Callable[[Request, Job, Result], Awaitable[Response | None]]
Page = Callable[[Job, str], Awaitable[bytes]]


def uws_routes(
    settings: Settings,
    jobs: JobService,
    url: str,
    *,
    page: Page | None = None,
    deliver: Deliver | None = None,
) -> list[Route]:
    """The routes at and below ``/async``.

    Parameters
    ----------
    settings, jobs
        The archive, and the jobs of a service.
    url
        Public address of the job list.
    page
        A job, and its address, as a page of its own kind.
    deliver
        Answers with a result that is no file; None from it means that it is one.
    """
    uws = _Uws(settings, jobs, url, page, deliver)
    job = "/async/{job}"
    return [
        _route("/async", GET=uws.list, POST=uws.create),
        _route(job, GET=uws.job, POST=uws.act, DELETE=uws.delete),
        _route(f"{job}/phase", GET=uws.atom(lambda job: job.phase), POST=uws.change_phase),
        _route(
            f"{job}/executionduration",
            GET=uws.atom(lambda job: str(job.execution_duration)),
            POST=uws.change_duration,
        ),
        _route(
            f"{job}/destruction",
            GET=uws.atom(lambda job: _time(job.destruction)),
            POST=uws.change_destruction,
        ),
        _route(f"{job}/quote", GET=uws.atom(lambda job: _time(job.quote))),
        _route(f"{job}/owner", GET=uws.atom(lambda job: job.owner or "")),
        _route(f"{job}/error", GET=uws.error),
        _route(f"{job}/parameters", GET=uws.parameters, POST=uws.add_parameters),
        _route(f"{job}/parameters/{{name:path}}", GET=uws.parameter),
        _route(f"{job}/results", GET=uws.results),
        _route(f"{job}/results/{{name}}", GET=uws.result),
    ]


def _route(path: str, **by_method: Endpoint) -> Route:
    """One route for a path, so that the answer to a wrong method names all that are right."""

    async def endpoint(request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            refuse_other_sites(request)
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(by_method))


class _Uws:
    """The endpoints."""

    def __init__(
        self,
        settings: Settings,
        jobs: JobService,
        url: str,
        page: Page | None,
        deliver: Deliver | None,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._url = url
        self._page = page
        self._deliver = deliver

    async def list(self, request: Request) -> Response:
        """The jobs of the client."""
        wanted = parse_filter(request.query_params.multi_items())
        jobs = await self._jobs.list(visitor_of(request), wanted)
        if wants_page(request):
            return page_response(job_list_page(jobs, self._url))
        return Response(job_list(jobs, self._url), media_type=_XML, headers=_BY_ACCEPT)

    async def create(self, request: Request) -> Response:
        """A new job, PENDING or (PHASE=RUN) queued."""
        async with _form(request, self._settings.request_limit) as (pairs, parts):
            own, run = split_creation(pairs)
            return self._see(await self._jobs.create(visitor_of(request), own, parts, run=run))

    async def job(self, request: Request) -> Response:
        """A job; with WAIT, when it has changed."""
        client, job_id = visitor_of(request), request.path_params["job"]
        wait = parse_wait(request.query_params.multi_items())
        if wait is None:
            job = await self._jobs.get(client, job_id)
        else:
            waiting = self._jobs.wait(client, job_id, wait)
            job = await while_connected(request.receive, waiting)
        if wants_page(request):
            place = self._place(job)
            return page_response(
                await self._page(job, place) if self._page else job_page(job, place)
            )
        return Response(job_document(job, self._place(job)), media_type=_XML, headers=_BY_ACCEPT)

    async def act(self, request: Request) -> Response:
        """ACTION=DELETE; parameters are not taken here (DALI 1.1, "DALI-async")."""
        if not parse_action(await request_pairs(request)):
            await self._get(request)
            raise ForbiddenError("a job takes ACTION=DELETE here, its parameters at /parameters")
        return await self.delete(request)

    async def delete(self, request: Request) -> Response:
        """Destroy a job."""
        await self._jobs.delete(visitor_of(request), request.path_params["job"])
        return Response(status_code=303, headers={"Location": self._url})

    async def change_phase(self, request: Request) -> Response:
        """Run or abort a job."""
        change = parse_phase_change(await request_pairs(request))
        apply = self._jobs.run if change == "RUN" else self._jobs.abort
        return self._see(await apply(visitor_of(request), request.path_params["job"]))

    async def change_duration(self, request: Request) -> Response:
        """Set the execution duration."""
        seconds = parse_duration(await request_pairs(request))
        job_id = request.path_params["job"]
        return self._see(await self._jobs.set_duration(visitor_of(request), job_id, seconds))

    async def change_destruction(self, request: Request) -> Response:
        """Set the time of destruction."""
        moment = parse_destruction(await request_pairs(request))
        job_id = request.path_params["job"]
        return self._see(await self._jobs.set_destruction(visitor_of(request), job_id, moment))

    def atom(self, value: Callable[[Job], str]) -> Endpoint:
        """An endpoint that tells one value of a job as text."""

        async def tell(request: Request) -> Response:
            return PlainTextResponse(value(await self._get(request)))

        return tell

    async def error(self, request: Request) -> Response:
        """The error document of a job that failed."""
        job = await self._get(request)
        if job.failure is None:
            raise NotFoundError(f"the job is {job.phase} and has no error")
        return Response(error_votable(job.failure.message), media_type=_VOTABLE)

    async def parameters(self, request: Request) -> Response:
        """The parameters of a job."""
        job = await self._get(request)
        return Response(parameter_list(job, self._place(job)), media_type=_XML)

    async def add_parameters(self, request: Request) -> Response:
        """Add or change parameters."""
        client, job_id = visitor_of(request), request.path_params["job"]
        async with _form(request, self._settings.request_limit) as (pairs, parts):
            return self._see(await self._jobs.add_parameters(client, job_id, pairs, parts))

    async def parameter(self, request: Request) -> Response:
        """The value of one parameter, or the content of an inline part."""
        job = await self._get(request)
        name = request.path_params["name"]
        found = next((p for p in job.parameters if p.name.upper() == name.upper()), None)
        if found is None:
            raise NotFoundError(f"the job has no parameter {name[:60]!r}")
        if found.part is None:
            return PlainTextResponse(found.value, headers={"X-Content-Type-Options": "nosniff"})
        path = part_file(self._settings, job.job_id, found.part)
        return await _deliver(request, path, f"parameter-{found.part}", _UNKNOWN_BYTES)

    async def results(self, request: Request) -> Response:
        """The results of a job."""
        job = await self._get(request)
        return Response(result_list(job, self._place(job)), media_type=_XML)

    async def result(self, request: Request) -> Response:
        """A result, or the part of it that is asked for."""
        job = await self._get(request)
        name = request.path_params["name"]
        found = next((result for result in job.results if result.name == name), None)
        if found is None:
            raise NotFoundError(f"the job is {job.phase} and has no result {name[:60]!r}")
        if self._deliver and (made := await self._deliver(request, job, found)):
            return made
        path = result_file(self._settings, job.job_id, name)
        response = await _deliver(request, path, f"{job.job_id}.{found.suffix}", found.media_type)
        if "Content-Disposition" in response.headers:
            disposition = file_disposition(found.media_type, found.suffix)
            response.headers["Content-Disposition"] = disposition
        return response

    async def _get(self, request: Request) -> Job:
        return await self._jobs.get(visitor_of(request), request.path_params["job"])

    def _place(self, job: Job) -> str:
        return f"{self._url}/{job.job_id}"

    def _see(self, job: Job) -> Response:
        return Response(status_code=303, headers={"Location": self._place(job)})


@contextlib.asynccontextmanager
async def _form(request: Request, limit: int) -> AsyncIterator[tuple[Pairs, Parts]]:
    """Parameters of a request, none of them looked at, and its files; these last as long as this.

    Raises
    ------
    UsageError
        If the body is not well formed.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        yield await request_pairs(request), []
        return
    try:
        form = await request.form(max_files=_PARTS, max_fields=_FIELDS, max_part_size=limit)
    except HTTPException as error:
        raise UsageError(f"the form cannot be read: {error.detail}") from error
    pairs: Pairs = request.query_params.multi_items()
    parts: Parts = []
    with tempfile.TemporaryDirectory(prefix="vo-parts-") as directory:
        try:
            for number, (name, value) in enumerate(form.multi_items()):
                if isinstance(value, UploadFile):
                    path = Path(directory) / str(number)
                    await to_thread.run_sync(_save, value, path)
                    parts.append((name, Part(path, value.content_type)))
                else:
                    pairs.append((name, value))
        finally:
            await form.close()
        yield pairs, parts


def _save(value: UploadFile, path: Path) -> None:
    with path.open("wb") as out:
        shutil.copyfileobj(value.file, out)


async def _deliver(request: Request, path: Path, name: str, media_type: str) -> Response:
    try:
        file = await to_thread.run_sync(open_file, path, name)
    except FileNotFoundError:
        raise NotFoundError("it has been destroyed") from None
    return FileDelivery(request, file, media_type)


def open_file(path: Path, name: str) -> OpenFile:
    """A file of a job, to be delivered under a name."""
    file = FileIO(path, "rb")
    status = os.fstat(file.fileno())
    return OpenFile(file, name, status.st_size, status.st_mtime_ns, status.st_ino)


def _time(moment: datetime | None) -> str:
    return timestamp(moment) or ""
