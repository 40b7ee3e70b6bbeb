"""How results of other services lead to cutouts: SODA's service descriptors.

Source: SODA 1.0, "Service Descriptors", "Parameters"; DataLink 1.1, "Service Descriptors".
Angles are ICRS degrees, wavelengths metres, times MJD (UTC).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from vo_service.db.soda import Extent
from vo_service.formats.encoder import Input, ServiceDescriptor
from vo_service.params.soda import HEADERS
from vo_service.settings import Settings

__all__ = ["SODA_ASYNC", "SODA_SYNC", "cutout_descriptor", "cutouts_descriptor", "soda_url"]

SODA_SYNC = "ivo://ivoa.net/std/SODA#sync-1.0"
SODA_ASYNC = "ivo://ivoa.net/std/SODA#async-1.0"

_ID_UCD = "meta.ref.url;meta.curation"
_SAID = "Cutouts of the dataset by position, wavelength, time, polarization or pixels (SODA)"


def soda_url(settings: Settings) -> str:
    """The address of the service, without a slash at the end."""
    return f"{settings.root_url}/soda"


def cutouts_descriptor(settings: Settings, column: str, identifier: str) -> ServiceDescriptor:
    """The descriptor of cutouts of any row, whose publisher DID stands in *column*."""
    return ServiceDescriptor(
        identifier=identifier,
        access_url=f"{soda_url(settings)}/sync",
        standard_id=SODA_SYNC,
        column=column,
        ucd=_ID_UCD,
        inputs=_inputs(None),
        description=_SAID,
    )


def cutout_descriptor(settings: Settings, extent: Extent, identifier: str) -> ServiceDescriptor:
    """The descriptor of cutouts of one dataset, with the ends of what it covers."""
    return ServiceDescriptor(
        identifier=identifier,
        access_url=f"{soda_url(settings)}/sync",
        standard_id=SODA_SYNC,
        value=extent.did,
        ucd=_ID_UCD,
        inputs=_inputs(extent),
        description=_SAID,
    )


@lru_cache(64)
def _inputs(extent: Extent | None) -> tuple[Input, ...]:
    """Parameters of SODA; of a known dataset only those that it can be cut by."""
    known = extent is not None
    circle, polygon = _circle(extent), _polygon(extent)
    band, time = _interval(extent, "em"), _interval(extent, "t")
    states = tuple(extent.pol_states.split("/")) if extent and extent.pol_states else ()
    shape: dict[str, Any] = {"datatype": "double", "unit": "deg", "ucd": "pos.outline;obs"}
    inputs = []
    if circle or not known:
        inputs += [
            Input(
                name="POS",
                ucd="pos.outline;obs",
                description="CIRCLE, RANGE or POLYGON and its numbers (ICRS, degrees)",
            ),
            Input(
                name="CIRCLE",
                **shape,
                arraysize="3",
                xtype="circle",
                maximum=circle,
                description="Longitude and latitude of the centre (ICRS), and radius",
            ),
            Input(
                name="POLYGON",
                **shape,
                arraysize="*",
                xtype="polygon",
                maximum=polygon,
                description="Longitudes and latitudes of the vertices (ICRS)",
            ),
        ]
    for name, (unit, ucd, said, ends) in {
        "BAND": ("m", "em.wl;stat.interval", "Wavelengths in vacuum, from and to", band),
        "TIME": ("d", "time.interval;obs.exposure", "Times (MJD, UTC), from and to", time),
    }.items():
        if ends or not known:
            low, high = ends or (None, None)
            inputs.append(
                Input(
                    name=name, datatype="double", arraysize="2", xtype="interval", unit=unit,
                    ucd=ucd, minimum=low, maximum=high, description=said,
                )
            )  # fmt: skip
    if states or not known:
        inputs.append(
            Input(
                name="POL",
                ucd="meta.code;phys.polarization",
                options=states,
                description="A polarization state; may be repeated",
            )
        )
    inputs.append(
        Input(name="PIXEL", description="Pixels as [hdu][x1:x2,y1:y2], counted from 1; * for all")
    )
    inputs += [
        Input(
            name="HEADER",
            options=HEADERS,
            description="Cards as they stand in the file, or with the corrections of the archive",
        ),
        Input(
            name="RESPONSEFORMAT",
            options=("application/fits", "mef", "image/png", "image/webp"),
            description="FITS (mef: all cutouts of a job as extensions of one file), or a picture",
        ),
    ]
    return tuple(inputs)


def _circle(extent: Extent | None) -> str | None:
    if extent is None or extent.s_ra is None or extent.s_dec is None:
        return None
    return f"{extent.s_ra!r} {extent.s_dec!r} {(extent.s_fov or 0.0) / 2.0!r}"


def _polygon(extent: Extent | None) -> str | None:
    """The footprint, if it is one of the polygons that ingest writes."""
    words = (extent.s_region or "").split() if extent else []
    return " ".join(words[2:]) if words[:2] == ["POLYGON", "ICRS"] else None


def _interval(extent: Extent | None, axis: str) -> tuple[str, str] | None:
    if extent is None:
        return None
    low, high = getattr(extent, f"{axis}_min"), getattr(extent, f"{axis}_max")
    return None if low is None or high is None else (repr(low), repr(high))
