"""Parameters of ``/elsewhere``: a position, how far about it, in which form.

Angles are ICRS degrees; MAXREC and RESPONSEFORMAT are those of DALI 1.1. Other parameters are
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from vo_service.model.region import Circle
from vo_service.params.dali import given_values, read_number, read_position, single
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["ElsewhereSearch", "parse_elsewhere"]

#: 15 arcsec: that of a search for frames that hold a position (MISSION C1).
_RADIUS = 15.0 / 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ElsewhereSearch:
    """What exists about a position; *circle* is None where nothing has been asked yet."""

    circle: Circle | None
    maxrec: int
    response_format: str | None = None


def parse_elsewhere(pairs: Pairs, *, maxrec_default: int, maxrec_limit: int) -> ElsewhereSearch:
    """Check the parameters.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given = given_values(pairs, ("POS", "RADIUS", "MAXREC", "RESPONSEFORMAT"))
    circle = None
    if (text := single("POS", given)) is not None:
        place = read_position("POS", text, "," if "," in text else " ")
        radius = single("RADIUS", given)
        reach = _RADIUS if radius is None else read_number("RADIUS", radius, 0.0, 90.0)
        circle = Circle(place.ra, place.dec, reach)
    return ElsewhereSearch(
        circle=circle,
        maxrec=min(parse_maxrec(single("MAXREC", given), maxrec_default), maxrec_limit),
        response_format=single("RESPONSEFORMAT", given),
    )
