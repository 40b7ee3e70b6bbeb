"""SIA 1.0 operations, for clients from before SIA 2: a search for images at a place.

Columns are known by the UCDs of SIA 1.0 (``VOX:``). Source: SIA 1.0, "Image Query",
"Successful Output". Angles are ICRS degrees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vo_service.adql import Statement, build
from vo_service.adql.nodes import Node
from vo_service.formats.encoder import Info, Input, ServiceDescriptor
from vo_service.model.meridians import LEAST
from vo_service.model.obscore import OBSCORE
from vo_service.model.region import Circle, Point
from vo_service.model.table import Field, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.sia1 import OldImageSearch
from vo_service.params.sia2 import IMAGE_TYPES
from vo_service.services.answers import TITLE, Shown, described, items, pairs, put_together
from vo_service.services.datalink import links_descriptors
from vo_service.services.origin import origin
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["SIA1_INPUTS", "SIA1_STANDARD", "OldImageService", "old_image_query"]

SIA1_STANDARD = "ivo://ivoa.net/std/SIA"

_COLUMNS = {column.name: column for column in OBSCORE}
_REGION = build.column("s_region")

SIA1_INPUTS = (
    Input(name="POS", ucd="pos.eq", unit="deg", description="Position: lon,lat (ICRS)"),
    Input(
        name="SIZE", unit="deg",
        description="Width and height about the position (angles on the sky), or both in one",
    ),
    Input(
        name="INTERSECT", options=("COVERS", "ENCLOSED", "CENTER", "OVERLAPS"),
        description="What the image does with the region; OVERLAPS if it is not given",
    ),
    Input(
        name="FORMAT", options=("ALL", "image/fits", "GRAPHIC", "METADATA"),
        description="Media types of images, between commas",
    ),
    Input(name="VERB", options=("0", "1", "2", "3"), description="Few or many columns"),
    Input(name="MAXREC", description="Rows at most"),
)  # fmt: skip


def _column(
    name: str, ucd: str, description: str, value: Node | None = None, *, like: str | None = None
) -> Shown:
    of = _COLUMNS.get(like or name)
    field = Field(
        name=name,
        datatype="char",
        unit=of.unit if of else None,
        ucd=ucd,
        description=description,
    )
    return Shown(field, value if value is not None else build.column(like or name))


#: What every answer holds; number and length of axes and the scale come last.
_REQUIRED = (
    _column("title", "VOX:Image_Title", "Target and observation", TITLE),
    _column("ra", "POS_EQ_RA_MAIN", "Right ascension of the centre (ICRS)", like="s_ra"),
    _column("dec", "POS_EQ_DEC_MAIN", "Declination of the centre (ICRS)", like="s_dec"),
    _column("format", "VOX:Image_Format", "Media type", like="access_format"),
    _column("access_url", "VOX:Image_AccessReference", "Where to download the image"),
    _column("naxes", "VOX:Image_Naxes", "Axes on the sky", build.number(2)),
)
_FURTHER = (
    _column("instrument", "INST_ID", "Instrument", like="instrument_name"),
    _column(
        "mjd", "VOX:Image_MJDateObs", "Middle of the observation (MJD, UTC)",
        build.compute(
            build.compute(build.column("t_min"), "+", build.column("t_max")), "/", build.number(2)
        ),
    ),
    _column(
        "file_size", "VOX:Image_FileSize", "Bytes, to a thousand",
        build.compute(build.column("access_estsize"), "*", build.number(1000)),
    ),
    _column("frame", "VOX:STC_CoordRefFrame", "Frame of the positions", build.text("ICRS")),
    _column("band_low", "VOX:BandPass_LoLimit", "Shortest wavelength", like="em_min"),
    _column("band_high", "VOX:BandPass_HiLimit", "Longest wavelength", like="em_max"),
    _column("band_unit", "VOX:BandPass_Unit", "Unit of the wavelengths", build.text("m")),
)  # fmt: skip
#: As ObsCore has them, for clients that know both.
_OBSCORE = ("obs_publisher_did", "obs_collection", "target_name", "t_exptime", "s_region")

_NAXIS = Field(
    name="naxis", datatype="int", arraysize="*", ucd="VOX:Image_Naxis", unit="pix",
    description="Pixels along the axes on the sky",
)  # fmt: skip
_SCALE = Field(
    name="scale", datatype="double", arraysize="*", ucd="VOX:Image_Scale", unit="deg/pix",
    description="Size of a pixel, from the diagonal of the image",
)  # fmt: skip
_SIZES = tuple(build.column(name) for name in ("s_xel1", "s_xel2", "s_fov"))


@dataclass(frozen=True, slots=True)
class OldImageService:
    """Finds images, as what TAP lets *visitor* read."""

    settings: Settings
    tap: TapService

    async def find(
        self, search: OldImageSearch, collection: str | None, visitor: Visitor = ANYBODY
    ) -> Rows:
        """The images of a collection, or of all; the rows must be closed by the caller.

        Raises
        ------
        VOError
            Before the first row.
        """
        columns = _columns(search.verbosity)
        statement = old_image_query(search, collection)
        rows = await self.tap.search(statement, search.maxrec, visitor)
        sizes = rows.fields[len(columns) :]
        rows.fields = rows.fields[: len(columns)]
        described(rows, columns)
        rows.fields = (*rows.fields, *sizes)
        if search.metadata:
            rows.truncated = False  # nothing was cut that was asked for
        return put_together(rows, len(columns), (_NAXIS, _SCALE), _axes)

    def infos(self) -> list[Info]:
        """What a result says of where it comes from."""
        return [Info("SERVICE_PROTOCOL", "1.0", "SIAP"), *origin(self.settings, SIA1_STANDARD)]

    def descriptors(self, fields: Sequence[Field]) -> list[ServiceDescriptor]:
        """The services of each row."""
        return links_descriptors(self.settings, fields)


def old_image_query(search: OldImageSearch, collection: str | None) -> Statement:
    """What a search means in ADQL."""
    conditions = [
        build.one_of(build.column("dataproduct_type"), [build.text(t) for t in IMAGE_TYPES])
    ]
    if collection is not None:
        conditions.append(build.equals(build.column("obs_collection"), build.text(collection)))
    if search.formats is not None:
        formats = [build.text(name) for name in search.formats]
        conditions.append(build.one_of(build.column("access_format"), formats))
    if search.centre is not None:
        conditions.append(_placed(search, search.centre))
    sizes = [build.item(size, f"size_{number}") for number, size in enumerate(_SIZES)]
    shown = items(_columns(search.verbosity))
    return build.find("ivoa.obscore", build.all_of(conditions), [*shown, *sizes])


def _placed(search: OldImageSearch, centre: Point) -> Node:
    if search.intersect == "CENTER":
        return build.contains(build.region(centre), _REGION)
    area = _area(centre, *search.size)
    match search.intersect:
        case "COVERS":
            return build.contains(area, _REGION)
        case "ENCLOSED":
            return build.contains(_REGION, area)
    return build.intersects(area, _REGION)


def _area(centre: Point, width: float, height: float) -> Node:
    """The region of a search: a point, a box, or all of the sky where that ends."""
    if not max(width, height):
        return build.region(centre)
    if max(width, height) >= 180.0:
        return build.region(Circle(centre.ra, centre.dec, 180.0))
    return build.box(centre, max(width, LEAST), max(height, LEAST))


def _columns(verbosity: int) -> list[Shown]:
    if verbosity < 2:
        return list(_REQUIRED)
    whole = [Shown(dataclasses.replace(_COLUMNS[n]), build.column(n)) for n in _OBSCORE]
    return [*_REQUIRED, *_FURTHER, *whole]


def _axes(columns: Sequence[pa.Array]) -> list[pa.Array]:
    """Lengths of the axes, and the size of a pixel where both lengths and the extent are known.

    ``s_fov`` is twice the distance from the centre to the farthest corner.
    """
    across, along, extent = (column.cast(pa.float64()) for column in columns)
    diagonal = pc.sqrt(pc.add(pc.multiply(across, across), pc.multiply(along, along)))
    scale = pc.divide(extent, pc.if_else(pc.greater(diagonal, 0.0), diagonal, None))
    return [pairs(columns[0], columns[1]), pairs(scale, scale)]
