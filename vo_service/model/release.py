"""When a frame becomes public: so long after its night, with exceptions, lists and holds.

`Release` is what an operator writes as ``release`` in a collection file, `plan_group` what
follows from it and from imported lists (`vo_service.model.release_lists`) for all frames of one
night, proposal and instrument. The order in which rules count is that of docs/release.md.
Source: MISSION A2. A night bears the civil date on which it began; a frame is public from 0h UTC
of its release date on.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vo_service.model.release_lists import Hold, Prolongation

__all__ = [
    "Embargo",
    "Group",
    "GroupPlan",
    "ListFile",
    "Planned",
    "Release",
    "ReleaseException",
    "Words",
    "Written",
    "plan_group",
]


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError("expected a whole number above 0")
    return value


def _days(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000:
        raise ValueError("expected a whole number of days, 0 or more")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Count = Annotated[int, BeforeValidator(_count)]
Days = Annotated[int, BeforeValidator(_days)]
#: One text, or a list of texts.
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Written(BaseModel):
    """Something an operator writes: unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Embargo(Written):
    """How long after its night a frame is closed: so many *months* or *days* (0: not at all)."""

    months: Count | None = None
    days: Days | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.months is None) == (self.days is None):
            raise ValueError("expected either months or days")
        return self

    def __str__(self) -> str:
        if self.days == 0:
            return "at once"
        number, unit = (self.months, "month") if self.months else (self.days, "day")
        return f"{number} {unit}{'' if number == 1 else 's'} after the night"

    def end(self, night: date) -> date:
        """The first public day; months end on the same day of the month, or on its last."""
        try:
            if self.months is None:
                return night + timedelta(days=self.days or 0)
            year, month = divmod(night.year * 12 + night.month - 1 + self.months, 12)
            last = calendar.monthrange(year, month + 1)[1]
            return date(year, month + 1, min(night.day, last))
        except (OverflowError, ValueError):
            return date.max


class ReleaseException(Embargo):
    """Another embargo for *proposals* (shell patterns), nights (first, last), or both.

    *name* is what it is called where it is told why a frame is public or not.
    """

    name: str | None = None
    proposals: Words = ()
    nights: tuple[date, date] | None = None

    @model_validator(mode="after")
    def _for_some(self) -> Self:
        if not self.proposals and self.nights is None:
            raise ValueError("expected proposals, nights or both")
        if self.nights is not None and self.nights[0] > self.nights[1]:
            raise ValueError("nights must be first and last night, in this order")
        return self

    def holds(self, night: date | None, proposal_id: str | None) -> bool:
        """Whether this exception is meant for such a frame."""
        if self.proposals:
            wanted = proposal_id is not None
            if not wanted or not any(fnmatchcase(proposal_id or "", p) for p in self.proposals):
                return False
        if self.nights is None:
            return True
        return night is not None and self.nights[0] <= night <= self.nights[1]

    def __str__(self) -> str:
        if self.name:
            return f"{self.name}: {super().__str__()}"
        whose = [f"proposals {', '.join(self.proposals)}"] if self.proposals else []
        if self.nights:
            whose.append(f"nights {self.nights[0]} to {self.nights[1]}")
        return f"{', '.join(whose)}: {super().__str__()}"


class ListFile(Written):
    """A list that lies beside the collection file; it is read again when it has changed."""

    file: Path
    allow_unknown: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str | Path) else value

    @field_validator("file")
    @classmethod
    def _from_the_collection_file(cls, file: Path, info: ValidationInfo) -> Path:
        place = (info.context or {}).get("place")
        if place is not None:
            return Path(place, file)
        if not file.is_absolute():
            raise ValueError("expected an absolute path")
        return file


class Release(Embargo):
    """The rule of a collection, exceptions of which the first that holds counts, and lists."""

    exceptions: tuple[ReleaseException, ...] = ()
    lists: tuple[ListFile, ...] = ()

    def plan(self, night: date | None, proposal_id: str | None) -> Planned:
        """What the collection file alone says of a frame.

        Returns
        -------
        Planned
            The night itself where nothing is held back, 1970-01-01 if such a frame has no
            night; no day where a frame without a night would be held back after it.
        """
        rule: Embargo = self
        for exception in self.exceptions:
            if exception.holds(night, proposal_id):
                rule = exception
                break
        if night is not None:
            return Planned(rule.end(night), str(rule))
        return Planned(date(1970, 1, 1) if rule.days == 0 else None, str(rule))


@dataclass(frozen=True, slots=True)
class Planned:
    """The first day on which everybody may read a frame (None: not in sight), and why."""

    day: date | None
    rule: str


@dataclass(frozen=True, slots=True)
class Group:
    """What rules look at: frames that agree in it are released together."""

    night: date | None
    proposal_id: str | None
    instrument: str | None


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What rules say of the frames of a group that no list names.

    *base* is the plan without holds, *hold* the one in force that lasts longest (its day None:
    until it is taken away); lists of frames come between the two.
    """

    base: Planned
    hold: Planned | None = None

    @property
    def result(self) -> Planned:
        """The plan with holds."""
        if self.hold is None or self.base.day is None:
            return self.base
        if self.hold.day is None or self.hold.day > self.base.day:
            return self.hold
        return self.base


def plan_group(
    group: Group,
    release: Release,
    prolongations: Iterable[Prolongation],
    holds: Iterable[Hold],
    today: date,
) -> GroupPlan:
    """Apply the rules of a collection, and what lists say of proposals and nights, to a group.

    *prolongations* are those of the group's proposal (others are not to be given), *holds* all
    of the collection.
    """
    base = release.plan(group.night, group.proposal_id)
    for prolonged in prolongations:
        if base.day is not None and prolonged.until > base.day:
            base = Planned(prolonged.until, str(prolonged))
    hold: Planned | None = None
    for held in holds:
        if not held.holds(group.night, group.instrument, today):
            continue
        if held.until is None:
            return GroupPlan(base, Planned(None, str(held)))
        if hold is None or hold.day is None or held.until > hold.day:
            hold = Planned(held.until, str(held))
    return GroupPlan(base, hold)
