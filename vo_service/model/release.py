"""When a frame becomes public: so long after its night, with exceptions.

Written by an operator as ``release`` in a collection file. Source: MISSION A2. Dates are
civil dates at the telescope; a night bears the date on which it began.
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

__all__ = ["Embargo", "Release", "ReleaseException", "Words", "Written"]


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
    """An embargo for some: of these proposals (shell patterns), nights (first, last), or both."""

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


class Release(Embargo):
    """The rule of a collection, and exceptions of which the first that holds counts."""

    exceptions: tuple[ReleaseException, ...] = ()
