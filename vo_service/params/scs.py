"""Cone search parameters: pairs of strings in, one `ConeSearch` out.

Source: Simple Cone Search 1.03, section 2 and Appendix; MAXREC and RESPONSEFORMAT are those of
DALI 1.1. Angles are ICRS degrees. Other parameters are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from vo_service.errors import UsageError
from vo_service.model.region import Circle
from vo_service.params.dali import given_values, read_number, single
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["ConeSearch", "parse_cone_search"]

_RANGES = {"RA": (0.0, 360.0), "DEC": (-90.0, 90.0), "SR": (0.0, 180.0)}
_NAMES = (*_RANGES, "VERB", "MAXREC", "RESPONSEFORMAT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConeSearch:
    """Rows in a circle; *verbosity* 1 wants few of the columns, 3 all."""

    circle: Circle
    verbosity: int = 2
    maxrec: int
    response_format: str | None = None


def parse_cone_search(pairs: Pairs, *, maxrec_default: int, maxrec_limit: int) -> ConeSearch:
    """Check the parameters of a cone search.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given = given_values(pairs, _NAMES)
    angles = []
    for name, (low, high) in _RANGES.items():
        text = single(name, given)
        if text is None:
            raise UsageError(f"{name} is missing: expected degrees, {low:g} to {high:g}")
        angles.append(read_number(name, text, low, high))
    ra, dec, radius = angles
    return ConeSearch(
        circle=Circle(ra % 360.0, dec, radius),
        verbosity=int(read_number("VERB", single("VERB", given) or "2", 1, 3)),
        maxrec=min(parse_maxrec(single("MAXREC", given), maxrec_default), maxrec_limit),
        response_format=single("RESPONSEFORMAT", given),
    )
