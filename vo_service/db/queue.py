"""Statements about jobs on behalf of workers: claimed, given back, ended, swept.

A worker's session holds an advisory lock for each job that it runs. PostgreSQL frees the lock
when the session ends, however it ends, so an EXECUTING job whose lock is free has lost its
worker: no heartbeat, no clock. All statements about running jobs go through that one session;
if it is lost, so is the right to say anything about them.

The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Json

from vo_service.db.jobs import job_from_row
from vo_service.model.job import Failure, Job, Lane, Result

__all__ = ["Lost", "Queue"]

#: First half of the advisory lock of a job; its number is the second ("UWS" in ASCII).
_LOCKS = 0x555753

_GIVE_BACK = "UPDATE uws.job SET phase = 'QUEUED', queued = now(), started = NULL, "
_END = "UPDATE uws.job SET ended = now(), quote = NULL, "
_MINE = " WHERE number = %(number)s AND phase = 'EXECUTING'"


@dataclass(frozen=True, slots=True)
class Lost:
    """A job whose worker died, and whether it is to be run again."""

    job_id: str
    again: bool


class Queue:
    """The queue, on a worker's own session of role ``vo_jobs``."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def claim(self, lane: Lane, services: Sequence[str]) -> Job | None:
        """The next job of a lane, now EXECUTING and locked by this session; None if there is none.

        Of the *services* only: a worker leaves alone what it cannot do.

        First come those who have fewest jobs running, among them who was served longest ago:
        a client with a hundred jobs delays another by one job, not by a hundred.
        """
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "WITH served AS (SELECT client, max(started) AS last, "
                "count(*) FILTER (WHERE phase = 'EXECUTING') AS running FROM uws.job WHERE client "
                "IN (SELECT client FROM uws.job WHERE phase = 'QUEUED' AND lane = %(lane)s) "
                "GROUP BY client) "
                "SELECT j.number FROM uws.job j JOIN served s ON s.client = j.client "
                "WHERE j.phase = 'QUEUED' AND j.lane = %(lane)s AND j.service = ANY(%(services)s) "
                "ORDER BY s.running, s.last NULLS FIRST, j.queued, j.number "
                "LIMIT 1 FOR UPDATE OF j SKIP LOCKED",
                {"lane": lane, "services": list(services)},
            )
            found = await cursor.fetchone()
            if found is None:
                return None
            number = found["number"]
            await cursor.execute(
                "UPDATE uws.job SET phase = 'EXECUTING', started = clock_timestamp(), "
                "attempts = attempts + 1, rows_written = 0, bytes_written = 0 "
                "WHERE number = %s AND pg_try_advisory_lock(%s, number) RETURNING *",
                (number, _LOCKS),
            )
            row = await cursor.fetchone()
            return None if row is None else job_from_row(row)

    async def complete(self, number: int, results: Sequence[Result], rows: int, size: int) -> bool:
        """Write down that a job is COMPLETED; False if it is ours no more (it was aborted)."""
        return await self._change(
            _END + "phase = 'COMPLETED', results = %(results)s, "
            "rows_written = %(rows)s, bytes_written = %(size)s" + _MINE,
            {
                "number": number,
                "results": Json([asdict(result) for result in results]),
                "rows": rows,
                "size": size,
            },
        )

    async def fail(self, number: int, failure: Failure) -> bool:
        """Write down that a job ended in ERROR."""
        return await self._change(
            _END
            + "phase = 'ERROR', error_message = %(message)s, error_transient = %(transient)s"
            + _MINE,
            {"number": number, "message": failure.message, "transient": failure.transient},
        )

    async def abort(self, number: int, reason: str) -> bool:
        """Write down that a job was stopped by the service."""
        return await self._change(
            _END
            + "phase = 'ABORTED', error_message = %(message)s, error_transient = false"
            + _MINE,
            {"number": number, "message": reason},
        )

    async def give_back(self, number: int, *, lane: Lane, count: bool) -> bool:
        """Put a job into the queue again; *count* says whether the attempt counts."""
        return await self._change(
            _GIVE_BACK + "lane = %(lane)s, attempts = attempts - %(uncounted)s" + _MINE,
            {"number": number, "lane": lane, "uncounted": 0 if count else 1},
        )

    async def unlock(self, number: int) -> None:
        """Let go of a job; to be done in the transaction that ends it."""
        await self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCKS, number))

    async def recover(self, mine: Iterable[int], attempts: int) -> Sequence[Lost]:
        """Take EXECUTING jobs from workers that died: run them again, or say why not.

        Parameters
        ----------
        mine
            Numbers of the jobs of this session, to which its own locks are no obstacle.
        attempts
            How often a job may be begun.
        """
        cursor = await self._connection.execute(
            "WITH candidate AS MATERIALIZED (SELECT number, attempts < %(attempts)s AS again "
            "FROM uws.job WHERE phase = 'EXECUTING' AND number <> ALL(%(mine)s::int[]) "
            "FOR UPDATE SKIP LOCKED) "
            "UPDATE uws.job j SET phase = CASE WHEN again THEN 'QUEUED' ELSE 'ERROR' END, "
            "queued = now(), ended = CASE WHEN NOT again THEN now() END, quote = NULL, "
            "error_message = CASE WHEN NOT again THEN %(reason)s END, "
            "error_transient = CASE WHEN NOT again THEN true END "
            "FROM candidate c WHERE j.number = c.number "
            "AND pg_try_advisory_xact_lock(%(class)s, c.number) RETURNING job_id, again",
            {
                "attempts": attempts,
                "mine": list(mine),
                "class": _LOCKS,
                "reason": f"this job was begun {attempts} times, and each time its worker, or the "
                "database, ended unexpectedly; try again later",
            },
        )
        return [Lost(*row) for row in await cursor.fetchall()]

    async def note_progress(self, progress: Iterable[tuple[int, int, int]]) -> None:
        """Write down (number, rows written, bytes written) of running jobs."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "UPDATE uws.job SET rows_written = %s, bytes_written = %s "
                "WHERE number = %s AND phase = 'EXECUTING'",
                [(rows, size, number) for number, rows, size in progress],
            )

    async def durations(self, numbers: Sequence[int]) -> Mapping[int, int]:
        """Execution durations of those of the jobs that are still EXECUTING, in seconds."""
        cursor = await self._connection.execute(
            "SELECT number, execution_duration FROM uws.job "
            "WHERE number = ANY(%s) AND phase = 'EXECUTING'",
            (list(numbers),),
        )
        return dict(await cursor.fetchall())

    async def expire(self, archive_s: int) -> Sequence[str]:
        """Archive jobs whose time is over, and forget those that were archived long enough.

        Returns
        -------
        sequence of str
            Identifiers of jobs whose files may go.
        """
        cursor = await self._connection.execute(
            "UPDATE uws.job SET phase = 'ARCHIVED', ended = coalesce(ended, now()), "
            "quote = NULL, results = '[]' WHERE destruction <= now() AND phase <> 'ARCHIVED' "
            "RETURNING job_id"
        )
        expired = [job_id for (job_id,) in await cursor.fetchall()]
        await self._connection.execute(
            "DELETE FROM uws.bundle b USING uws.job j WHERE j.number = b.number "
            "AND j.phase = 'ARCHIVED'"
        )
        await self._connection.execute(
            "DELETE FROM uws.job WHERE phase = 'ARCHIVED' "
            "AND destruction <= now() - %s * interval '1 second'",
            (archive_s,),
        )
        return expired

    async def known(self, job_ids: Sequence[str]) -> set[str]:
        """Those of the identifiers whose jobs still have files."""
        cursor = await self._connection.execute(
            "SELECT job_id FROM uws.job WHERE job_id = ANY(%s) AND phase <> 'ARCHIVED'",
            (list(job_ids),),
        )
        return {job_id for (job_id,) in await cursor.fetchall()}

    async def _change(self, statement: str, values: Mapping[str, object]) -> bool:
        cursor = await self._connection.execute(statement.encode(), values)
        return cursor.rowcount == 1
