"""The columns of ``ivoa.obscore``: one table, from which everything else is made.

TAP_SCHEMA rows, the database view, the FIELDs of answers and the checks at ingest read
`OBSCORE`. Source: ObsCore 1.1, Table 4 and Appendix C.2, with the UCD erratum.
"""

from __future__ import annotations

from vo_service.model.table import Column

__all__ = ["CALIB_LEVELS", "DATAPRODUCT_TYPES", "OBSCORE", "POL_STATES"]

#: ObsCore 1.1, "Data Product Type".
DATAPRODUCT_TYPES = (
    "image",
    "cube",
    "spectrum",
    "sed",
    "timeseries",
    "visibility",
    "event",
    "measurements",
)

#: ObsCore 1.1, "Calibration level".
CALIB_LEVELS = range(5)

#: ObsCore 1.1, "List of polarization states", in the order in which they are to be listed.
POL_STATES = (
    *("I", "Q", "U", "V", "RR", "LL", "RL", "LR"),
    *("XX", "YY", "XY", "YX", "POLI", "POLA"),
)


def _column(
    name: str,
    datatype: str,
    utype: str,
    ucd: str,
    description: str,
    *,
    unit: str | None = None,
    xtype: str | None = None,
    indexed: bool = False,
    geometry: str | None = None,
) -> Column:
    return Column(
        name=name,
        datatype=datatype,
        arraysize="*" if datatype == "char" else None,
        xtype=xtype,
        unit=unit,
        ucd=ucd,
        utype=f"obscore:{utype}",
        description=description,
        indexed=indexed,
        principal=True,
        std=True,
        geometry=geometry,
    )


_BOUNDS = "Coverage.Bounds.Limits"

OBSCORE: tuple[Column, ...] = (
    _column(
        "dataproduct_type", "char", "ObsDataset.dataProductType", "meta.code.class",
        "Kind of data product: image, cube, spectrum, timeseries ...",
    ),
    _column(
        "calib_level", "int", "ObsDataset.calibLevel", "meta.code;obs.calib",
        "Degree of calibration: 0 raw, 1 instrumental, 2 calibrated, 3 enhanced, 4 analysis",
    ),
    _column("obs_collection", "char", "DataID.collection", "meta.id", "Name of the collection"),
    _column(
        "obs_id", "char", "DataID.observationID", "meta.id",
        "Observation (exposure); shared by all its products",
    ),
    _column(
        "obs_publisher_did", "char", "Curation.publisherDID", "meta.ref.ivoid",
        "Identifier that the publisher gave this product", indexed=True,
    ),
    _column(
        "access_url", "char", "Access.reference", "meta.ref.url",
        "Where to download the product", xtype="adql:clob",
    ),
    _column("access_format", "char", "Access.format", "meta.code.mime", "Media type of product"),
    _column(
        "access_estsize", "long", "Access.size", "phys.size;meta.file",
        "Approximate size of the product", unit="kbyte",
    ),
    _column("target_name", "char", "Target.name", "meta.id;src", "Name of the object observed"),
    _column(
        "s_ra", "double", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1",
        "pos.eq.ra", "Right ascension of the centre (ICRS)", unit="deg", indexed=True,
    ),
    _column(
        "s_dec", "double", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2",
        "pos.eq.dec", "Declination of the centre (ICRS)", unit="deg", indexed=True,
    ),
    _column(
        "s_fov", "double", "Char.SpatialAxis.Coverage.Bounds.Extent.diameter",
        "phys.angSize;instr.fov",
        "Diameter of the circle about the centre that holds the footprint", unit="deg",
    ),
    _column(
        "s_region", "char", "Char.SpatialAxis.Coverage.Support.Area", "pos.outline;obs.field",
        "Footprint on the sky (ICRS), as STC-S", xtype="adql:REGION", indexed=True,
        geometry="region",
    ),
    _column(
        "s_resolution", "double", "Char.SpatialAxis.Resolution.Refval.value",
        "pos.angResolution", "Angular resolution (FWHM)", unit="arcsec",
    ),
    _column(
        "s_xel1", "long", "Char.SpatialAxis.numBins1", "meta.number",
        "Pixels along the first spatial axis",
    ),
    _column(
        "s_xel2", "long", "Char.SpatialAxis.numBins2", "meta.number",
        "Pixels along the second spatial axis",
    ),
    _column(
        "t_min", "double", f"Char.TimeAxis.{_BOUNDS}.StartTime", "time.start;obs.exposure",
        "Start of the observation (MJD, UTC)", unit="d", indexed=True,
    ),
    _column(
        "t_max", "double", f"Char.TimeAxis.{_BOUNDS}.StopTime", "time.end;obs.exposure",
        "End of the observation (MJD, UTC)", unit="d",
    ),
    _column(
        "t_exptime", "double", "Char.TimeAxis.Coverage.Support.Extent",
        "time.duration;obs.exposure", "Total exposure time", unit="s",
    ),
    _column(
        "t_resolution", "double", "Char.TimeAxis.Resolution.Refval.value", "time.resolution",
        "Resolution in time", unit="s",
    ),
    _column(
        "t_xel", "long", "Char.TimeAxis.numBins", "meta.number", "Samples along the time axis"
    ),
    _column(
        "em_min", "double", f"Char.SpectralAxis.{_BOUNDS}.LoLimit", "em.wl;stat.min",
        "Shortest wavelength (vacuum)", unit="m",
    ),
    _column(
        "em_max", "double", f"Char.SpectralAxis.{_BOUNDS}.HiLimit", "em.wl;stat.max",
        "Longest wavelength (vacuum)", unit="m",
    ),
    _column(
        "em_res_power", "double", "Char.SpectralAxis.Resolution.ResolPower.refVal",
        "spect.resolution", "Resolving power (wavelength over its resolution)",
    ),
    _column(
        "em_xel", "long", "Char.SpectralAxis.numBins", "meta.number",
        "Samples along the spectral axis",
    ),
    _column("o_ucd", "char", "Char.ObservableAxis.ucd", "meta.ucd", "UCD of what was measured"),
    _column(
        "pol_states", "char", "Char.PolarizationAxis.stateList", "meta.code;phys.polarization",
        "Polarization states, each between slashes",
    ),
    _column(
        "pol_xel", "long", "Char.PolarizationAxis.numBins", "meta.number",
        "Number of polarization states",
    ),
    _column(
        "facility_name", "char", "Provenance.ObsConfig.Facility.name", "meta.id;instr.tel",
        "Telescope or observatory",
    ),
    _column(
        "instrument_name", "char", "Provenance.ObsConfig.Instrument.name", "meta.id;instr",
        "Instrument",
    ),
)  # fmt: skip
