"""Queries that a newcomer should try first; the tests run each of them.

The coordinate system is named although ADQL 2.1 needs it no more: clients that check syntax
by ADQL 2.0 take it.
"""

from __future__ import annotations

from vo_service.formats.examples import Example

__all__ = ["EXAMPLES"]

_OBSCORE = ("ivoa.obscore",)

EXAMPLES = (
    Example(
        id="cone",
        name="Frames within half a degree of a position",
        description="The centre of the frame lies in the circle; angles are degrees, ICRS.",
        query=(
            "SELECT obs_id, target_name, s_ra, s_dec, t_min, access_url\n"
            "FROM ivoa.obscore\n"
            "WHERE 1 = CONTAINS(POINT('ICRS', s_ra, s_dec), CIRCLE('ICRS', 149.38, 69.65, 0.5))\n"
            "ORDER BY t_min"
        ),
        tables=_OBSCORE,
    ),
    Example(
        id="pinpoint",
        name="Frames whose footprint holds a position, with a radius of 15 arcsec",
        description="The search for which a moving or varying object is looked up in old frames.",
        query=(
            "SELECT TOP 100 obs_id, instrument_name, t_min, t_exptime, access_url\n"
            "FROM ivoa.obscore\n"
            "WHERE 1 = INTERSECTS(CIRCLE('ICRS', 149.38, 69.65, 15/3600.), s_region)\n"
            "ORDER BY t_min DESC"
        ),
        tables=_OBSCORE,
    ),
    Example(
        id="box",
        name="Frames in a box of coordinates",
        query=(
            "SELECT s_ra, s_dec, s_fov, access_url\n"
            "FROM ivoa.obscore\n"
            "WHERE s_ra BETWEEN 149 AND 150 AND s_dec BETWEEN 69 AND 70"
        ),
        tables=_OBSCORE,
    ),
    Example(
        id="counts",
        name="How many products each instrument has, and from when",
        query=(
            "SELECT facility_name, instrument_name, dataproduct_type, COUNT(*) AS products,\n"
            "       MIN(t_min) AS first_mjd, MAX(t_max) AS last_mjd\n"
            "FROM ivoa.obscore\n"
            "GROUP BY facility_name, instrument_name, dataproduct_type\n"
            "ORDER BY products DESC"
        ),
        tables=_OBSCORE,
    ),
    Example(
        id="elsewhere",
        name="What exists at a position, here and at other sites",
        description="Counts by facility and instrument; rows of this archive have the origin here.",
        query=(
            "SELECT origin, facility_name, instrument_name, COUNT(*) AS products\n"
            "FROM elsewhere.everything\n"
            "WHERE 1 = INTERSECTS(CIRCLE('ICRS', 149.38, 69.65, 0.1), s_region)\n"
            "GROUP BY origin, facility_name, instrument_name\n"
            "ORDER BY products DESC"
        ),
        tables=("elsewhere.everything",),
    ),
    Example(
        id="columns",
        name="What the columns of ivoa.obscore mean",
        query=(
            "SELECT column_name, datatype, unit, ucd, description\n"
            "FROM tap_schema.columns\n"
            "WHERE table_name = 'ivoa.obscore'\n"
            "ORDER BY column_index"
        ),
        tables=("tap_schema.columns",),
    ),
)
