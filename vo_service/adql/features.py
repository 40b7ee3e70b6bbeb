"""The optional parts of ADQL 2.1 that work here; capabilities are made from this table.

Types are written in lower case as ADQL 2.1, "Optional components", asks.
"""

from __future__ import annotations

from typing import NamedTuple

from vo_service.adql.udf import USER_FUNCTIONS

__all__ = ["FEATURES", "Feature"]


class Feature(NamedTuple):
    """One language feature as TAPRegExt declares it."""

    type: str
    form: str
    description: str


_BASE = "ivo://ivoa.net/std/tapregext#features-"

_BY_TYPE: dict[str, dict[str, str]] = {
    "adqlgeo": {
        "AREA": "Area in square degrees",
        "BOX": "Box of great circles around a point",
        "CENTROID": "Centre of a geometry",
        "CIRCLE": "Circle of 0 to 180 degrees, from numbers or a point and a radius",
        "CONTAINS": "Whether a geometry lies in another one; boundaries belong to it",
        "COORD1": "Longitude of a point in degrees",
        "COORD2": "Latitude of a point in degrees",
        "COORDSYS": "Coordinate system of a geometry: always ICRS",
        "DISTANCE": "Angular distance in degrees of two points, or of four numbers",
        "INTERSECTS": "Whether two geometries overlap",
        "POINT": "Position from longitude and latitude (ICRS)",
        "POLYGON": "Polygon of great circles within a hemisphere, from numbers or points",
        "REGION": "STC-S literal: POSITION, CIRCLE, POLYGON or BOX in ICRS",
    },
    "adql-string": {
        "LOWER": "Lower case",
        "UPPER": "Upper case",
        "ILIKE": "LIKE without regard to case",
    },
    "adql-common-table": {"WITH": "Common table expressions"},
    "adql-sets": {
        "UNION": "Rows of either query",
        "EXCEPT": "Rows of the first query only",
        "INTERSECT": "Rows of both queries",
    },
    "adql-type": {"CAST": "Conversion to the types of ADQL, and of DALI literals to geometries"},
    "adql-conditional": {"COALESCE": "The first value that is not NULL"},
    "adql-unit": {"IN_UNIT": "Conversion of a column or expression with a unit"},
    "adql-offset": {"OFFSET": "Rows to leave out"},
}

#: Named by no standard, but what clients look for before they ask for MOCs (PyVO's registry).
_MOC = "ivo://org.gavo.dc/std/exts#extra-adql-keywords"

FEATURES: tuple[Feature, ...] = (
    *(
        Feature(_BASE + kind, form, description)
        for kind, forms in _BY_TYPE.items()
        for form, description in forms.items()
    ),
    Feature(_MOC, "MOC", "MOCs as constants and made of geometries, in CONTAINS and INTERSECTS"),
    *(
        Feature(_BASE + "udf", signature, entry.description)
        for entry in USER_FUNCTIONS.values()
        for signature in entry.signatures
    ),
)
