"""What exists at a position, here and at other sites, counted by facility and instrument.

The counts are an ADQL query that the answer shows, so that whoever wants more begins with it.
MISSION D5.
"""

from __future__ import annotations

from dataclasses import dataclass

from vo_service.formats.encoder import Info
from vo_service.model.elsewhere import EVERYTHING
from vo_service.model.region import Circle
from vo_service.model.table import Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.elsewhere import ElsewhereSearch
from vo_service.params.tap import TapQuery
from vo_service.services.origin import query_origin
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["ElsewhereService", "counts_query"]


def counts_query(circle: Circle) -> str:
    """The query of the counts; what has no footprint is found by its position."""
    place = f"'ICRS', {circle.ra!r}, {circle.dec!r}, {circle.radius!r}"
    return (
        "SELECT origin, facility_name, instrument_name, COUNT(*) AS products,\n"
        "       MIN(t_min) AS first_mjd, MAX(t_max) AS last_mjd\n"
        f"FROM {EVERYTHING}\n"
        f"WHERE 1 = INTERSECTS(CIRCLE({place}), s_region)\n"
        f"   OR 1 = CONTAINS(POINT('ICRS', s_ra, s_dec), CIRCLE({place}))\n"
        "GROUP BY origin, facility_name, instrument_name\n"
        "ORDER BY products DESC, origin, facility_name, instrument_name"
    )


@dataclass(frozen=True, slots=True)
class ElsewhereService:
    """Counts, as what TAP lets *visitor* read."""

    settings: Settings
    tap: TapService

    async def counts(
        self, circle: Circle, search: ElsewhereSearch, visitor: Visitor = ANYBODY
    ) -> tuple[Rows, list[Info]]:
        """Counts about a position, and what is said of them; the caller closes the rows.

        Raises
        ------
        VOError
            Before the first row.
        """
        wanted = TapQuery(query=counts_query(circle), maxrec=search.maxrec)
        rows = await self.tap.query(wanted, visitor=visitor)
        return rows, query_origin(self.settings, wanted)
