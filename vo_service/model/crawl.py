"""A service of another site, and the slices in which it is read.

A service is cut by time of observation and, where that does not cut finely enough or is not
known, by right ascension. All widths are powers of two, so that the ends of slices are the same
numbers there and here. Units: days (MJD) and degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from vo_service.model.obscore import OBSCORE
from vo_service.model.region import Circle, Point, Polygon

__all__ = ["DOMAINS", "Cut", "ForeignRow", "Origin", "Protocol", "Refused", "Slice", "Span"]

_PLACE = {column.name: place for place, column in enumerate(OBSCORE)}

Protocol = Literal["tap", "sia2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A service that is crawled.

    Parameters
    ----------
    name
        What it is called here.
    url
        The address that the operator gave: of a TAP service, or of SIA2's ``{query}``.
    circle, collections
        What of it is wanted; None and nothing for all.
    every_days
        How often a worker reads it again; None for never.
    started, ended
        When it was last begun to be read, and last read to the end without a problem (UTC).
    products, refused
        Rows that are here, and rows that were not taken.
    problem
        Why it was last not read to the end.
    """

    name: str
    url: str
    protocol: Protocol
    circle: Circle | None = None
    collections: tuple[str, ...] = ()
    every_days: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    products: int = 0
    refused: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that were not taken for one reason, and the identifier of one of them."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """A row that may be stored.

    *values* are the columns of ObsCore in their order; *reach* is the distance in degrees from
    *position* to the farthest point of *region*.
    """

    did: str
    values: tuple[Any, ...]
    position: Point | None
    region: Polygon | None
    reach: float

    def value(self, column: str) -> Any:
        """Of a column of ObsCore."""
        return self.values[_PLACE[column]]


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from *low* up to, but not including, *high*; *number* counts spans of its width.

    A number of -1 stands for all that is in no span of `DOMAINS`: null, not a number, beyond.
    """

    number: int
    width: float

    @property
    def is_outside(self) -> bool:
        """Whether this is what is in no span."""
        return self.number < 0

    @property
    def low(self) -> float:
        """The first number."""
        return self.number * self.width

    @property
    def high(self) -> float:
        """The first number beyond."""
        return (self.number + 1) * self.width


@dataclass(frozen=True, slots=True)
class Cut:
    """One way to cut a slice: *column* into spans of *width*."""

    column: Literal["t_min", "s_ra"]
    width: float


#: Where spans of a column lie; what is not there is outside.
DOMAINS = {"t_min": (0.0, 131_072.0), "s_ra": (0.0, 360.0)}

#: Widths from coarse to fine: 11 years to 11 s, 1 degree to 2 arcmin.
_TIMES = (4096.0, 128.0, 4.0, 2.0**-3, 2.0**-8, 2.0**-13)
_LONGITUDES = (1.0, 2.0**-5)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a service: spans of time and of right ascension; None where it is not cut so."""

    time: Span | None = None
    ra: Span | None = None
    path: str = field(default="", compare=False)

    @property
    def finer(self) -> Cut | None:
        """How it can be cut; None where it is as fine as can be."""
        time = self.time
        if self.ra is None:
            if time is None:
                return Cut("t_min", _TIMES[0])
            if not time.is_outside and time.width > _TIMES[-1]:
                return Cut("t_min", _TIMES[_TIMES.index(time.width) + 1])
            return Cut("s_ra", _LONGITUDES[0])
        if not self.ra.is_outside and self.ra.width > _LONGITUDES[-1]:
            return Cut("s_ra", _LONGITUDES[_LONGITUDES.index(self.ra.width) + 1])
        return None

    def piece(self, cut: Cut, number: float | None) -> Slice:
        """The part of a *number*, as ``floor(column / width)`` gives it."""
        low, high = DOMAINS[cut.column]
        inside = number is not None and low <= number * cut.width < high
        span = Span(int(number) if inside and number is not None else -1, cut.width)
        letter = cut.column[0]
        path = f"{self.path}/{letter}{span.number}"
        return Slice(span, None, path) if cut.column == "t_min" else Slice(self.time, span, path)

    @property
    def spans(self) -> tuple[tuple[str, Span], ...]:
        """Columns and their spans, of those that it is cut by."""
        given = (("t_min", self.time), ("s_ra", self.ra))
        return tuple((column, span) for column, span in given if span is not None)

    def __str__(self) -> str:
        """For people."""
        said = []
        for column, span in self.spans:
            if span.is_outside:
                said.append(f"no {column}")
            else:
                said.append(f"{column} {span.low:g}..{span.high:g}")
        return ", ".join(said) or "all"
