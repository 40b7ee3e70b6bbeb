"""What each service can do, as its VOSI capabilities say it.

The one place: `/capabilities` of a service answers with the document made here, and its
registry record holds the same elements (VOSI 1.1, "Capability metadata": both say the same).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from vo_service.adql import FEATURES
from vo_service.formats.oai import harvest_capabilities
from vo_service.formats.output import FORMATS
from vo_service.formats.vosi import (
    OBSCORE_MODEL,
    CapabilitiesInfo,
    Limit,
    capabilities,
    service_capabilities,
)
from vo_service.model.published import OBSCORE_TABLE
from vo_service.model.relational_tables import REGTAP
from vo_service.params.datalink import LINKS_TYPE
from vo_service.params.sia2 import IMAGE_TYPES
from vo_service.services.cutouts import SODA_ASYNC, SODA_SYNC, soda_url
from vo_service.services.datalink import LINKS_STANDARD, links_url
from vo_service.services.search_capabilities import (
    scs_capabilities,
    sia1_capabilities,
    sia2_capabilities,
    ssa_capabilities,
)
from vo_service.services.ssa import SPECTRA_TYPE
from vo_service.settings import Settings

__all__ = [
    "SECURITY_METHODS",
    "SERVICES",
    "Service",
    "datalink_capabilities",
    "oai_url",
    "registry_capabilities",
    "soda_capabilities",
    "tap_capabilities",
]

#: What capabilities name (SSO 2.0, "Security methods").
SECURITY_METHODS = tuple(f"ivo://ivoa.net/sso#{name}" for name in ("BasicAA", "OAuth", "cookie"))


#: May be declared only by who means to hold all records of the VO, since clients will ask it
#: instead of others (RegTAP 1.2, "Discovering Relational Registries").
_RELATIONAL = ("Registry 1.2", REGTAP)


def tap_capabilities(settings: Settings) -> bytes:
    """Of TAP, with its TAPRegExt description."""
    return capabilities(
        CapabilitiesInfo(
            base_url=f"{settings.root_url}/tap",
            features=FEATURES,
            formats=FORMATS,
            output=Limit(settings.maxrec_default, settings.maxrec_limit),
            upload_methods=("inline", "http", "https"),
            upload=Limit(settings.upload_rows_limit, settings.upload_rows_limit),
            execution=Limit(settings.async_default_s, settings.async_limit_s),
            retention=Limit(settings.job_retention_s, settings.job_retention_limit_s),
            security_methods=SECURITY_METHODS,
            data_models=(OBSCORE_MODEL, *((_RELATIONAL,) if settings.registry_mirror else ())),
        )
    )


def datalink_capabilities(settings: Settings) -> bytes:
    """Of DataLink."""
    url = f"{settings.root_url}/datalink"
    return service_capabilities(url, LINKS_STANDARD, links_url(settings), LINKS_TYPE)


def soda_capabilities(settings: Settings) -> bytes:
    """Of SODA."""
    url = soda_url(settings)
    return service_capabilities(
        url, SODA_SYNC, f"{url}/sync", "application/fits", more=[(SODA_ASYNC, f"{url}/async")]
    )


def oai_url(settings: Settings) -> str:
    """Where harvesters ask; clients append ``?verb=...``."""
    return f"{settings.root_url}/oai"


def registry_capabilities(settings: Settings) -> bytes:
    """Of the publishing registry."""
    return harvest_capabilities(oai_url(settings), settings.registry_page)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that has a record of its own: *key* ends its identifier, *name* its title.

    *products* are the dataproduct_types that it finds, None for all: a collection that has none
    of them is not served by it.
    """

    key: str
    name: str
    capabilities: Callable[[Settings], bytes]
    products: frozenset[str] | None = None


_IMAGES = frozenset(IMAGE_TYPES)

#: All services that are registered.
SERVICES = (
    Service("tap", "ADQL queries (TAP)", tap_capabilities),
    Service("sia2", "image search (SIA 2.0)", sia2_capabilities, _IMAGES),
    Service("sia", "image search (SIA 1.0)", sia1_capabilities, _IMAGES),
    Service("scs", "cone search", partial(scs_capabilities, table=OBSCORE_TABLE.name)),
    Service("ssa", "spectrum search (SSA)", ssa_capabilities, frozenset({SPECTRA_TYPE})),
    Service("datalink", "links of data sets (DataLink)", datalink_capabilities),
    Service("soda", "cutouts (SODA)", soda_capabilities, _IMAGES),
)
