"""SIA 2.0 operations: a search for images as a query of ``ivoa.obscore``.

The query is an ADQL syntax tree and goes the way of TAP's. Source: SIA 2.0, "{query} resource",
"Successful Query"; DataLink 1.1, "Service Descriptors".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vo_service.adql import Statement, build
from vo_service.adql.moc import read as read_moc
from vo_service.adql.nodes import Node
from vo_service.adql.sphere import checked_polygon
from vo_service.errors import UsageError
from vo_service.formats.encoder import Info, Input, ServiceDescriptor
from vo_service.formats.output import FORMATS
from vo_service.model.meridians import range_polygons
from vo_service.model.obscore import CALIB_LEVELS, OBSCORE, POL_STATES
from vo_service.model.region import Circle, Polygon
from vo_service.model.stencil import Bounds, Range, Shape
from vo_service.model.table import Field, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.sia2 import IMAGE_TYPES, ImageSearch
from vo_service.services.datalink import links_descriptors
from vo_service.services.origin import origin
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = [
    "SIA2_QUERY",
    "SIA2_STANDARD",
    "ImageService",
    "image_query",
    "meets",
    "sia2_inputs",
    "sia2_url",
]

SIA2_STANDARD = "ivo://ivoa.net/std/SIA"
SIA2_QUERY = f"{SIA2_STANDARD}#query-2.0"

_TABLE = "ivoa.obscore"
_REGION = build.column("s_region")

#: Degrees up to which the polygons of a range are true to 1 arcsec.
_NARROW = 5.0

#: Parameters whose interval must overlap that of a row: its lower and upper end.
_OVERLAPS = {"BAND": ("em_min", "em_max"), "TIME": ("t_min", "t_max")}

#: Parameters in whose interval a row's value must lie.
_VALUES = {
    "FOV": "s_fov",
    "SPATRES": "s_resolution",
    "SPECRP": "em_res_power",
    "EXPTIME": "t_exptime",
    "TIMERES": "t_resolution",
}
_TEXTS = {
    "COLLECTION": "obs_collection",
    "FACILITY": "facility_name",
    "INSTRUMENT": "instrument_name",
    "TARGET": "target_name",
    "FORMAT": "access_format",
}


def sia2_url(settings: Settings) -> str:
    """The address of the service, without a slash at the end."""
    return f"{settings.root_url}/sia2"


@dataclass(frozen=True, slots=True)
class ImageService:
    """Finds images, as what TAP lets *visitor* read."""

    settings: Settings
    tap: TapService

    async def find(self, search: ImageSearch, visitor: Visitor = ANYBODY) -> Rows:
        """The images; the rows must be closed by the caller.

        Raises
        ------
        VOError
            For whatever is wrong with the search, before the first row.
        """
        return await self.tap.search(image_query(search), search.maxrec, visitor)

    def infos(self) -> list[Info]:
        """What a result says of where it comes from."""
        return [Info("standardID", SIA2_STANDARD), *origin(self.settings, SIA2_STANDARD)]

    def descriptors(self, fields: Sequence[Field]) -> list[ServiceDescriptor]:
        """The services of each row, and this one."""
        this = ServiceDescriptor(
            identifier="this",
            access_url=f"{sia2_url(self.settings)}/query",
            standard_id=SIA2_QUERY,
            inputs=sia2_inputs(self.settings.maxrec_limit),
            description="Search for images (SIA 2.0)",
            this=True,
        )
        return [*links_descriptors(self.settings, fields), this]


def image_query(search: ImageSearch) -> Statement:
    """What a search means in ADQL.

    Raises
    ------
    UsageError
        If a MOC cannot be read.
    """
    conditions = [
        build.one_of(build.column("dataproduct_type"), [build.text(t) for t in search.types])
    ]
    if search.places:
        conditions.append(build.any_of(meets(place) for place in search.places))
    if search.mocs:
        conditions.append(build.any_of(_in_moc(text) for text in search.mocs))
    for name, intervals in search.intervals.items():
        conditions.append(build.any_of(_within(name, bounds) for bounds in intervals))
    for name, texts in search.texts.items():
        conditions.append(
            build.one_of(build.column(_TEXTS[name]), [build.text(text) for text in texts])
        )
    if search.states:
        states = build.column("pol_states")
        conditions.append(build.any_of(build.like(states, f"%/{s}/%") for s in search.states))
    if search.levels:
        levels = [build.number(level) for level in search.levels]
        conditions.append(build.one_of(build.column("calib_level"), levels))
    if search.ids:
        folded = build.lower(build.column("obs_publisher_did"))
        conditions.append(build.one_of(folded, [build.text(did.lower()) for did in search.ids]))
    return build.find(_TABLE, build.all_of(conditions))


def meets(place: Shape) -> Node:
    """Whether a footprint overlaps a place.

    Raises
    ------
    UsageError
        If a polygon is none.
    """
    if isinstance(place, Polygon):
        _check(place)
    if isinstance(place, Circle | Polygon):
        return build.intersects(build.region(place), _REGION)
    width = place.lon[1] - place.lon[0]
    # Polygons of a wide range leave its parallels; caps do not, and do for all longitudes.
    between = _band(place) if width > _NARROW else []
    if width < 360.0:
        pieces = range_polygons(place)
        parts = (build.intersects(build.region(piece), _REGION) for piece in pieces)
        between.append(build.any_of(parts))
    return build.all_of(between) or build.known(_REGION)


def _check(place: Polygon) -> None:
    try:
        checked_polygon(list(place.vertices))
    except ValueError as error:
        raise UsageError(f"POS POLYGON: {error}") from error


def _band(place: Range) -> list[Node]:
    """Between two parallels: a footprint that reaches both caps reaches what they share."""
    south, north = max(place.lat[0], -90.0), min(place.lat[1], 90.0)
    caps = []
    if north < 90.0:
        caps.append(Circle(0.0, -90.0, 90.0 + north))
    if south > -90.0:
        caps.append(Circle(0.0, 90.0, 90.0 - south))
    return [build.intersects(build.region(cap), _REGION) for cap in caps]


def _in_moc(text: str) -> Node:
    try:
        read_moc(text)
    except ValueError as error:
        raise UsageError(f"MOC: {error}") from error
    return build.intersects(build.moc(text), _REGION)


def _within(name: str, bounds: Bounds) -> Node:
    low, high = bounds
    if name in _OVERLAPS:
        start, end = (build.column(column) for column in _OVERLAPS[name])
        return build.both(build.at_most(start, high), build.at_least(end, low))
    value = build.column(_VALUES[name])
    return build.both(build.at_least(value, low), build.at_most(value, high))


@lru_cache(1)
def sia2_inputs(maxrec_limit: int) -> tuple[Input, ...]:
    """All parameters, as a client that knows nothing of SIA may show them."""
    columns = {column.name: column for column in OBSCORE}
    inputs = [
        Input(
            name="POS",
            ucd="pos.outline;obs.field",
            description="CIRCLE lon lat radius, RANGE lon1 lon2 lat1 lat2 or POLYGON lon lat ... "
            "(ICRS, degrees) that the image overlaps",
        ),
        Input(
            name="MOC",
            ucd="pos.outline;obs.field",
            description="A space MOC in ASCII that the image overlaps, such as 4/30-33 (our own)",
        ),
    ]
    interval: dict[str, Any] = {"datatype": "double", "arraysize": "2", "xtype": "interval"}
    for name, (start, _) in _OVERLAPS.items():
        unit, said = columns[start].unit, "Wavelength" if name == "BAND" else "Time (MJD, UTC)"
        ucd = "em.wl;stat.interval" if name == "BAND" else "time.interval;obs.exposure"
        inputs.append(
            Input(
                name=name, **interval, unit=unit, ucd=ucd,
                description=f"{said}: one that the image holds, or an interval that it overlaps",
            )
        )  # fmt: skip
    for name, column in _VALUES.items():
        of = columns[column]
        inputs.append(
            Input(name=name, **interval, unit=of.unit, ucd=of.ucd, description=of.description)
        )
    states, levels = tuple(POL_STATES), tuple(str(level) for level in CALIB_LEVELS)
    choices = {
        "POL": ("pol_states", states),
        "DPTYPE": ("dataproduct_type", IMAGE_TYPES),
        "CALIB": ("calib_level", levels),
        "ID": ("obs_publisher_did", ()),
    }
    for name, (column, options) in (choices | {k: (v, ()) for k, v in _TEXTS.items()}).items():
        of = columns[column]
        inputs.append(
            Input(
                name=name, datatype=of.datatype, arraysize=of.arraysize, ucd=of.ucd,
                description=of.description, options=options,
            )
        )  # fmt: skip
    inputs.append(
        Input(
            name="MAXREC", datatype="int", arraysize=None, minimum="0",
            maximum=str(maxrec_limit), description="Rows at most; 0: columns only",
        )
    )  # fmt: skip
    formats = tuple(known.media_type for known in FORMATS)
    inputs.append(Input(name="RESPONSEFORMAT", options=formats, description="Format of the answer"))
    return tuple(inputs)
