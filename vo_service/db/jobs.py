"""Statements about jobs on behalf of clients: made, read, listed, changed, destroyed.

The caller owns the transaction. `vo_service.db.queue` has the statements of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Json

from vo_service.model.job import (
    Estimate,
    Failure,
    Job,
    JobFilter,
    Lane,
    Parameter,
    Phase,
    Result,
)

__all__ = ["JobStore", "job_from_row"]


def job_from_row(row: Mapping[str, Any]) -> Job:
    """A row of ``uws.job`` as a value."""
    failed = row["error_message"]
    return Job(
        number=row["number"],
        job_id=row["job_id"],
        service=row["service"],
        owner=row["owner"],
        client=row["client"],
        phase=Phase(row["phase"]),
        parameters=tuple(Parameter(**given) for given in row["parameters"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        destruction=row["destruction"],
        quote=row["quote"],
        execution_duration=row["execution_duration"],
        lane=row["lane"] and Lane(row["lane"]),
        attempts=row["attempts"],
        estimate=row["estimate"] and Estimate(**row["estimate"]),
        rows_written=row["rows_written"],
        bytes_written=row["bytes_written"],
        results=tuple(Result(**made) for made in row["results"]),
        failure=None if failed is None else Failure(failed, row["error_transient"]),
    )


class JobStore:
    """Jobs, on a connection of role ``vo_jobs``.

    Methods that change a job do so in the phases in which they may, and return the job as it
    then is, or None where there is none in such a phase.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def insert(
        self,
        job_id: str,
        *,
        owner: str | None,
        client: str,
        parameters: Sequence[Parameter],
        execution_duration: int,
        destruction: datetime,
        service: str = "tap",
    ) -> Job:
        """A new job, PENDING."""
        made = await self._one(
            "INSERT INTO uws.job "
            "(job_id, owner, client, parameters, execution_duration, destruction, service) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
            job_id, owner, client, _json(parameters), execution_duration, destruction, service,
        )  # fmt: skip
        assert made is not None  # noqa: S101 - an INSERT returns its row or fails
        return made

    async def unfinished(self, client: str) -> int:
        """How many jobs a client has that are PENDING, QUEUED or EXECUTING."""
        cursor = await self._connection.execute(
            "SELECT count(*) FROM uws.job "
            "WHERE client = %s AND phase IN ('PENDING', 'QUEUED', 'EXECUTING')",
            (client,),
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def get(self, job_id: str, *, lock: bool = False) -> Job | None:
        """The job of that identifier; locked until the transaction ends, if wished."""
        if lock:
            return await self._one("SELECT * FROM uws.job WHERE job_id = %s FOR UPDATE", job_id)
        return await self._one("SELECT * FROM uws.job WHERE job_id = %s", job_id)

    async def list(
        self, owner: str | None, wanted: JobFilter, service: str = "tap"
    ) -> Sequence[Job]:
        """Jobs of *owner* (None: those that have no owner) at a service, the newest first."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "SELECT * FROM uws.job WHERE owner IS NOT DISTINCT FROM %(owner)s "
                "AND service = %(service)s "
                "AND CASE WHEN %(phases)s::text[] = '{}' THEN phase <> 'ARCHIVED' "
                "ELSE phase = ANY(%(phases)s::text[]) END "
                "AND (%(after)s::timestamptz IS NULL OR created > %(after)s) "
                "ORDER BY created DESC, number DESC LIMIT %(last)s",
                {
                    "owner": owner,
                    "service": service,
                    "phases": [str(phase) for phase in wanted.phases],
                    "after": wanted.after,
                    "last": wanted.last,
                },
            )
            return [job_from_row(row) for row in await cursor.fetchall()]

    async def set_parameters(self, job_id: str, parameters: Sequence[Parameter]) -> Job | None:
        """Give a PENDING job other parameters."""
        return await self._one(
            "UPDATE uws.job SET parameters = %s WHERE job_id = %s AND phase = 'PENDING' "
            "RETURNING *",
            _json(parameters), job_id,
        )  # fmt: skip

    async def queue(
        self, job_id: str, lane: Lane, estimate: Estimate | None, seconds: float | None
    ) -> Job | None:
        """Queue a PENDING job; *seconds* is how long it is expected to take."""
        return await self._one(
            "UPDATE uws.job SET phase = 'QUEUED', queued = now(), lane = %s, estimate = %s, "
            "quote = now() + %s * interval '1 second' "
            "WHERE job_id = %s AND phase = 'PENDING' RETURNING *",
            lane, estimate and Json(asdict(estimate)), seconds, job_id,
        )  # fmt: skip

    async def abort(self, job_id: str) -> Job | None:
        """Abort a job that has not ended."""
        return await self._one(
            "UPDATE uws.job SET phase = 'ABORTED', ended = now(), quote = NULL "
            "WHERE job_id = %s AND phase IN ('PENDING', 'QUEUED', 'EXECUTING') RETURNING *",
            job_id,
        )

    async def set_duration(self, job_id: str, seconds: int) -> Job | None:
        """Set the execution duration of a job that has not ended."""
        return await self._one(
            "UPDATE uws.job SET execution_duration = %s "
            "WHERE job_id = %s AND phase IN ('PENDING', 'QUEUED', 'EXECUTING') RETURNING *",
            seconds, job_id,
        )  # fmt: skip

    async def set_destruction(self, job_id: str, moment: datetime) -> Job | None:
        """Set when a job will be destroyed; not of one that was."""
        return await self._one(
            "UPDATE uws.job SET destruction = %s WHERE job_id = %s AND phase <> 'ARCHIVED' "
            "RETURNING *",
            moment, job_id,
        )  # fmt: skip

    async def delete(self, job_id: str) -> Job | None:
        """Forget a job."""
        return await self._one("DELETE FROM uws.job WHERE job_id = %s RETURNING *", job_id)

    async def _one(self, statement: str, *values: object) -> Job | None:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), values)
            row: DictRow | None = await cursor.fetchone()
            return None if row is None else job_from_row(row)


def _json(parameters: Sequence[Parameter]) -> Json:
    return Json([asdict(parameter) for parameter in parameters])
