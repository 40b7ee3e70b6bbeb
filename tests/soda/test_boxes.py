"""Boxes of pixels against brute force: every pixel's area sampled on the sky with astropy."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vo_service.errors import UsageError
from vo_service.imaging.boxes import Box, pixel_box
from vo_service.imaging.shapes import distance_from, unit_vectors
from vo_service.ingest.sky import Sky
from vo_service.model.region import Circle, Point, Polygon
from vo_service.model.stencil import Range, Shape

SUB = 7


def image(
    projection: str = "TAN",
    centre: tuple[float, float] = (150.0, 2.0),
    shape: tuple[int, int] = (60, 40),
    scale: float = 0.01,
    turn: float = 0.0,
    crpix: tuple[float, float] | None = None,
) -> Sky:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = centre if projection != "CAR" else (centre[0], 0.0)
    wcs.wcs.crpix = crpix or ((shape[0] + 1) / 2, (shape[1] + 1) / 2)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = scale * np.array([[-cos, sin], [sin, cos]])
    wcs.wcs.set()
    return Sky(0, (0, 1), shape, wcs, 0, 1, ("ICRS", 0.0))


def samples(sky: Sky) -> NDArray[np.float64]:
    """Directions of SUB x SUB points in each pixel, shape (ny, nx, SUB * SUB, 3)."""
    nx, ny = sky.lengths
    steps = (np.arange(SUB) + 0.5) / SUB - 0.5
    x, y = np.meshgrid(np.arange(1, nx + 1), np.arange(1, ny + 1))
    sub_x, sub_y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    grid = np.stack(((x[..., None] + sub_x).ravel(), (y[..., None] + sub_y).ravel()), axis=1)
    ra, dec = sky.wcs.all_pix2world(grid, 1).T
    return unit_vectors(ra, dec).reshape(ny, nx, SUB * SUB, 3)


def brute(sky: Sky, inside: NDArray[np.bool_]) -> Box | None:
    met: NDArray[np.bool_] = np.asarray(inside.any(axis=2))
    if not met.any():
        return None
    rows, columns = np.flatnonzero(met.any(axis=1)), np.flatnonzero(met.any(axis=0))
    return (int(columns[0]), int(columns[-1]) + 1), (int(rows[0]), int(rows[-1]) + 1)


def within(sky: Sky, shape: Shape) -> NDArray[np.bool_]:
    """Which samples lie in a shape, worked out from its definition."""
    points = samples(sky)
    flat = points.reshape(-1, 3)
    lon = np.degrees(np.arctan2(flat[:, 1], flat[:, 0])) % 360.0
    lat = np.degrees(np.arcsin(np.clip(flat[:, 2], -1, 1)))
    match shape:
        case Circle():
            centre = unit_vectors(np.array([shape.ra]), np.array([shape.dec]))[0]
            found = np.degrees(np.arccos(np.clip(flat @ centre, -1, 1))) <= shape.radius
        case Range():
            found = (lon >= shape.lon[0]) & (lon <= shape.lon[1])
            found &= (lat >= shape.lat[0]) & (lat <= shape.lat[1])
        case Polygon():  # convex and counter-clockwise in these tests
            corners = unit_vectors(
                np.array([v.ra for v in shape.vertices]), np.array([v.dec for v in shape.vertices])
            )
            sides = np.cross(corners, np.roll(corners, -1, axis=0))
            found = (flat @ sides.T >= 0).all(axis=1)
    return np.asarray(found).reshape(points.shape[:3])


def agree(ours: Box | None, theirs: Box | None, sky: Sky) -> None:
    """Equal but for corners of pixels that lie between the samples: a pixel more at most."""
    if theirs is None:
        assert ours is None or all(stop - start <= 2 for start, stop in ours)
        return
    assert ours is not None
    for (low, high), (start, stop) in zip(ours, theirs, strict=True):
        assert start - 1 <= low <= start
        assert stop <= high <= stop + 1


def in_front(sky: Sky, x: float, y: float) -> tuple[float, float]:
    ra, dec = sky.wcs.all_pix2world([[x, y]], 1)[0]
    return float(ra) % 360.0, float(dec)


PLACES = st.sampled_from(
    [(150.0, 2.0), (0.0, -30.0), (359.9999, 60.0), (10.0, 89.95), (77.0, -90.0)]
)
SIDES = st.floats(-10, 70)


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    projection=st.sampled_from(["TAN", "SIN", "ZEA", "STG"]),
    centre=PLACES,
    turn=st.floats(0, 360),
    scale=st.sampled_from([1e-4, 0.01, 0.2]),
    x=SIDES,
    y=SIDES,
    radius=st.floats(0.05, 60),
)
def test_a_circle_gives_the_pixels_that_it_touches(
    projection: str, centre: tuple[float, float], turn: float, scale: float, x: float, y: float,
    radius: float,
) -> None:  # fmt: skip
    sky = image(projection, centre, turn=turn, scale=scale)
    circle = Circle(*in_front(sky, x, y), radius * scale)
    agree(pixel_box(sky, distance_from(circle)), brute(sky, within(sky, circle)), sky)


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    centre=PLACES,
    turn=st.floats(0, 360),
    scale=st.sampled_from([1e-4, 0.01, 0.2]),
    x=SIDES,
    y=SIDES,
    size=st.floats(1.0, 50.0),
    angles=st.lists(st.floats(0, 6.28), min_size=3, max_size=7, unique=True),
    backwards=st.booleans(),
)
def test_a_polygon_gives_the_pixels_that_it_touches_whichever_way_round(
    centre: tuple[float, float], turn: float, scale: float, x: float, y: float, size: float,
    angles: list[float], backwards: bool,
) -> None:  # fmt: skip
    sky = image("TAN", centre, turn=turn, scale=scale)
    # The pixel plane of this image is a mirrored sky: falling angles go counter-clockwise there.
    corners = tuple(
        Point(*in_front(sky, x + size * np.cos(a), y + size * np.sin(a)))
        for a in sorted(angles, reverse=True)
    )
    expected = brute(sky, within(sky, Polygon(corners)))
    asked = Polygon(corners[::-1] if backwards else corners)
    agree(pixel_box(sky, distance_from(asked)), expected, sky)


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    centre=PLACES,
    turn=st.floats(0, 360),
    west=st.floats(0, 359),
    width=st.floats(20, 360),
    low=st.floats(-90, 80),
    height=st.floats(10, 180),
    near=st.booleans(),
)
def test_a_range_gives_the_pixels_that_it_touches(
    centre: tuple[float, float], turn: float, west: float, width: float, low: float,
    height: float, near: bool,
) -> None:  # fmt: skip
    sky = image("TAN", centre, turn=turn, scale=0.02)
    if near:
        west, low = max(0.0, centre[0] - width / 400), max(-90.0, centre[1] - height / 400)
        width, height = width / 200, height / 200
    box = Range((west, min(west + width, 360.0)), (low, min(low + height, 90.0)))
    agree(pixel_box(sky, distance_from(box)), brute(sky, within(sky, box)), sky)


def test_an_all_sky_image_has_no_seam() -> None:
    sky = image("CAR", (180.0, 0.0), shape=(360, 180), scale=1.0)
    # CAR around 180: pixel 180.5 is RA 180, RA grows to the left; RA 0 is at both edges.
    circle = Circle(180.0, 0.0, 10.2)
    assert pixel_box(sky, distance_from(circle)) == ((169, 191), (79, 101))
    pole = pixel_box(sky, distance_from(Circle(0.0, 90.0, 5.5)))
    assert pole == ((0, 360), (174, 180))
    assert pixel_box(sky, distance_from(Circle(0.0, 0.0, 3.0))) == ((0, 360), (87, 93))


def test_a_hammer_aitoff_sky_with_empty_corners_is_searched() -> None:
    sky = image("AIT", (0.0, 0.0), shape=(324, 162), scale=1.0)
    found = pixel_box(sky, distance_from(Circle(0.0, 0.0, 2.0)))
    assert found == ((160, 164), (79, 83))
    assert pixel_box(sky, distance_from(Circle(0.0, 0.0, 180.0))) is not None


def test_a_circle_within_one_pixel_gives_that_pixel() -> None:
    sky = image()
    point = Circle(*in_front(sky, 12.2, 30.9), 0.0)
    assert pixel_box(sky, distance_from(point)) == ((11, 12), (30, 31))


def test_a_circle_around_all_of_the_image_gives_all_of_it() -> None:
    sky = image()
    assert pixel_box(sky, distance_from(Circle(0.0, -80.0, 180.0))) == ((0, 60), (0, 40))


def test_a_circle_beside_a_corner_gives_nothing_although_its_box_meets_the_image() -> None:
    sky = image()
    beside = Circle(*in_front(sky, 65.0, 45.0), 0.01 * 5.5)  # corner (60.5, 40.5) is 6.4 away
    assert pixel_box(sky, distance_from(beside)) is None
    # Radius 6.6 reaches x = 60.5 - ... : the corner pixel alone.
    nearer = Circle(*in_front(sky, 65.0, 45.0), 0.01 * 6.6)
    assert pixel_box(sky, distance_from(nearer)) == ((59, 60), (39, 40))


def test_an_image_over_the_pole_is_cut_around_it() -> None:
    sky = image(centre=(30.0, 90.0), shape=(41, 41))
    assert pixel_box(sky, distance_from(Circle(200.0, 90.0, 0.1))) == ((10, 31), (10, 31))
    ring = Range((0.0, 360.0), (89.946, 90.0))
    assert pixel_box(sky, distance_from(ring)) == ((15, 26), (15, 26))


def test_a_polygon_over_half_the_sky_or_without_area_is_refused() -> None:
    wide = Polygon((Point(0, 0), Point(120, 0), Point(240, 0)))
    with pytest.raises(UsageError, match="half the sky"):
        distance_from(wide)
    with pytest.raises(UsageError, match="no area"):
        distance_from(Polygon((Point(1, 1), Point(1, 1), Point(2, 2))))
