"""Bundles: what a request comes to, for whom, and what is written of it.

MISSION B1, B5, C2, C5. A request is resolved once: which products, in which version, at which
place of a tar archive. Whether somebody may read them is asked again whenever they are sent.
Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import psycopg
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.requests import (
    BundleStore,
    FoundProduct,
    found_products,
    readable,
    with_corrections,
)
from vo_service.errors import (
    ForbiddenError,
    HeaderError,
    NotFoundError,
    TransientError,
    UsageError,
)
from vo_service.ingest.rewrite import CorrectedHeaders, corrected_headers
from vo_service.model.bundle import Bundle, BundleFile, LeftOut, Member, Selection
from vo_service.model.correction import Correction
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field
from vo_service.model.visitor import Visitor
from vo_service.params.bundle import BundleQuery
from vo_service.params.tap import TapQuery
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["BundleService", "Found"]

_log = logging.getLogger(__name__)

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]
Found = FoundProduct

(_DID,) = (column for column in OBSCORE if column.name == "obs_publisher_did")

#: ADQL, and not a statement of ours, so that it finds what the visitor may find and no more.
_EXPOSURES = "SELECT obs_publisher_did FROM ivoa.obscore WHERE obs_id IN"

#: Reasons that an error shows; the manifest has all.
_SHOWN = 5


class BundleService:
    """Resolves requests, keeps what they came to, and says what may be sent.

    Parameters
    ----------
    door
        Connections of ``vo_door``.
    jobs
        Connections of ``vo_jobs``.
    tap
        Runs the queries of those who select by ADQL.
    """

    def __init__(self, settings: Settings, door: Pool, jobs: Pool, tap: TapService) -> None:
        self._settings = settings
        self._door = door
        self._jobs = jobs
        self._tap = tap
        self._corrections = CorrectionLists(door)

    async def select(self, wanted: BundleQuery, visitor: Visitor) -> Selection:
        """The files of a request that *visitor* may read, and why the others are left out.

        Raises
        ------
        UsageError
            If it comes to nothing, to too many files, or to too many bytes.
        NotFoundError, ForbiddenError
            If nothing of it is here, or none of it may be read; the text says why.
        """
        ids = [*wanted.ids, *await self._queried(wanted, visitor)]
        self._check_number(len(ids) + len(wanted.paths))
        found = await self._found(visitor, "did", dict.fromkeys(ids))
        found += await self._found(visitor, "path", wanted.paths)
        files: dict[int, BundleFile] = {}
        left_out = []
        to_correct = await self._to_correct(found, visitor) if wanted.corrected else set()
        for row, fault in await to_thread.run_sync(self._judged, found):
            if fault is None:
                file = self._file(row)
                if file.product_id in to_correct and not file.remote:
                    file = await self._corrected(file, row, visitor)
                files[file.product_id] = file
            else:
                left_out.append(LeftOut(row.asked, fault))
        left_out.sort(key=lambda missing: missing.asked)
        selection = Selection(sorted(files.values(), key=lambda file: file.name), left_out)
        if not selection.files:
            raise self._nothing(found, left_out)
        limit = self._settings.bundle_bytes_limit
        if selection.size > limit:
            raise UsageError(
                f"the {len(selection.files)} files have {selection.size} bytes together: a bundle "
                f"may have at most {limit} (bundle_bytes_limit); ask for less"
            )
        return selection

    async def readable(
        self, visitor: Visitor, product_ids: Sequence[int]
    ) -> Mapping[int, FoundProduct]:
        """Those of the products that *visitor* may read now."""
        async with _transaction(self._door) as connection:
            return await readable(connection, visitor.name, product_ids)

    async def keep(self, number: int, bundle: Bundle, members: Sequence[Member]) -> None:
        """Keep what the request of a job came to."""
        async with _transaction(self._jobs) as connection:
            await BundleStore(connection).put(number, bundle, members)

    async def get(self, number: int) -> Bundle | None:
        """The bundle of a job; None before it was made."""
        async with _transaction(self._jobs) as connection:
            return await BundleStore(connection).get(number)

    async def members(self, number: int, position: int, limit: int) -> Sequence[Member]:
        """Members of the archive of a job, from the one in which *position* lies."""
        async with _transaction(self._jobs) as connection:
            return await BundleStore(connection).members(number, position, limit)

    async def _queried(self, wanted: BundleQuery, visitor: Visitor) -> list[str]:
        """Identifiers that the request's query, and its exposures, come to."""
        found: list[str] = []
        if wanted.exposures:
            names = ", ".join(map(_quoted, wanted.exposures))
            query = f"{_EXPOSURES} ({names})"
            found += await self._identifiers(query, visitor)
            if not found:
                raise NotFoundError("OBS_ID: nothing here has such an obs_id")
        if wanted.query is not None:
            queried = await self._identifiers(wanted.query, visitor)
            if not queried:
                raise NotFoundError("QUERY: the query found no rows")
            found += queried
        return found

    async def _identifiers(self, query: str, visitor: Visitor) -> list[str]:
        limit = self._settings.bundle_members_limit
        rows = await self._tap.query(TapQuery(query=query, maxrec=limit), visitor=visitor)
        try:
            name = _did_column(rows.fields)
            found: dict[str, None] = {}
            async for batch in rows.batches():
                found |= dict.fromkeys(batch.column(name).to_pylist())
            if rows.truncated:
                self._check_number(limit + 1)
            if rows.missing is not None:
                raise TransientError(f"{rows.missing}, but not all files that were asked for")
        finally:
            await rows.aclose()
        return [did for did in found if did is not None]

    def _check_number(self, count: int) -> None:
        limit = self._settings.bundle_members_limit
        if count > limit:
            raise UsageError(
                f"the request comes to more than {limit} files, which is the limit "
                "(bundle_members_limit); ask for less"
            )

    async def _found(
        self, visitor: Visitor, by: Literal["did", "path"], asked: Iterable[str]
    ) -> list[FoundProduct]:
        wanted = list(asked)
        if not wanted:
            return []
        async with _transaction(self._door) as connection:
            return await found_products(connection, visitor.name, by, wanted)

    async def _to_correct(self, found: Iterable[FoundProduct], visitor: Visitor) -> set[int]:
        """Those of the products for which there are corrections."""
        ids = [row.product_id for row in found if row.product_id is not None]
        async with _transaction(self._door) as connection:
            return await with_corrections(connection, visitor.name, ids)

    async def _corrected(self, file: BundleFile, row: FoundProduct, visitor: Visitor) -> BundleFile:
        """What a file is with its header corrected; itself where nothing is to be corrected."""
        found = await self._corrections.of_file(file.name, visitor)
        try:
            headers = await to_thread.run_sync(_headers, row.source or "", found.corrections)
        except (HeaderError, UsageError) as error:
            return replace(file, remark=f"as it is stored: its header cannot be corrected: {error}")
        except OSError as error:
            _log.error("%s: cannot be read: %s", row.source, error)
            raise TransientError(f"{file.name}: cannot be read now; try again later") from error
        if not headers.digest:
            return file
        return replace(file, size=headers.size, md5=None, header_tag=headers.digest)

    def _judged(self, found: Iterable[FoundProduct]) -> list[tuple[FoundProduct, str | None]]:
        """What was found, and why it cannot be delivered; looks at the files that are here."""
        return [
            (row, _fault(row) or (None if self._remote(row) else _fault_of_file(row)))
            for row in found
        ]

    def _remote(self, row: FoundProduct) -> bool:
        return row.away or row.served_elsewhere or bool(self._settings.data_url)

    def _file(self, row: FoundProduct) -> BundleFile:
        assert row.product_id is not None  # noqa: S101 - _fault was asked before
        return BundleFile(
            product_id=row.product_id,
            collection=row.collection,
            path=row.path,
            did=row.did,
            size=None if row.source is None else row.size,
            modified=int(row.modified.timestamp() // 1),
            md5=row.md5,
            remote=self._remote(row),
            remark="not in the archive: another server delivers it" if self._remote(row) else "",
        )

    def _nothing(
        self, found: Sequence[FoundProduct], left_out: Sequence[LeftOut]
    ) -> NotFoundError | ForbiddenError:
        closed = any(row.product_id is not None for row in found)
        shown = "; ".join(
            f"{missing.asked[:200]}: {missing.reason}" for missing in left_out[:_SHOWN]
        )
        more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        kind = ForbiddenError if closed else NotFoundError
        return kind(f"none of the {len(left_out)} files can be delivered: {shown}{more}")


def _headers(source: str, corrections: Sequence[Correction]) -> CorrectedHeaders:
    with open(source, "rb", buffering=0) as file:
        return corrected_headers(file.fileno(), os.fstat(file.fileno()).st_size, corrections)


def _quoted(text: str) -> str:
    """A text as ADQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _did_column(fields: Sequence[Field]) -> str:
    for field in fields:
        if (field.utype == _DID.utype and field.ucd == _DID.ucd) or field.name == _DID.name:
            return field.name
    raise UsageError("QUERY: expected a query that selects the column obs_publisher_did")


def _fault(row: FoundProduct) -> str | None:
    """Why a file cannot be delivered."""
    if row.product_id is None:
        return "nothing here has this name"
    if row.state == "withdrawn":
        return "withdrawn"
    if row.state == "expired":
        return "its file was kept for a limited time, which is over"
    if row.source is None and not row.away:
        return "only its header is kept here, the file is elsewhere"
    if not row.readable:
        when = row.release_date
        return "proprietary; " + (
            f"it will be released on {when:%Y-%m-%d}" if when else "no release date is set"
        )
    return None


def _fault_of_file(row: FoundProduct) -> str | None:
    """What is wrong with a file itself: better said now than by a download that breaks off."""
    try:
        status = os.stat(row.source or "")
    except (OSError, ValueError) as error:
        _log.error("%s: cannot be delivered: %s", row.source, error)
        return "its file cannot be read now"
    if status.st_size != row.size:
        _log.error("%s: has %s bytes, not %s as archived", row.source, status.st_size, row.size)
        return "its file has changed since it was ingested"
    return None


@contextlib.asynccontextmanager
async def _transaction(pool: Pool) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    try:
        async with pool.connection() as connection:
            yield connection
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise TransientError("the database is not available now; try again soon") from error
