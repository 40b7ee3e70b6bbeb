"""ADQL 2.1, section 6 of the checklist: geometry. Values by spherical trigonometry, by hand."""
# ruff: noqa: E501 - a query and its rows read best on one line

from __future__ import annotations

import math

import pytest

from tests.adql.sky import Sky
from tests.adql.standard import Case, Refused, check, refused, rows_of_section, value

#: A cap of radius r has 2 pi (1 - cos r) steradians.
DEG2 = math.degrees(1) ** 2
CAP_10 = 2 * math.pi * (1 - math.cos(math.radians(10))) * DEG2

#: Corners of a box at the equator are at the longitude and latitude of its arms' perpendiculars:
#: tan(lat) = tan(h/2) cos(w/2), the sides through the ends being great circles.
EDGE = math.degrees(math.atan(math.tan(math.radians(10)) * math.cos(math.radians(30))))

CASES = [
    # 6.01 POINT
    value("6.01", "POINT(10, -20)", [10.0, -20.0]),
    value("6.01", "POINT('ICRS', 10, -20)", [10.0, -20.0]),
    value("6.01", "POINT(370, 20)", [10.0, 20.0]),
    value("6.01", "POINT(-10, 20)", [350.0, 20.0]),
    Case("6.01", "SELECT POINT(lon, lat + 1) FROM test.stars WHERE id IN (1, 4)", [([10.0, 21.0],), (None,)]),
    refused("6.01", "POINT(0, 90.5)", 1, "latitude 90.5 is outside of -90..90 degrees"),
    refused("6.01", "POINT(1)", 1, "expected 2 to 3 arguments, found 1"),
    refused("6.01", "POINT('a', 'b')", 1, "POINT"),
    # 6.02 CIRCLE
    value("6.02", "CIRCLE(10, 20, 0.5)", [10.0, 20.0, 0.5]),
    value("6.02", "CIRCLE('', 10, 20, 0.5)", [10.0, 20.0, 0.5]),
    value("6.02", "CIRCLE(POINT(10, 20), 0.5)", [10.0, 20.0, 0.5]),
    value("6.02", "CIRCLE('ICRS', POINT(10, 20), 0.5)", [10.0, 20.0, 0.5]),
    refused("6.02", "CIRCLE(1, 2, -1)", 1, "radius -1 is outside of 0..180 degrees"),
    refused("6.02", "CIRCLE(1, 2)", 1, "CIRCLE"),
    # 6.03 POLYGON; near 0h its edges cross the meridian
    value("6.03", "POLYGON(10, 0, 20, 0, 15, 10)", [10.0, 0.0, 20.0, 0.0, 15.0, 10.0]),
    value("6.03", "POLYGON('ICRS', POINT(10, 0), POINT(20, 0), POINT(15, 10))", [10.0, 0.0, 20.0, 0.0, 15.0, 10.0]),
    value("6.03", "CONTAINS(POINT(0, 1), POLYGON(350, 0, 10, 0, 0, 20))", 1),
    # The great circle between (0, 60) and (90, 60) bulges north: tan(lat) = tan 60 / cos 45 in
    # its middle, 67.8 degrees.
    value("6.03", "CONTAINS(POINT(45, 67), POLYGON(0, 60, 90, 60, 45, 10))", 1),
    value("6.03", "CONTAINS(POINT(45, 68.5), POLYGON(0, 60, 90, 60, 45, 10))", 0),
    refused("6.03", "POLYGON(1, 2, 3, 4)", 1, "at least three vertices, found 2"),
    refused("6.03", "POLYGON(1, 2, POINT(3, 4), 5, 6, 7, 8)", 1, "expected points, or pairs"),
    refused("6.03", "POLYGON(1, 2, 3, 4, 5)", 1, "POLYGON"),
    # 6.04 BOX: great circles through the ends of the arms, no rectangle in longitude and latitude
    value("6.04", "CONTAINS(POINT(0, 9.99), BOX(0, 0, 60, 20))", 1),
    value("6.04", "CONTAINS(POINT(0, 10.01), BOX(0, 0, 60, 20))", 0),
    value("6.04", f"CONTAINS(POINT(29.99, {EDGE - 0.01}), BOX('ICRS', POINT(0, 0), 60, 20))", 1),
    value("6.04", f"CONTAINS(POINT(29.99, {EDGE + 0.05}), BOX('ICRS', 0, 0, 60, 20))", 0),
    value("6.04", "CONTAINS(POINT(359, -1), BOX(0, 0, 4, 4))", 1),
    refused("6.04", "BOX(1, 2, 3)", 1, "a width and a height"),
    # 6.05 REGION
    value("6.05", "REGION('CIRCLE ICRS 10 20 1')", [10.0, 20.0, 1.0]),
    value("6.05", "REGION('position 10 20')", [10.0, 20.0]),
    value("6.05", "CONTAINS(POINT(15, 1), REGION('POLYGON ICRS 10 0 20 0 15 10'))", 1),
    value("6.05", "CONTAINS(POINT(0, 1), REGION('BOX ICRS 0 0 4 4'))", 1),
    refused("6.05", "REGION(band)", 1, "expected a string literal"),
    refused("6.05", "REGION('BALL 1 2 3')", 1, "cannot be read"),
    # 6.06 CENTROID
    value("6.06", "CENTROID(POINT(10, 20))", [10.0, 20.0]),
    value("6.06", "CENTROID(CIRCLE(10, 20, 3))", [10.0, 20.0]),
    value("6.06", "CENTROID(BOX(10, 0, 4, 2))", [10.0, 0.0]),
    # 6.07 AREA; an octant is an eighth of the sky
    value("6.07", "AREA(POINT(10, 20))", 0.0),
    value("6.07", "AREA(CIRCLE(10, 20, 10))", CAP_10),
    value("6.07", "AREA(POLYGON(0, 0, 90, 0, 0, 90))", 4 * math.pi * DEG2 / 8),
    refused("6.07", "AREA(1)", 1, "expected a geometry, found a number"),
    # 6.08 COORD1, COORD2
    value("6.08", "COORD1(POINT(10, 20))", 10.0), value("6.08", "COORD2(POINT(10, 20))", 20.0),
    Case("6.08", "SELECT COORD1(place), COORD2(place) FROM test.stars WHERE id = 3", [(200.0, -45.0)]),
    refused("6.08", "COORD1(CIRCLE(1, 2, 3))", 1, "expected a point, found a circle"),
    # 6.09 COORDSYS
    value("6.09", "COORDSYS(CIRCLE(1, 2, 3))", "ICRS"),
    Case("6.09", "SELECT COORDSYS(outline) FROM test.frames WHERE id = 1", [("ICRS",)]),
    # 6.10 DISTANCE; cos(d) = sin 30 sin 60 + cos 30 cos 60 cos 90
    value("6.10", "DISTANCE(POINT(0, 30), POINT(90, 60))", math.degrees(math.acos(0.5 * math.sqrt(0.75)))),
    value("6.10", "DISTANCE(0, 30, 90, 60)", math.degrees(math.acos(0.5 * math.sqrt(0.75)))),
    value("6.10", "DISTANCE(359, 0, 1, 0)", 2.0), value("6.10", "DISTANCE(0, 89, 180, 89)", 2.0),
    refused("6.10", "DISTANCE(CIRCLE(1, 2, 3), POINT(1, 2))", 1, "expected a point, found a circle"),
    refused("6.10", "DISTANCE(1, 2, 3)", 1, "DISTANCE"),
    # 6.11 CONTAINS; boundaries belong to the region
    value("6.11", "CONTAINS(POINT(0, 1), CIRCLE(0, 0, 1))", 1),
    value("6.11", "CONTAINS(POINT(0, 1.0001), CIRCLE(0, 0, 1))", 0),
    value("6.11", "CONTAINS(CIRCLE(0, 0, 1), CIRCLE(0, 0, 2))", 1),
    value("6.11", "CONTAINS(CIRCLE(0, 0, 2), CIRCLE(0, 0, 1))", 0),
    value("6.11", "CONTAINS(POLYGON(0, 0, 1, 0, 0, 1), BOX(0, 0, 4, 4))", 1),
    value("6.11", "CONTAINS(CIRCLE(0, 0, 1), POINT(0, 0))", 0),
    # 6.12 INTERSECTS; of a point it is CONTAINS, whichever side the point is on
    value("6.12", "INTERSECTS(CIRCLE(0, 0, 1), CIRCLE(1.9, 0, 1))", 1),
    value("6.12", "INTERSECTS(CIRCLE(0, 0, 1), CIRCLE(2.1, 0, 1))", 0),
    value("6.12", "INTERSECTS(BOX(0, 0, 2, 2), POLYGON(0.5, -10, 0.6, -10, 0.55, 10))", 1),
    value("6.12", "INTERSECTS(POINT(0, 0.5), CIRCLE(0, 0, 1))", 1),
    value("6.12", "INTERSECTS(CIRCLE(0, 0, 1), POINT(0, 0.5))", 1),
    # 6.13 system argument
    value("6.13", "DISTANCE(POINT('ICRS GEOCENTER', 0, 0), POINT('', 0, 1))", 1.0),
    value("6.13", "CONTAINS(POINT('icrs', 0, 0), POLYGON('ICRS BARYCENTER', 359, -1, 1, -1, 0, 1))", 1),
    refused("6.13", "POINT(NULL, 1, 2)", 1, "POINT"),
    refused("6.13", "POINT(band, 1, 2)", 1, "POINT"),
    refused("6.13", "BOX('IC' || 'RS', 1, 2, 3, 4)", 1, "BOX"),
    # 6.14 other systems are refused openly
    refused("6.14", "DISTANCE(POINT('GALACTIC', 1, 2), POINT('ICRS', 1, 2))", 10, "'GALACTIC' is not supported"),
    # The galactic centre in ICRS (Reid & Brunthaler 2004): 266.40499, -28.93617
    Case("6.14", "SELECT band FROM test.bands WHERE band = 'B' AND DISTANCE(ivo_geom_transform('GALACTIC', 'ICRS', POINT(0, 0)), POINT(266.40499, -28.93617)) * 3600 < 0.1", [("B",)]),
    # 6.15 they are numbers
    Case("6.15", "SELECT id FROM test.stars WHERE 1 = CONTAINS(POINT(lon, lat), CIRCLE(10, 20, 1))", [(1,), (2,)]),
    Case("6.15", "SELECT id FROM test.stars WHERE CONTAINS(place, disc) = 1", [(1,), (2,), (3,)]),
    Case("6.15", "SELECT id FROM test.stars WHERE CONTAINS(place, CIRCLE(10, 20, 1)) = 0", [(3,)]),
    Case("6.15", "SELECT id FROM test.stars WHERE 1 > INTERSECTS(disc, CIRCLE(10, 20, 1))", [(3,)]),
    Case("6.15", "SELECT id, CONTAINS(place, CIRCLE(10, 20, 1)) + 1 FROM test.stars", [(1, 2), (2, 2), (3, 1), (4, None)]),
    Case("6.15", "SELECT id FROM test.stars WHERE CONTAINS(place, disc)", Refused(33, "expected a condition, found a value")),
    # 6.16 star 4 has no position
    Case("6.16", "SELECT id FROM test.stars WHERE NOT (1 = CONTAINS(place, CIRCLE(10, 20, 1)))", [(3,)]),
    Case("6.16", "SELECT id FROM test.stars WHERE 0 = CONTAINS(place, CIRCLE(10, 20, 1))", [(3,)]),
    # 6.17 the same crossmatch in other words; stars 1 and 2 are 0.09397 degrees apart
    *(Case("6.17", f"SELECT a.id, b.id FROM test.stars AS a, test.stars AS b WHERE a.id < b.id AND {same}", [(1, 2)])
      for same in (
          "DISTANCE(a.place, b.place) < 0.1", "DISTANCE(b.place, a.place) <= 0.1",
          "0.1 > DISTANCE(a.lon, a.lat, b.lon, b.lat)", "1 = CONTAINS(a.place, CIRCLE(b.place, 0.1))",
          "CONTAINS(POINT(b.lon, b.lat), CIRCLE(a.lon, a.lat, 0.1)) = 1",
          "NOT DISTANCE(a.place, b.place) > 0.1", "0 < INTERSECTS(CIRCLE(a.place, 0.1), b.place)")),
    # 6.18 values of all kinds
    Case("6.18", "SELECT id FROM test.stars WHERE 1 = CONTAINS((place), (disc)) AND DISTANCE(ivo_healpix_center(17, ivo_healpix_index(17, place)), place) < 0.001", [(1,), (2,), (3,)]),
    # 6.19 where a point is wanted
    value("6.19", "COORD2(CENTROID(CIRCLE(10, 20, 1)))", 20.0),
    value("6.19", "CIRCLE(CENTROID(CIRCLE(10, 20, 1)), 2)", [10.0, 20.0, 2.0]),
    Case("6.19", "SELECT CIRCLE(place, 2), DISTANCE(CENTROID(disc), place) FROM test.stars WHERE id = 3", [([200.0, -45.0, 2.0], 0.0)]),
    value("6.19", "COORD1(ivo_healpix_center(0, 6))", 180.0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_row(sky: Sky, case: Case) -> None:
    check(sky, case)


def test_every_row_of_the_section_has_a_case() -> None:
    assert set(rows_of_section(6)) == {case.row for case in CASES}
