"""A job: a query, or another request, that is run for a client who does not wait for it.

Source: UWS 1.1, "Objects within a UWS", "Execution phase". Times are UTC, durations seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = [
    "ACTIVE",
    "RESULT",
    "Estimate",
    "Failure",
    "Job",
    "JobFilter",
    "Lane",
    "Parameter",
    "Phase",
    "Result",
]


class Phase(StrEnum):
    """Phases of UWS; a job of ours is never UNKNOWN, HELD or SUSPENDED."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    SUSPENDED = "SUSPENDED"
    ABORTED = "ABORTED"
    ARCHIVED = "ARCHIVED"


#: Phases that will be followed by another one; only in these a client's WAIT waits.
ACTIVE = frozenset({Phase.PENDING, Phase.QUEUED, Phase.EXECUTING})


#: The one result of a TAP job (TAP 1.1, "/async").
RESULT = "result"


class Lane(StrEnum):
    """Queues with workers of their own, so that short jobs never wait behind long ones."""

    SHORT = "short"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A job parameter.

    *part* numbers the file in which the content of an inline part lies, *content_type* is what
    the client said of it; the value is then empty. None for a parameter that was given as text.
    """

    name: str
    value: str
    part: int | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What PostgreSQL's planner expects of a query.

    *cost* is in its own unit; of the partitions of the observations *partitions_read* of
    *partitions* are read, both None where the query reads none.
    """

    rows: float
    cost: float
    partitions_read: int | None = None
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A result of a job: *size* is bytes, *suffix* that of a file with it, without the dot."""

    media_type: str
    size: int
    suffix: str
    name: str = RESULT


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has no result; a *transient* one may go well when it is asked again."""

    message: str
    transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is stored; *service* says whose it is: ``tap`` or another."""

    number: int
    job_id: str
    service: str
    owner: str | None
    client: str
    phase: Phase
    parameters: tuple[Parameter, ...]
    created: datetime
    started: datetime | None
    ended: datetime | None
    destruction: datetime
    quote: datetime | None
    execution_duration: int
    lane: Lane | None
    attempts: int
    estimate: Estimate | None
    rows_written: int
    bytes_written: int
    results: tuple[Result, ...]
    failure: Failure | None

    @property
    def run_id(self) -> str | None:
        """The name that the client gave (TAP 1.1, "RUNID")."""
        return next((p.value for p in self.parameters if p.name.upper() == "RUNID"), None)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Parameters that were given as text, as a request would have them."""
        return [(p.name, p.value) for p in self.parameters if p.part is None]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list is to show: UWS 1.1, "Job list"; empty *phases* are all but ARCHIVED."""

    phases: Sequence[Phase] = ()
    after: datetime | None = None
    last: int | None = None
