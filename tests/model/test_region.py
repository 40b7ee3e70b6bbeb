"""RA windows and regions, against brute force and astropy."""

from __future__ import annotations

import math

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from vo_service.model.region import Circle, Point, Polygon, Window, ra_windows, separation

ra = st.floats(0, 360, exclude_max=True)
dec = st.floats(-90, 90)


def within(windows: tuple[Window, ...] | None, value: float) -> bool:
    return windows is None or any(low <= value <= high for low, high in windows)


def test_a_cone_at_the_equator_has_one_window_of_its_width() -> None:
    windows = ra_windows(Circle(100.0, 0.0, 1.0))
    assert windows is not None
    [(low, high)] = windows
    assert (low, high) == pytest.approx((99.0, 101.0), abs=1e-7)


def test_a_cone_at_60_degrees_is_twice_as_wide() -> None:
    # sin(half) = sin(1) / cos(60): 2.00031 degrees
    windows = ra_windows(Circle(100.0, 60.0, 1.0))
    assert windows is not None
    [(low, high)] = windows
    half = math.degrees(math.asin(math.sin(math.radians(1)) / 0.5))
    assert (low, high) == pytest.approx((100 - half, 100 + half), abs=1e-7)


@pytest.mark.parametrize("centre", [0.25, -0.25, 359.75, 719.75, -360.25])
def test_a_cone_across_zero_has_two_windows(centre: float) -> None:
    windows = ra_windows(Circle(centre, 0.0, 1.0))
    assert windows is not None
    [(zero, high), (low, top)] = windows
    assert (zero, top) == (0.0, 360.0)
    assert high == pytest.approx((centre + 1) % 360)
    assert low == pytest.approx((centre - 1) % 360)


@pytest.mark.parametrize("circle", [Circle(10, 89.5, 1), Circle(10, -90, 0.1), Circle(10, 0, 95)])
def test_a_cone_that_reaches_a_pole_or_more_than_half_the_sky_has_none(circle: Circle) -> None:
    assert ra_windows(circle) is None


def test_the_margin_widens_the_window() -> None:
    assert ra_windows(Circle(100, 20, 1), 0.5) == ra_windows(Circle(100, 20, 1.5))


@given(ra, dec, st.floats(0, 180), ra, dec)
def test_no_position_within_a_cone_lies_outside_its_windows(
    ra0: float, dec0: float, radius: float, ra1: float, dec1: float
) -> None:
    if separation(Point(ra0, dec0), Point(ra1, dec1)) <= radius:
        assert within(ra_windows(Circle(ra0, dec0, radius)), ra1)


@given(ra, st.floats(-80, 80), st.floats(0.01, 20), st.floats(0, 360), st.floats(0, 1))
def test_every_point_of_a_cones_border_lies_in_its_windows(
    ra0: float, dec0: float, radius: float, angle: float, inward: float
) -> None:
    centre = SkyCoord(ra0, dec0, unit="deg")
    point = centre.directional_offset_by(angle * u.deg, radius * inward * u.deg)
    assert within(ra_windows(Circle(ra0, dec0, radius)), float(point.ra.deg))


@given(ra, dec, ra, dec)
def test_separation_is_astropys(ra0: float, dec0: float, ra1: float, dec1: float) -> None:
    expected = SkyCoord(ra0, dec0, unit="deg").separation(SkyCoord(ra1, dec1, unit="deg")).deg
    assert separation(Point(ra0, dec0), Point(ra1, dec1)) == pytest.approx(expected, abs=1e-10)


@given(ra, st.floats(-85, 85), st.floats(0.01, 30))
def test_the_polygon_around_a_circle_holds_it_closely(
    ra0: float, dec0: float, radius: float
) -> None:
    polygon = Circle(ra0, dec0, radius).polygon()
    centre = Point(ra0, dec0)
    distances = [separation(centre, vertex) for vertex in polygon.vertices]
    assert all(radius < d < radius * 1.003 for d in distances)
    # The middle of each edge touches the circle.
    coordinates = SkyCoord([v.ra for v in polygon.vertices], [v.dec for v in polygon.vertices],
                           unit="deg").cartesian.xyz.value  # fmt: skip
    middle = coordinates + np.roll(coordinates, -1, axis=1)
    middle /= np.linalg.norm(middle, axis=0)
    axis = SkyCoord(ra0, dec0, unit="deg").cartesian.xyz.value
    cross = np.linalg.norm(np.cross(middle.T, axis), axis=1)
    assert np.degrees(np.arctan2(cross, axis @ middle)) == pytest.approx(radius, abs=1e-9)


def test_stc_s_is_plain_degrees() -> None:
    triangle = Polygon((Point(10, -1e-7), Point(20.5, 0), Point(15, 1 / 3)))
    assert triangle.stc_s == "POLYGON ICRS 10 -0.0000001 20.5 0 15 0.3333333333"
    assert Circle(10.0, 20.0, 0.5).stc_s == "CIRCLE ICRS 10 20 0.5"


def test_the_cap_of_a_polygon_holds_its_vertices_and_a_huge_one_is_the_sphere() -> None:
    square = Polygon((Point(359, -1), Point(1, -1), Point(1, 1), Point(359, 1)))
    assert (square.cap.ra + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    assert square.cap.radius == pytest.approx(math.sqrt(2), abs=1e-3)
    assert Polygon((Point(0, 0), Point(120, 0), Point(240, 0))).cap.radius == 180.0
