"""UWS parameters: pairs of strings in, typed requests out.

Source: UWS 1.1, "REST binding". Names are compared without case; names that do not belong to
a resource are ignored. Durations are seconds, times UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from vo_service.errors import MultiValuedError, UsageError
from vo_service.model.job import JobFilter, Parameter, Phase
from vo_service.params.tap import Pairs

__all__ = [
    "Wait",
    "merge_parameters",
    "parse_action",
    "parse_destruction",
    "parse_duration",
    "parse_filter",
    "parse_phase_change",
    "parse_wait",
    "split_creation",
]

#: Parameters of which a job may have several; another value of all others replaces the first.
_ACCUMULATING = frozenset({"UPLOAD"})
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for a change, in seconds (None: as long as the server will), from where."""

    seconds: int | None
    phase: Phase | None


def split_creation(pairs: Pairs) -> tuple[list[tuple[str, str]], bool]:
    """The job's own parameters, and whether it is to be run at once.

    Raises
    ------
    UsageError
        If PHASE is given and is not RUN.
    """
    given = list(pairs)
    own = [(name, value) for name, value in given if name.upper() != "PHASE"]
    phase = _one(given, "PHASE")
    if phase is not None and phase.upper() != "RUN":
        raise UsageError(f"PHASE={_short(phase)}: a new job can only be given PHASE=RUN")
    return own, phase is not None


def merge_parameters(
    present: tuple[Parameter, ...], given: tuple[Parameter, ...]
) -> tuple[Parameter, ...]:
    """Parameters after more were posted: names are replaced, UPLOADs accumulate."""
    replaced = {p.name.upper() for p in given} - _ACCUMULATING
    return tuple(p for p in present if p.name.upper() not in replaced) + given


def parse_phase_change(pairs: Pairs) -> Literal["RUN", "ABORT"]:
    """What to do with a job.

    Raises
    ------
    UsageError
        If PHASE is neither RUN nor ABORT.
    """
    given = _required(pairs, "PHASE", "RUN or ABORT")
    match given.upper():
        case "RUN":
            return "RUN"
        case "ABORT":
            return "ABORT"
    raise UsageError(f"PHASE={_short(given)}: expected RUN or ABORT")


def parse_action(pairs: Pairs) -> bool:
    """Whether ACTION=DELETE is asked for; False where there is no ACTION.

    Raises
    ------
    UsageError
        If ACTION is something else.
    """
    given = _one(pairs, "ACTION")
    if given is not None and given.upper() != "DELETE":
        raise UsageError(f"ACTION={_short(given)}: expected DELETE")
    return given is not None


def parse_duration(pairs: Pairs) -> int:
    """EXECUTIONDURATION; 0 is without limit."""
    return _whole("EXECUTIONDURATION", _required(pairs, "EXECUTIONDURATION", "seconds"), low=0)


def parse_destruction(pairs: Pairs) -> datetime:
    """DESTRUCTION: when the job may be destroyed."""
    return _time("DESTRUCTION", _required(pairs, "DESTRUCTION", "2027-01-31T12:00:00Z"))


def parse_wait(pairs: Pairs) -> Wait | None:
    """WAIT and the PHASE that goes with it; None where WAIT is absent."""
    given = list(pairs)
    wait = _one(given, "WAIT")
    if wait is None:
        return None
    phase = _one(given, "PHASE")
    seconds = _whole("WAIT", wait, low=-1)
    return Wait(None if seconds < 0 else seconds, None if phase is None else _phase(phase))


def parse_filter(pairs: Pairs) -> JobFilter:
    """PHASE (any number), AFTER and LAST of a job list."""
    given = list(pairs)
    after, last = _one(given, "AFTER"), _one(given, "LAST")
    return JobFilter(
        phases=tuple(_phase(value) for name, value in given if name.upper() == "PHASE"),
        after=None if after is None else _time("AFTER", after),
        last=None if last is None else _whole("LAST", last, low=1),
    )


def _one(pairs: Pairs, name: str) -> str | None:
    values = [value.strip() for key, value in pairs if key.upper() == name]
    if len(values) > 1:
        raise MultiValuedError(f"{name} is given more than once: expected one value")
    return values[0] if values else None


def _required(pairs: Pairs, name: str, expected: str) -> str:
    given = _one(pairs, name)
    if given is None:
        raise UsageError(f"{name} is missing: expected {name}={expected}")
    return given


def _whole(name: str, text: str, *, low: int) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18 or int(text) < low:
        raise UsageError(f"{name}={_short(text)}: expected a whole number, {low} or larger")
    return min(int(text), _LARGEST)


def _phase(text: str) -> Phase:
    try:
        return Phase(text.upper())
    except ValueError:
        raise UsageError(f"PHASE={_short(text)}: expected one of {', '.join(Phase)}") from None


def _time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name}={_short(text)}: expected a time in ISO 8601, as 2027-01-31T12:00:00Z"
        ) from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
