"""Requests for bundles as jobs: resolved once, with their lists written and the archive laid out.

The archive itself is no file: it is made while it is sent (`web.tarball`), of the members that
are kept here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice

from vo_service.model.job import Job, Result
from vo_service.model.visitor import Visitor
from vo_service.params.bundle import parse_bundle_query
from vo_service.services.bundle_layout import LISTS, lay_out, lists_of
from vo_service.services.bundles import BundleService
from vo_service.services.results import Drafts, Progress
from vo_service.settings import Settings

__all__ = ["BUNDLES", "TAR", "BundleRunner", "bundle_name"]

#: Service of the jobs, and name of the result that is the archive.
BUNDLES, TAR = "bundles", "tar"

_LINES = 1000


def bundle_name(job: Job) -> str:
    """What the archive, its directory and its lists are called; it does not open the job."""
    return f"bundle-{job.number}"


class BundleRunner:
    """Resolves requests."""

    def __init__(self, settings: Settings, service: BundleService, drafts: Drafts) -> None:
        self._settings = settings
        self._service = service
        self._drafts = drafts

    async def run(self, job: Job, progress: Progress) -> Sequence[Result]:
        """Find the files of a request and write its lists.

        Raises
        ------
        VOError
            For whatever is wrong with it; if none of the files may be had; if there are too many.
        """
        settings = self._settings
        wanted = parse_bundle_query(
            job.pairs,
            members_limit=settings.bundle_members_limit,
            query_length=settings.query_length_limit,
        )
        selection = await self._service.select(wanted, Visitor(name=job.owner))
        place = f"{settings.root_url}/bundles/async/{job.job_id}/results/manifest"
        results = []
        for name, lines in lists_of(settings, selection, place).items():
            before = progress.size
            await self._drafts.write(job, _encoded(lines()), progress, name)
            kind = LISTS[name]
            results.append(Result(kind.media_type, progress.size - before, kind.suffix, name))
        sizes = {result.name: result.size for result in results}
        bundle, members = lay_out(bundle_name(job), sizes, selection, corrected=wanted.corrected)
        await self._service.keep(job.number, bundle, members)
        progress.rows = bundle.files
        return [Result("application/x-tar", bundle.tar_size, "tar", TAR), *results]


async def _encoded(lines: Iterable[str]) -> AsyncIterator[bytes]:
    rest = iter(lines)
    while some := "".join(islice(rest, _LINES)):
        yield some.encode()
