"""What SIA, SCS and SSA can do, as their VOSI capabilities say it.

Source: SimpleDALRegExt 1.2; VODataService 1.2. Angles are degrees. No testQuery is given: it must
find something, and what is found where changes with releases and withdrawals.
"""

from __future__ import annotations

from urllib.parse import quote

from vo_service.formats.simpledal import Capability, Parts, protocol_capabilities
from vo_service.services.scs import SCS_STANDARD
from vo_service.services.sia1 import SIA1_STANDARD
from vo_service.services.sia2 import SIA2_QUERY, sia2_url
from vo_service.services.ssa import SSA_STANDARD
from vo_service.settings import Settings

__all__ = ["scs_capabilities", "sia1_capabilities", "sia2_capabilities", "ssa_capabilities"]

_VOTABLE, _XML = "application/x-votable+xml", "text/xml"


def sia2_capabilities(settings: Settings) -> bytes:
    """Of SIA 2.0, which SimpleDALRegExt has no type for."""
    url = sia2_url(settings)
    capability = Capability(
        standard_id=SIA2_QUERY,
        access_url=f"{url}/query",
        version="2.0",
        result_type=_VOTABLE,
    )
    return protocol_capabilities(url, capability, examples=True)


def sia1_capabilities(settings: Settings, collection: str | None = None) -> bytes:
    """Of SIA 1.0, for a collection or for all."""
    url = _at(settings, "sia", collection)
    parts: Parts = (
        ("imageServiceType", "Pointed"),
        ("maxQueryRegionSize", (("long", "360"), ("lat", "180"))),
        ("maxRecords", str(settings.maxrec_limit)),
    )
    capability = Capability(
        standard_id=SIA1_STANDARD,
        access_url=f"{url}/query?",
        version="1.0",
        result_type=_XML,
        kind="sia:SimpleImageAccess",
        parts=parts,
    )
    return protocol_capabilities(url, capability)


def scs_capabilities(settings: Settings, table: str) -> bytes:
    """Of the cone search of a table."""
    url = _at(settings, "scs", table)
    capability = Capability(
        standard_id=SCS_STANDARD,
        access_url=f"{url}?",
        version="1.03",
        result_type=_XML,
        kind="cs:ConeSearch",
        parts=(
            ("maxSR", "180"),
            ("maxRecords", str(settings.maxrec_limit)),
            ("verbosity", "true"),
        ),
    )
    return protocol_capabilities(url, capability)


def ssa_capabilities(settings: Settings, collection: str | None = None) -> bytes:
    """Of SSA, for a collection or for all."""
    url = _at(settings, "ssa", collection)
    capability = Capability(
        standard_id=SSA_STANDARD,
        access_url=f"{url}/query?",
        version="1.1",
        result_type=_XML,
        kind="ssap:SimpleSpectralAccess",
        parts=(
            ("complianceLevel", "query"),
            ("dataSource", "pointed"),
            ("creationType", "archival"),
            ("supportedFrame", "ICRS"),
            ("maxSearchRadius", "180"),
            ("maxRecords", str(settings.maxrec_limit)),
            ("defaultMaxRecords", str(settings.maxrec_default)),
        ),
    )
    return protocol_capabilities(url, capability)


def _at(settings: Settings, service: str, part: str | None) -> str:
    """The address of a service or, below it, of its part for a collection or a table."""
    url = f"{settings.root_url}/{service}"
    return url if part is None else f"{url}/{quote(part)}"
