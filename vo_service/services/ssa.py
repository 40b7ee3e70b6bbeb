"""SSA operations: a search for spectra as a query of ``ivoa.obscore``.

Columns are known by the utypes of SSAP (``ssa:``). Source: SSAP 1.1, "queryData response".
Units: degrees (ICRS), metres, days (MJD, UTC), seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vo_service.adql import Statement, build
from vo_service.adql.nodes import Node
from vo_service.formats.encoder import Info, Input, ServiceDescriptor
from vo_service.model.obscore import OBSCORE
from vo_service.model.stencil import Bounds
from vo_service.model.table import Column, Field, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.ssa import SpectrumSearch
from vo_service.services.answers import TITLE, Shown, described, items
from vo_service.services.datalink import links_descriptors
from vo_service.services.origin import origin
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["SPECTRA_TYPE", "SSA_INPUTS", "SSA_STANDARD", "SpectrumService", "spectrum_query"]

SSA_STANDARD = "ivo://ivoa.net/std/SSA"

#: ObsCore's words for what this protocol finds.
SPECTRA_TYPE = "spectrum"

_TEXTS = {
    "PUBDID": "obs_publisher_did",
    "COLLECTION": "obs_collection",
    "TARGETNAME": "target_name",
}

SSA_INPUTS = (
    Input(name="REQUEST", options=("queryData",), description="Always queryData"),
    Input(name="POS", ucd="pos.eq", unit="deg", description="Position: lon,lat (ICRS)"),
    Input(name="SIZE", unit="deg", description="Diameter about the position; 0.1 if not given"),
    Input(
        name="BAND", unit="m", ucd="em.wl",
        description="Wavelengths: 5e-7, 4e-7/7e-7, /7e-7 or 4e-7/, several between commas; or a "
        "name such as optical",
    ),
    Input(
        name="TIME", ucd="time",
        description="Dates (ISO 8601, UTC): 2021-11-09, 2021-11-09/2021-11-11, 2021/",
    ),
    Input(
        name="FORMAT", options=("all", "native", "fits", "metadata"),
        description="Media types between commas, or one of these words",
    ),
    Input(name="SPECRP", ucd="spect.resolution", description="Least resolving power, or ranges"),
    Input(name="SPATRES", unit="deg", description="Worst resolution on the sky, or ranges"),
    Input(name="PUBDID", ucd="meta.ref.ivoid", description="Publisher's identifier"),
    Input(name="COLLECTION", ucd="meta.id", description="Collection"),
    Input(name="TARGETNAME", ucd="meta.id;src", description="Object observed"),
    Input(name="MAXREC", description="Rows at most"),
)  # fmt: skip


def _column(
    name: str,
    utype: str,
    ucd: str | None,
    description: str,
    value: Node,
    *,
    unit: str | None = None,
) -> Shown:
    field = Field(
        name=name,
        datatype="char",
        unit=unit,
        ucd=ucd,
        utype=f"ssa:{utype}",
        description=description,
    )
    return Shown(field, value)


def _as_obscore(name: str) -> Shown:
    """A column as ObsCore has it, for clients that know DataLink."""
    found: Column = next(column for column in OBSCORE if column.name == name)
    return Shown(found, build.column(name))


def _middle(low: str, high: str) -> Node:
    total = build.compute(build.column(low), "+", build.column(high))
    return build.compute(total, "/", build.number(2))


def _columns(publisher: str) -> list[Shown]:
    column, text = build.column, build.text
    space, spectral = "Char.SpatialAxis.Coverage", "Char.SpectralAxis.Coverage"
    time = "Char.TimeAxis.Coverage"
    width = build.compute(column("em_max"), "-", column("em_min"))
    return [
        _column("access_url", "Access.Reference", "meta.ref.url", "Where to download the spectrum",
                column("access_url")),
        _column("format", "Access.Format", "meta.code.mime", "Media type",
                column("access_format")),
        _column("size", "Access.Size", "phys.size;meta.file", "Size of the file",
                column("access_estsize"), unit="kbyte"),
        _column("data_model", "Dataset.DataModel", None,
                "Data model of the file: as the instrument wrote it", text("native")),
        _column("length", "Dataset.Length", "meta.number", "Samples along the spectrum",
                column("em_xel")),
        _column("title", "DataID.Title", "meta.title;meta.dataset", "Target and observation",
                TITLE),
        _column("collection", "DataID.Collection", "meta.id", "Collection",
                column("obs_collection")),
        _column("instrument", "DataID.Instrument", "meta.id;instr", "Instrument",
                column("instrument_name")),
        _column("creation_type", "DataID.CreationType", "meta.code", "How the data were made",
                text("archival")),
        _column("data_source", "DataID.DataSource", "meta.code", "Where the data come from",
                text("pointed")),
        _column("publisher", "Curation.Publisher", "meta.curation", "Publisher",
                text(publisher)),
        _column("target", "Target.Name", "meta.id;src", "Object observed",
                column("target_name")),
        _column("target_position", "Target.Pos", "pos.eq;src",
                "Position of the target: that of the observation (ICRS)",
                build.point(column("s_ra"), column("s_dec")), unit="deg"),
        _column("location", f"{space}.Location.Value", "pos.eq", "Position (ICRS)",
                build.point(column("s_ra"), column("s_dec")), unit="deg"),
        _column("aperture", f"{space}.Bounds.Extent", "phys.angSize;instr.fov",
                "Diameter of the field", column("s_fov"), unit="deg"),
        _column("wavelength", f"{spectral}.Location.Value", "em.wl;instr.bandpass",
                "Middle of the spectrum", _middle("em_min", "em_max"), unit="m"),
        _column("bandwidth", f"{spectral}.Bounds.Extent", "em.wl;instr.bandwidth",
                "Width of the spectrum", width, unit="m"),
        _column("wavelength_min", f"{spectral}.Bounds.Start", "em.wl;stat.min",
                "Shortest wavelength", column("em_min"), unit="m"),
        _column("wavelength_max", f"{spectral}.Bounds.Stop", "em.wl;stat.max",
                "Longest wavelength", column("em_max"), unit="m"),
        _column("resolving_power", "Char.SpectralAxis.ResPower", "spect.resolution",
                "Resolving power", column("em_res_power")),
        _column("mid_time", f"{time}.Location.Value", "time.epoch",
                "Middle of the observation (MJD, UTC)", _middle("t_min", "t_max"), unit="d"),
        _column("duration", f"{time}.Bounds.Extent", "time.duration", "Exposure time",
                column("t_exptime"), unit="s"),
        _column("start", f"{time}.Bounds.Start", "time.start", "Start (MJD, UTC)",
                column("t_min"), unit="d"),
        _column("stop", f"{time}.Bounds.Stop", "time.end", "End (MJD, UTC)",
                column("t_max"), unit="d"),
        _column("flux_ucd", "Char.FluxAxis.Ucd", "meta.ucd", "UCD of what was measured",
                column("o_ucd")),
        _as_obscore("obs_publisher_did"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpectrumService:
    """Finds spectra, as what TAP lets *visitor* read."""

    settings: Settings
    tap: TapService

    async def find(
        self, search: SpectrumSearch, collection: str | None, visitor: Visitor = ANYBODY
    ) -> Rows:
        """The spectra of a collection, or of all; the rows must be closed by the caller.

        Raises
        ------
        VOError
            Before the first row.
        """
        columns = _columns(self.settings.publisher)
        statement = spectrum_query(search, collection, columns)
        rows = await self.tap.search(statement, search.maxrec, visitor)
        if search.metadata:
            rows.truncated = False  # nothing was cut that was asked for
        return described(rows, columns)

    def infos(self) -> list[Info]:
        """What a result says of where it comes from."""
        return [Info("SERVICE_PROTOCOL", "1.1", "SSAP"), *origin(self.settings, SSA_STANDARD)]

    def descriptors(self, fields: Sequence[Field]) -> list[ServiceDescriptor]:
        """The services of each row."""
        return links_descriptors(self.settings, fields)


def spectrum_query(
    search: SpectrumSearch, collection: str | None, columns: Sequence[Shown]
) -> Statement:
    """What a search means in ADQL."""
    conditions = [build.equals(build.column("dataproduct_type"), build.text(SPECTRA_TYPE))]
    texts = [(_TEXTS[name], text) for name, text in search.texts.items()]
    if collection is not None:
        texts.append(("obs_collection", collection))
    conditions += [build.equals(build.column(name), build.text(text)) for name, text in texts]
    if search.formats is not None:
        # No format at all is one that no row has.
        formats = [build.text(name) for name in search.formats or ("",)]
        conditions.append(build.one_of(build.column("access_format"), formats))
    if search.circle is not None:
        place = build.region(search.circle)
        conditions.append(build.intersects(place, build.column("s_region")))
    for names, ranges in (
        (("em_min", "em_max"), search.bands),
        (("t_min", "t_max"), search.times),
        (("em_res_power", "em_res_power"), search.powers),
        (("s_resolution", "s_resolution"), search.resolutions),
    ):
        if ranges:
            conditions.append(build.any_of(_overlaps(*names, bounds) for bounds in ranges))
    return build.find("ivoa.obscore", build.all_of(conditions), items(columns))


def _overlaps(start: str, end: str, bounds: Bounds) -> Node:
    low, high = bounds
    return build.both(
        build.at_most(build.column(start), high), build.at_least(build.column(end), low)
    )
