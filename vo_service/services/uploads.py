"""Uploads: from what a request says to tables that its query can read, and away again.

Source: TAP 1.1, "UPLOAD". Files are read in a process of their own, whose memory is bounded and
which ends when its client leaves; then they are loaded as the upload role.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import psycopg
from anyio import BrokenWorkerProcess, CapacityLimiter, Semaphore, to_process, to_thread

from vo_service.db.connect import Role, conninfo
from vo_service.db.uploads import LoadedTable, UploadSession, sweep
from vo_service.errors import TooLargeError, TransientError, UsageError, VOError
from vo_service.formats.tables_in import Incoming, Limits, read_table
from vo_service.model.job import Job
from vo_service.model.table import Schema
from vo_service.params.upload import UploadSpec
from vo_service.services.fetch import fetch
from vo_service.services.results import part_file, result_file
from vo_service.settings import Settings

__all__ = ["Part", "UploadService", "inline_parts"]

_log = logging.getLogger(__name__)

_READERS = 2  # processes that read files at the same time
_WAIT_S = 30.0
_SWEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class Part:
    """The content of an upload that came with its request."""

    path: Path
    content_type: str | None = None


def inline_parts(settings: Settings, job: Job, uploads: Sequence[UploadSpec]) -> dict[str, Part]:
    """The inline parts of a job that *uploads* name; one that came as a text is made a file."""
    names = {upload.part for upload in uploads}
    parts: dict[str, Part] = {}
    for number, given in enumerate(job.parameters):
        if given.name not in names:
            continue
        if given.part is None:
            place = result_file(settings, job.job_id).with_name(f"text-{number}")
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_text(given.value, "utf-8")
        else:
            place = part_file(settings, job.job_id, given.part)
        parts[given.name] = Part(place, given.content_type)
    return parts


class UploadService:
    """Makes uploaded tables readable for the time of a query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = Limits(
            rows=settings.upload_rows_limit,
            bytes=settings.upload_bytes_limit,
            memory=settings.upload_memory_limit,
        )
        self._conninfo = conninfo(
            settings,
            Role.UPLOAD,
            statement_timeout=int(settings.upload_limit_s * 1000),
            client_min_messages="error",
        )
        self._readers = CapacityLimiter(_READERS)
        self._sessions = Semaphore(settings.reader_connections)

    @contextlib.asynccontextmanager
    async def open(
        self, specs: Sequence[UploadSpec], parts: Mapping[str, Part]
    ) -> AsyncIterator[Schema | None]:
        """The schema ``tap_upload`` with the tables of a query; dropped at the end.

        Parameters
        ----------
        specs
            The UPLOAD parameters.
        parts
            Parts of the request by name, for ``param:`` URIs; needed only until the first
            table can be read.

        Raises
        ------
        UsageError
            A table cannot be had, read or loaded; names the upload.
        TransientError
            The service is busy, or the database away.
        """
        if not specs:
            yield None
            return
        try:
            with anyio.fail_after(_WAIT_S):
                await self._sessions.acquire()
        except TimeoutError:
            raise TransientError("too many uploads at this moment; try again soon") from None
        session = UploadSession(self._conninfo, self._settings.upload_limit_s)
        try:
            async with self.read(specs, parts) as tables:
                schema = await session.load(tables)
            yield schema
        finally:
            await session.aclose()
            self._sessions.release()

    @contextlib.asynccontextmanager
    async def read(
        self, specs: Sequence[UploadSpec], parts: Mapping[str, Part]
    ) -> AsyncIterator[list[LoadedTable]]:
        """The tables as files, without a database; they are gone at the end.

        Raises
        ------
        UsageError
            A table cannot be had or read; names the upload.
        """
        with tempfile.TemporaryDirectory(prefix="vo-upload-") as directory:
            yield [
                await self._read(spec, parts, Path(directory) / str(number))
                for number, spec in enumerate(specs)
            ]

    async def _read(self, spec: UploadSpec, parts: Mapping[str, Part], place: Path) -> LoadedTable:
        part = await self._content(spec, parts, place.with_suffix(".file"))
        size = (await anyio.Path(part.path).stat()).st_size
        if size > self._limits.bytes:
            raise TooLargeError(
                f"upload {spec.name}: {size} bytes: expected at most {self._limits.bytes}"
            )
        target = place.with_suffix(".arrow")
        try:
            with anyio.fail_after(self._settings.upload_limit_s):
                read: Incoming = await to_process.run_sync(
                    read_table, spec.name, part.path, part.content_type, target, self._limits,
                    cancellable=True, limiter=self._readers,
                )  # fmt: skip
        except TimeoutError:
            raise UsageError(
                f"upload {spec.name}: reading took longer than {self._settings.upload_limit_s:g} s"
            ) from None
        except VOError:
            raise
        except BrokenWorkerProcess as error:
            _log.error("the process that read upload %s ended", spec.name, exc_info=error)
            raise UsageError(
                f"upload {spec.name}: the file cannot be read; expected at most "
                f"{self._limits.memory} bytes of memory to be enough"
            ) from error
        except Exception as error:  # a broken file that a reader of ours did not foresee
            _log.error("defect in reading upload %s", spec.name, exc_info=error)
            raise UsageError(f"upload {spec.name}: the file cannot be read") from error
        return LoadedTable(spec.name, read.fields, read.shapes, target)

    async def _content(self, spec: UploadSpec, parts: Mapping[str, Part], target: Path) -> Part:
        if spec.part is not None:
            if spec.part not in parts:
                raise UsageError(
                    f"upload {spec.name}: the request has no part {spec.part[:60]!r}: expected one "
                    "in its multipart/form-data"
                )
            return parts[spec.part]
        settings = self._settings
        try:
            content_type = await fetch(
                spec.uri,
                target,
                bytes_limit=settings.upload_bytes_limit,
                limit_s=settings.upload_limit_s,
                private=settings.upload_private_addresses,
            )
        except UsageError as error:
            raise type(error)(f"upload {spec.name}: {error}") from error
        return Part(target, content_type)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While this is open, tables that killed processes left are dropped, at once and later."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep)
            yield
            group.cancel_scope.cancel()

    async def _sweep(self) -> None:
        while True:
            try:
                dropped = await to_thread.run_sync(sweep, self._conninfo)
                if dropped:
                    _log.warning("dropped %d uploaded tables of ended processes", dropped)
            except psycopg.Error as error:
                _log.warning("uploaded tables were not swept: %s", error)
            await anyio.sleep(_SWEEP_S)
