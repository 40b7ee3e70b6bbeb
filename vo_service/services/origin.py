"""What a result says of where it comes from, alike for an answer and for a job's result.

Source: DataOrigin 1.2, "Query information"; DALI 1.1, "Use of VOTable".
"""

from __future__ import annotations

from datetime import UTC, datetime

from vo_service import __version__
from vo_service.formats.votable import Info
from vo_service.params.tap import TapQuery
from vo_service.settings import Settings

__all__ = ["origin", "query_origin"]

_STANDARD = "ivo://ivoa.net/std/TAP"


def query_origin(settings: Settings, wanted: TapQuery) -> list[Info]:
    """The INFOs of a query's result."""
    return [
        Info("standardID", _STANDARD),
        *origin(settings, _STANDARD),
        Info("query", wanted.query),
        Info("MAXREC", str(wanted.maxrec)),
    ]


def origin(settings: Settings, protocol: str) -> list[Info]:
    """Which service answered, by which *protocol*, for whom to ask."""
    return [
        Info("service_protocol", protocol),
        Info("server_software", f"vo-service/{__version__}"),
        Info("publisher", settings.publisher),
        Info("contact", settings.contact),
        Info("request_date", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
    ]
