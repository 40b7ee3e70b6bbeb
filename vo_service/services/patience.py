"""A sync query that cannot end in time is refused early, with the way to run it as a job.

Most queries answer before anybody need think about them, so they are not looked at: only one
that has run for a moment without a row is judged by PostgreSQL's planner.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import ClauseElement

from vo_service.db.estimate import estimate
from vo_service.errors import UsageError
from vo_service.services.race import unless

__all__ = ["Patience"]

_T = TypeVar("_T")

#: Queries that take less are answered before they are judged.
_BENEFIT_OF_DOUBT_S = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """What a sync query may cost.

    Parameters
    ----------
    pool
        Connections of the reader, for the planner's opinion.
    limit_s
        Seconds that a sync query may run.
    cost_per_s
        Units of the planner's cost that this machine works off in a second.
    """

    pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]]
    limit_s: float
    cost_per_s: float

    async def wait(
        self, statement: ClauseElement | str, work: Awaitable[_T], person: str | None = None
    ) -> _T:
        """The result of *work*, which runs *statement* for *person*.

        Raises
        ------
        UsageError
            If the planner expects it to run past the limit; *work* is cancelled.
        """
        expected: list[float] = []

        async def too_long() -> None:
            await anyio.sleep(_BENEFIT_OF_DOUBT_S)
            expected.append(await self._expected_s(statement, person))
            if expected[0] <= self.limit_s:
                await anyio.sleep_forever()

        outcome = await unless(too_long(), work)
        if not outcome:
            raise UsageError(
                f"this query is expected to run for about {_rounded(expected[0])}, and a "
                f"synchronous one may run for {self.limit_s:g} s; ask for less, or run it as a "
                "job (TAP async: in TOPCAT choose mode Asynchronous, in PyVO run_async)"
            )
        return outcome[0]

    async def _expected_s(self, statement: ClauseElement | str, person: str | None) -> float:
        try:
            async with self.pool.connection() as connection:
                found = await estimate(connection, statement, person)
        except (psycopg.Error, PoolTimeout):
            return 0.0  # no opinion: the timeout decides
        return found.cost / self.cost_per_s if found else 0.0


def _rounded(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
