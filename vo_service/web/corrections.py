"""Header corrections over HTTP: lists, programs that apply them, files with corrected headers.

``/corrections/<collection>?FRAME=...`` is the list, in any format of `formats.output`;
``/corrections/apply_corrections.py`` and ``.c`` are the programs; ``/data/...?header=corrected``
is a file with the corrections applied.
"""

from __future__ import annotations

from importlib import resources

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import HeaderError, MultiValuedError, UsageError, VOError
from vo_service.formats.output import output_format
from vo_service.ingest.rewrite import corrected_headers
from vo_service.services.correction_lists import CorrectionLists
from vo_service.settings import Settings
from vo_service.web.corrected import CorrectedFile
from vo_service.web.exchange import TableResponse, request_pairs
from vo_service.web.faults import error_headers, status_of
from vo_service.web.files import OpenFile
from vo_service.web.visitors import visitor_of

__all__ = ["WHY_NOT_CORRECTED", "corrected_content", "corrections_app", "wants_correction"]

#: In the package `vo_service.programs`, with their media types.
_PROGRAMS = {
    "apply_corrections.py": "text/x-python;charset=utf-8",
    "apply_corrections.c": "text/x-c;charset=utf-8",
}
WHY_NOT_CORRECTED = (
    "its header is not corrected on the way; take the list and a program from /corrections/"
)
_CHOICES = ("original", "corrected")


def wants_correction(request: Request) -> bool:
    """Whether a request for a file says ``header=corrected``.

    Raises
    ------
    UsageError
        If it says something else of the header.
    """
    said = [value for key, value in request.query_params.multi_items() if key.lower() == "header"]
    if len(said) > 1:
        raise MultiValuedError("header may be given once")
    if said and said[0].lower() not in _CHOICES:
        raise UsageError(f"header={said[0][:80]!r}: expected {' or '.join(_CHOICES)}")
    return bool(said) and said[0].lower() == "corrected"


async def corrected_content(
    lists: CorrectionLists, request: Request, path: str, file: OpenFile
) -> CorrectedFile:
    """An open file with corrected headers; the file is closed if there is none.

    Raises
    ------
    UsageError
        If its headers cannot be corrected: it is compressed as a whole, or no FITS file.
    """
    try:
        found = await lists.of_file(path, visitor_of(request))
        headers = await to_thread.run_sync(
            corrected_headers, file.file.fileno(), file.size, found.corrections
        )
    except (HeaderError, UsageError) as error:
        file.close()
        raise UsageError(f"{path}: {error}; {WHY_NOT_CORRECTED}") from error
    except BaseException:
        file.close()
        raise
    return CorrectedFile(file, headers.parts, headers.digest, found.changed_ns)


def corrections_app(settings: Settings, lists: CorrectionLists) -> Starlette:
    """The sub-application ``/corrections``."""

    async def listed(request: Request) -> Response:
        frames: list[str] = []
        format_asked: list[str] = []
        for key, value in await request_pairs(request):
            match key.upper():
                case "FRAME" | "PATH" | "ID":
                    frames.append(value)
                case "RESPONSEFORMAT" | "FORMAT":
                    format_asked.append(value)
        if len(format_asked) > 1:
            raise MultiValuedError("RESPONSEFORMAT may be given once")
        output, media_type = output_format(format_asked[0] if format_asked else None)
        rows = await lists.listed(
            request.path_params["collection"], frames, visitor_of(request), settings.maxrec_limit
        )
        answer = TableResponse(rows, output.write(rows, []), media_type)
        answer.headers["content-disposition"] = output.disposition
        return answer

    async def program(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        text = await to_thread.run_sync(_program, name)
        return Response(
            text,
            headers={
                "Content-Type": _PROGRAMS[name],
                "Content-Disposition": f'attachment; filename="{name}"',
            },
        )

    async def overview(request: Request) -> Response:
        return PlainTextResponse(_OVERVIEW.format(root=f"{settings.root_url}/corrections"))

    return Starlette(
        routes=[
            Route("/", overview),
            *[Route(f"/{name}", program) for name in _PROGRAMS],
            Route("/{collection:str}", listed, methods=["GET", "POST"]),
        ],
        exception_handlers={VOError: _answer_error, HTTPException: _answer_http},
    )


_OVERVIEW = """\
Header corrections

{root}/COLLECTION                            all of a collection
{root}/COLLECTION?FRAME=A&FRAME=B            those of frames (paths and identifiers do, too)
{root}/COLLECTION?RESPONSEFORMAT=csv         as the programs below read them; or json, votable ...
{root}/apply_corrections.py                  applies a list to files (Python, astropy)
{root}/apply_corrections.c                   the same (C, CFITSIO)

A file with its corrections applied already: its own address with ?header=corrected
"""


def _program(name: str) -> bytes:
    return resources.files("vo_service.programs").joinpath(name).read_bytes()


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VOError)  # noqa: S101 - registered for this kind only
    return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
