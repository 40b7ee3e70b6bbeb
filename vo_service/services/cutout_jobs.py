"""Cutouts as jobs: a result for each dataset with each stencil, or all of them in one file.

Source: SODA 1.0, "{async}": a combination that selects nothing gives a text that says so; DALI
1.1, "UPLOAD", for lists of positions.
"""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

from anyio import to_thread

from vo_service.errors import TransientError, VOError
from vo_service.imaging.cards import history, plain_primary
from vo_service.imaging.cutout import Cutout
from vo_service.model.job import Job, Result
from vo_service.model.visitor import Visitor
from vo_service.params.soda import MEF, TAR, CutoutQuery, parse_cutout_query, with_positions
from vo_service.services.cutting import Cutter
from vo_service.services.positions import positions_of
from vo_service.services.results import Drafts, Progress
from vo_service.services.soda import Found, SodaService
from vo_service.services.uploads import UploadService, inline_parts
from vo_service.settings import Settings

__all__ = ["SODA", "CutoutRunner"]

#: Service of the jobs.
SODA = "soda"

_CHUNK = 1 << 20
_FITS = "application/fits"
_SUFFIXES = {"image/png": "png", "image/webp": "webp"}
_NOTHING = b"NoContent: the dataset has no pixels there\n"


class CutoutRunner:
    """Makes cutouts into files; *uploads* reads lists of positions."""

    def __init__(
        self, settings: Settings, service: SodaService, drafts: Drafts, uploads: UploadService
    ) -> None:
        self._settings = settings
        self._service = service
        self._drafts = drafts
        self._uploads = uploads
        self._cutter = Cutter.of(settings)

    async def run(self, job: Job, progress: Progress) -> Sequence[Result]:
        """Make the cutouts of a job.

        Raises
        ------
        VOError
            For whatever is wrong with the request. What is wrong with one of several cutouts is
            told in its place, unless all are to be in one file.
        """
        limit = self._settings.cutouts_limit
        query = parse_cutout_query(job.pairs, limit=limit, job=True)
        if query.uploads:
            query = await self._with_positions(job, query)
        visitor = Visitor(name=job.owner)
        located = await self._service.locate(query.ids, visitor)
        found = await self._service.check(located, visitor, corrected=query.corrected)
        if query.media_type == MEF:
            return await self._one_file(job, query, found, progress)
        each = [
            (one, replace(query, ids=(one.dataset.did,), stencils=(stencil,)))
            for one, stencil in itertools.product(found, query.stencils)
        ]
        if query.media_type == TAR:
            await self._drafts.write(job, self._archive(each, progress), progress)
            return [Result(TAR, progress.size, "tar")]
        results = []
        for number, (one, part) in enumerate(each, 1):
            before, name = progress.size, f"cutout-{number}"
            media_type, suffix, content = await self._made(one, part, alone=len(each) == 1)
            await self._drafts.write(job, content, progress, name)
            results.append(Result(media_type, progress.size - before, suffix, name))
            progress.rows += 1
        return results

    async def _with_positions(self, job: Job, query: CutoutQuery) -> CutoutQuery:
        limit = self._settings.cutouts_limit
        parts = await to_thread.run_sync(inline_parts, self._settings, job, query.uploads)
        async with self._uploads.read(query.uploads, parts) as [table]:
            positions = await to_thread.run_sync(positions_of, table, limit)
        return with_positions(query, positions, limit=limit)

    async def _one_file(
        self, job: Job, query: CutoutQuery, found: Sequence[Found], progress: Progress
    ) -> Sequence[Result]:
        """All cutouts as extensions of one FITS file; a text if there are none."""
        await self._drafts.write(job, self._extensions(query, found, progress), progress)
        if progress.rows:
            return [Result(_FITS, progress.size, "fits")]
        progress.size = 0
        await self._drafts.write(job, _once(_NOTHING), progress)
        return [Result("text/plain", progress.size, "txt")]

    async def _extensions(
        self, query: CutoutQuery, found: Sequence[Found], progress: Progress
    ) -> AsyncIterator[bytes]:
        """One dataset after the other, so that only one file is open."""
        alone = len(found) == 1
        if not alone:
            said = ", ".join(one.dataset.did for one in found)
            yield plain_primary(history(f"Cutouts by vo-service of {said}"[:2000]))
        for number, one in enumerate(found):
            part = replace(query, ids=(one.dataset.did,))
            first = 1 + number * len(query.stencils)
            make = partial(self._cutter.cutout, first=first, follows=not alone)
            made = await to_thread.run_sync(make, part, [one])
            if made is not None:
                progress.rows += 1
                async for chunk in _content(made):
                    yield chunk

    async def _made(
        self, one: Found, part: CutoutQuery, *, alone: bool
    ) -> tuple[str, str, AsyncIterator[bytes]]:
        """Media type, suffix and content of one result."""
        made: Cutout | bytes | None
        try:
            make = self._cutter.picture if part.is_picture else self._cutter.cutout
            made = await to_thread.run_sync(make, part, [one])
        except VOError as error:
            if alone:
                raise
            return "text/plain", "txt", _once(f"UsageError: {error}\n".encode())
        if made is None:
            return "text/plain", "txt", _once(_NOTHING)
        if isinstance(made, bytes):
            return part.media_type, _SUFFIXES[part.media_type], _once(made)
        return part.media_type, "fits", _content(made)

    async def _archive(
        self, each: Sequence[tuple[Found, CutoutQuery]], progress: Progress
    ) -> AsyncIterator[bytes]:
        """A tar archive of those cutouts that there are, numbered as they were asked for."""
        for number, (one, part) in enumerate(each, 1):
            made = await to_thread.run_sync(self._cutter.cutout, part, [one])
            if made is not None:
                info = tarfile.TarInfo(f"cutouts/{number:05}-{made.name}")
                info.size, info.mtime = made.size, made.mtime_ns // 10**9
                yield info.tobuf(tarfile.PAX_FORMAT)
                async for chunk in _content(made):
                    yield chunk
                yield bytes(-made.size % tarfile.BLOCKSIZE)
            progress.rows += 1
        yield bytes(2 * tarfile.BLOCKSIZE)


async def _content(cutout: Cutout) -> AsyncIterator[bytes]:
    try:
        position = 0
        while position < cutout.size:
            chunk = await cutout.read(position, min(_CHUNK, cutout.size - position))
            yield chunk
            position += len(chunk)
    except OSError as error:
        raise TransientError(f"{cutout.name}: its file cannot be read now") from error
    finally:
        cutout.close()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
