"""What is measured: figures with their reference and their target.

A figure's *reference* is what the database itself, or an empty answer, costs in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Figure", "Target", "as_json", "percentiles"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure: on its value, its *ratio* to the reference, or what it is *over* it."""

    of: Literal["value", "ratio", "over"]
    bound: float
    at_least: bool = False

    def holds(self, figure: Figure) -> bool:
        """Whether *figure* keeps to it."""
        measured = getattr(figure, self.of)
        return bool(measured >= self.bound if self.at_least else measured <= self.bound)

    def words(self, unit: str) -> str:
        """For people."""
        sign = "≥" if self.at_least else "≤"
        match self.of:
            case "ratio":
                return f"{sign} {self.bound:g} x"
            case "over":
                return f"{sign} + {self.bound:g} {unit}"
            case "value":
                return f"{sign} {self.bound:g} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report."""

    group: str
    name: str
    value: float
    unit: str
    reference: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Value over reference."""
        return self.value / self.reference if self.reference else float("nan")

    @property
    def over(self) -> float:
        """Value less reference."""
        return self.value - (self.reference or 0.0)

    @property
    def reached(self) -> bool | None:
        """Whether the target is kept; None where there is none."""
        return self.target.holds(self) if self.target else None


def as_json(figure: Figure) -> dict[str, Any]:
    """A figure for a file."""
    values = asdict(figure) | {"reached": figure.reached}
    if figure.reference:
        values["ratio"] = figure.ratio
    if figure.target:
        values["target"] = figure.target.words(figure.unit)
    return values


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    middle, late = np.percentile(np.asarray(times), [50, 95])
    return float(middle), float(late)
