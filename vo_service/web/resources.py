"""What one process keeps for all requests: connections to PostgreSQL by role, caches, watches.

Made once, opened and closed as one. What depends on the address that a client used is not here
but in `vo_service.web.app`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import anyio
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool

from vo_service.db.catalog import read_member_catalog
from vo_service.db.connect import Role, conninfo, engine_at, use_of
from vo_service.db.decode import warm
from vo_service.db.notices import Notices
from vo_service.db.stream import Reader
from vo_service.services.catalog import CatalogCache
from vo_service.services.deliveries import Deliveries
from vo_service.services.downloads import DownloadLog
from vo_service.services.patience import Patience
from vo_service.services.replicas import Replicas
from vo_service.services.shard_watch import ShardWatch
from vo_service.services.uploads import UploadService
from vo_service.settings import Settings
from vo_service.telemetry.meters import watch_pools
from vo_service.web.front import Front

__all__ = ["Beside", "Resources", "Searching"]

#: What runs for as long as the application does.
Beside = Callable[[], AbstractAsyncContextManager[None]]


class Searching:
    """What searches of one role need: streams of rows, plans, the tables that the role sees."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        connections: int,
        catalogs: CatalogCache,
        least: int,
    ) -> None:
        self.dsn = dsn
        self.reader = Reader(dsn, connections, settings.sync_limit_s)
        self.planners = _pool(dsn, least)
        self.catalogs = catalogs
        self.patience = Patience(self.planners, settings.sync_limit_s, settings.cost_per_s)


class Resources:
    """Everything that is shared; connects in `running`, not before."""

    def __init__(self, settings: Settings) -> None:
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
        self._engines = engine_at(dsn), engine_at(member_dsn)
        self.anybody = Searching(
            settings, dsn, settings.reader_connections,
            CatalogCache(self._engines[0], settings.sync_limit_s), least=1,
        )  # fmt: skip
        self.members = Searching(
            settings, member_dsn, settings.member_connections,
            CatalogCache(self._engines[1], settings.sync_limit_s, read_member_catalog), least=0,
        )  # fmt: skip
        self.door_reader = Reader(door_dsn, settings.reader_connections, settings.sync_limit_s)
        self.door = _pool(door_dsn, 1)
        # Of its own: who asks is found out, whatever else waits at the door.
        self.gate = _pool(door_dsn, 0)
        jobs_dsn = conninfo(settings, Role.JOBS)
        self.jobs = _pool(jobs_dsn, 1, checked=True)
        self.notices = Notices(jobs_dsn)
        self.shards = ShardWatch(door_dsn, settings.shard_answer_s)
        self.replicas = Replicas(settings, settings.sync_limit_s, statement_timeout=limit_ms)
        self.uploads = UploadService(settings)
        self.deliveries = Deliveries(conninfo(settings, Role.DOOR))
        self.downloads = DownloadLog(settings, self.door)
        self.front = Front(settings, self.downloads)
        self._watch()

    def _watch(self) -> None:
        readers = {
            "reader": self.anybody.reader,
            "member": self.members.reader,
            "links": self.door_reader,
        }
        pools = {
            "plans": self.anybody.planners,
            "door": self.door,
            "gate": self.gate,
            "jobs": self.jobs,
        }
        watch_pools(
            {name: reader.use for name, reader in readers.items()}
            | {name: partial(use_of, pool) for name, pool in pools.items()}
        )
        self.replicas.show()
        self.shards.show()

    @contextlib.asynccontextmanager
    async def running(self, beside: Sequence[Beside] = ()) -> AsyncIterator[None]:
        """Connected while the block lasts, and *beside* at work."""
        pools = self.jobs, self.anybody.planners, self.members.planners, self.door, self.gate
        watches = self.uploads, self.downloads, self.shards, self.replicas, self.front
        async with contextlib.AsyncExitStack() as stack:
            await to_thread.run_sync(warm)
            for pool in pools:
                await stack.enter_async_context(pool)
            for watch in watches:
                await stack.enter_async_context(watch.running())
            for start in beside:
                await stack.enter_async_context(start())
            async with anyio.create_task_group() as group:
                group.start_soon(self.notices.run)
                group.start_soon(self.deliveries.run)
                yield
                group.cancel_scope.cancel()
        for reader in (self.anybody.reader, self.members.reader, self.door_reader):
            await reader.aclose()
        for engine in self._engines:
            engine.dispose()


def _pool(dsn: str, least: int, *, checked: bool = False) -> AsyncConnectionPool:
    check = AsyncConnectionPool.check_connection if checked else None
    return AsyncConnectionPool(
        dsn, min_size=least, max_size=4, open=False, timeout=10.0, check=check
    )
