"""The log of downloads, written beside their way; and what is counted of it.

Deliveries `note` what they sent and go on; a task writes the notes to the database in batches.
If that is away or too slow the queue fills up, further notes are lost, and the log says how
many: a download never waits for its note. Source: MISSION A4, B9.

Somebody who is not known by name is written as a hash of the address with a key of the day
(UTC), which is thrown away when the day is over; or as the address, if the operator wants that.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import anyio
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.connect import Role, conninfo
from vo_service.db.downloads import (
    DownloadRow,
    Month,
    count_days,
    day_key,
    log_downloads,
    months,
    purge_downloads,
)
from vo_service.model.visitor import Visitor
from vo_service.settings import Settings

__all__ = ["Download", "DownloadLog", "Kind", "download_months", "tidy_downloads"]

_log = logging.getLogger(__name__)

Kind = Literal["file", "corrected", "bundle", "cutout"]

#: Notes that may wait, those of a second on a very busy server.
_WAITING = 20_000
_BATCH = 1000
_PAUSE_S = 1.0
_RETRY_S = 5.0
_LAST_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What was sent of a product to whom, in answer to one request.

    *whole* tells that the whole product was asked for and not a range of it, *complete* that
    *size* bytes are all that was asked for.
    """

    product_id: int
    visitor: Visitor
    kind: Kind
    method: str
    whole: bool
    complete: bool
    size: int
    ended: datetime


class DownloadLog:
    """Takes notes of downloads and writes them while `running`.

    Parameters
    ----------
    settings
        Whether to log at all, and whether addresses are written as they are.
    pool
        Connections of the door.
    """

    def __init__(
        self, settings: Settings, pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]]
    ) -> None:
        self._way = settings.download_log
        self._pool = pool
        self._key: tuple[date, bytes] | None = None
        self._lost = 0
        self._send, self._notes = anyio.create_memory_object_stream[Download](_WAITING)

    def note(self, download: Download) -> None:
        """Remember a download that has ended; never waits."""
        if self._way == "off":
            return
        try:
            self._send.send_nowait(download)
        except (anyio.WouldBlock, anyio.ClosedResourceError):
            self._lost += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write notes while the block lasts, and those that are left at its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._work)
            try:
                yield
            finally:
                self._send.close()
                # What waits is written; a database that does not answer gets no more patience.
                group.cancel_scope.deadline = anyio.current_time() + _LAST_S

    async def _work(self) -> None:
        while batch := await self._next():
            await self._write(batch)
            if self._lost:
                _log.error("downloads lost=%s: the log could not keep up", self._lost)
                self._lost = 0
            await anyio.sleep(_PAUSE_S if self._notes.statistics().open_send_streams else 0)

    async def _next(self) -> list[Download]:
        """Notes that have come, at least one; none when there will be no more."""
        batch: list[Download] = []
        with contextlib.suppress(anyio.EndOfStream, anyio.WouldBlock):
            batch.append(await self._notes.receive())
            while len(batch) < _BATCH:
                batch.append(self._notes.receive_nowait())
        return batch

    async def _write(self, batch: Sequence[Download]) -> None:
        """Write a batch, as soon as the database is there."""
        while True:
            try:
                async with self._pool.connection() as connection:
                    rows = [await self._row(connection, download) for download in batch]
                    await log_downloads(connection, rows)
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("downloads cannot be logged now: %s", str(error).strip())
                await anyio.sleep(_RETRY_S)
                continue
            except psycopg.Error:
                _log.exception("downloads lost=%s: defect in the log", len(batch))
            return

    async def _row(
        self, connection: psycopg.AsyncConnection[Any], download: Download
    ) -> DownloadRow:
        visitor = download.visitor
        client = None
        if visitor.name is None:
            client = visitor.address
            if self._way == "key":
                key = await self._key_of(connection, download.ended.astimezone(UTC).date())
                client = hmac.new(key, client.encode(), hashlib.sha256).hexdigest()[:32]
        return DownloadRow(
            download.product_id, download.ended, download.kind, download.method, download.whole,
            download.complete, download.size, visitor.name, client,
        )  # fmt: skip

    async def _key_of(self, connection: psycopg.AsyncConnection[Any], day: date) -> bytes:
        if self._key is None or self._key[0] != day:
            self._key = (day, await day_key(connection, day, secrets.token_bytes(32)))
        return self._key[1]


def tidy_downloads(settings: Settings, now: datetime) -> int:
    """Count the days that are over, then delete what is older than the operator keeps it.

    Returns
    -------
    int
        Rows that were deleted.
    """
    today = now.astimezone(UTC).date()
    before = today - timedelta(days=settings.download_retention_days)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        count_days(connection, today)
        return purge_downloads(connection, before, today)


def download_months(settings: Settings) -> list[Month]:
    """Downloads by month and collection, those of today included, for the operator."""
    with (
        psycopg.connect(conninfo(settings, Role.WRITER)) as connection,
        # Today is counted to be shown, but not written: it is not over.
        connection.transaction(force_rollback=True),
    ):
        count_days(connection, datetime.now(UTC).date() + timedelta(days=1))
        return months(connection)
