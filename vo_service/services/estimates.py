"""What a query is expected to cost, before it is run.

Only advice: whatever is wrong with the query is told when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import psycopg
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.adql import translate
from vo_service.db.estimate import estimate
from vo_service.errors import VOError
from vo_service.model.job import Estimate
from vo_service.params.tap import parse_tap_query
from vo_service.services.catalog import CatalogCache
from vo_service.settings import Settings

__all__ = ["Estimator"]

_PATIENCE_S = 3.0


class Estimator:
    """Asks PostgreSQL's planner.

    Parameters
    ----------
    pool
        Connections of the reader.
    members
        Another one, with connections and catalogue of known people.
    """

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]],
        catalogs: CatalogCache,
        members: Estimator | None = None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._catalogs = catalogs
        self._members = members

    async def expect(
        self, pairs: Sequence[tuple[str, str]], person: str | None = None
    ) -> Estimate | None:
        """The estimate for a query of *person*, given as parameters; None where there can be none.

        There is none for a query that is wrong, needs an upload, or takes seconds to plan.
        """
        ours = self if person is None or self._members is None else self._members
        return await ours._expect(pairs, person)

    async def _expect(
        self, pairs: Sequence[tuple[str, str]], person: str | None
    ) -> Estimate | None:
        settings = self._settings
        try:
            wanted = parse_tap_query(
                pairs,
                maxrec_default=settings.maxrec_default,
                maxrec_limit=settings.maxrec_limit,
                query_length=settings.query_length_limit,
            )
            with anyio.move_on_after(_PATIENCE_S):
                catalog = await self._catalogs.get()
                query = await to_thread.run_sync(
                    translate, wanted.query, catalog, wanted.maxrec + 1
                )
                async with self._pool.connection() as connection:
                    return await estimate(connection, query.select, person)
        except (VOError, psycopg.Error, PoolTimeout):
            pass
        return None
