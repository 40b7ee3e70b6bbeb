"""Geometry: values by hand, predicates against brute force, and what the planner reads."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.adql.sky import FRAMES, Sky
from vo_service.errors import QueryError

PLACED = [frame for frame in FRAMES if frame.ra is not None]
CENTRES = SkyCoord([f.ra for f in PLACED], [f.dec for f in PLACED], unit="deg")
SLACK = 1e-6  # degrees: closer to an edge than this, either answer is right

SOME = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
longitudes = st.floats(0, 360, exclude_max=True)
latitudes = st.floats(-90, 90)


def near(lon: float, lat: float, radius: float, slack: float = 0.0) -> set[int]:
    """Frames whose position lies within *radius* degrees, worked out by astropy."""
    apart = CENTRES.separation(SkyCoord(lon, lat, unit="deg")).deg
    return {f.id for f, d in zip(PLACED, apart, strict=True) if d <= radius + slack}


def vector(lon: float, lat: float) -> NDArray[np.float64]:
    a, d = math.radians(lon), math.radians(lat)
    return np.array([math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d)])


def sides(corners: list[NDArray[np.float64]], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far inside of each edge of a convex polygon places are, in radians."""
    after = [*corners[1:], corners[0]]
    normals = [np.cross(a, b) for a, b in zip(corners, after, strict=True)]
    inward = np.sign(np.dot(normals[0], sum(corners)))
    return np.array([inward * (places @ n) / np.linalg.norm(n) for n in normals])


CORNERS = np.array([[vector(p.ra, p.dec) for p in frame.corners] for frame in PLACED])
AFTER = np.roll(CORNERS, -1, axis=1)
MIDDLES = CORNERS.sum(axis=1)
NORMALS = np.cross(CORNERS, AFTER)
NORMALS *= np.sign(np.einsum("nc,nec->ne", MIDDLES, NORMALS))[..., None]
NORMALS /= np.linalg.norm(NORMALS, axis=2, keepdims=True)


def numbers(chosen: NDArray[np.bool_]) -> set[int]:
    return {frame.id for frame, ok in zip(PLACED, chosen, strict=True) if ok}


def degrees_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between arrays of unit vectors."""
    return np.asarray(
        np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)))
    )


def holds(place: NDArray[np.float64], slack: float) -> NDArray[np.bool_]:
    inside = (NORMALS @ place).min(axis=1) >= -math.radians(slack)
    return np.asarray(inside & (MIDDLES @ place > 0))


def holders(lon: float, lat: float, slack: float) -> set[int]:
    """Frames whose footprint holds a position, or misses it by less than *slack* degrees."""
    return numbers(holds(vector(lon, lat), slack))


def touched(lon: float, lat: float, radius: float) -> set[int]:
    """Frames whose footprint has a place within *radius* degrees: edges, corners or all of it."""
    place = vector(lon, lat)
    height = NORMALS @ place
    foot = place - height[..., None] * NORMALS
    first, second = (
        np.einsum("nec,nec->ne", np.cross(*pair), NORMALS)
        for pair in ((CORNERS, foot), (foot, AFTER))
    )
    on_edge = first * second > 0
    on_edge &= np.einsum("nec,nec->ne", foot, CORNERS + AFTER) > 0
    edges = np.where(on_edge, np.degrees(np.arcsin(np.minimum(1, np.abs(height)))), 180.0)
    apart = np.minimum(edges, degrees_between(CORNERS, place)).min(axis=1)
    return numbers((apart <= radius) | holds(place, 0.0))


def between(least: set[int], found: set[int], most: set[int]) -> bool:
    return least <= found <= most


@SOME
@given(lon=longitudes, lat=latitudes, radius=st.one_of(st.floats(0, 3), st.floats(0, 180)))
def test_cone_agrees_with_astropy(sky: Sky, lon: float, lat: float, radius: float) -> None:
    found = sky.frames(
        f"1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {lon!r}, {lat!r}, {radius!r}))"
    )
    assert between(near(lon, lat, radius, -SLACK), found, near(lon, lat, radius, SLACK))


@SOME
@given(lon=longitudes, lat=latitudes, radius=st.floats(0.001, 170))
def test_all_spellings_of_a_cone_give_the_same_frames(
    sky: Sky, lon: float, lat: float, radius: float
) -> None:
    place, own, r = f"POINT({lon!r}, {lat!r})", "POINT(ra, dec)", repr(radius)
    spellings = [
        f"1 = CONTAINS({own}, CIRCLE({place}, {r}))",
        f"CONTAINS({own}, CIRCLE({lon!r}, {lat!r}, {r})) = 1",
        f"CONTAINS({own}, CIRCLE({place}, {r})) <> 0",
        f"CONTAINS({place}, CIRCLE({own}, {r})) > 0",
        f"INTERSECTS(CIRCLE({place}, {r}), {own}) = 1",
        f"INTERSECTS({own}, CIRCLE({place}, {r})) = 1",
        f"DISTANCE({own}, {place}) <= {r}",
        f"{r} >= DISTANCE({place}, {own})",
        f"DISTANCE(ra, dec, {lon!r}, {lat!r}) <= {r}",
        f"DISTANCE(ra, dec, {lon!r}, {lat!r}) < {r}",
        f"{r} > DISTANCE({place}, {own})",
        f"NOT (0 = CONTAINS({own}, CIRCLE({place}, {r})))",
        f"CONTAINS({own}, CIRCLE({place}, {r})) + 0 = 1",
        f"DISTANCE({own}, {place}) + 0 <= {r}",
    ]
    least, most = near(lon, lat, radius, -SLACK), near(lon, lat, radius, SLACK)
    for spelling in spellings:
        assert between(least, sky.frames(spelling), most), spelling


@SOME
@given(lon=longitudes, lat=latitudes, radius=st.floats(0.01, 180))
def test_outside_is_everything_else_with_a_position(
    sky: Sky, lon: float, lat: float, radius: float
) -> None:
    cone = f"CONTAINS(POINT(ra, dec), CIRCLE({lon!r}, {lat!r}, {radius!r}))"
    inside = sky.frames(f"{cone} = 1")
    everything = {frame.id for frame in PLACED}
    for outside in (f"{cone} = 0", f"0 = {cone}", f"NOT ({cone} = 1)", f"{cone} <> 1"):
        assert sky.frames(outside) == everything - inside


@SOME
@given(data=st.data(), index=st.integers(0, len(PLACED) - 1))
def test_footprints_that_hold_a_position_agree_with_half_spaces(
    sky: Sky, data: Any, index: int
) -> None:
    frame = PLACED[index]
    assert frame.ra is not None
    assert frame.dec is not None
    lat = max(-90.0, min(90.0, frame.dec + data.draw(st.floats(-0.6, 0.6))))
    lon = (
        (frame.ra + data.draw(st.floats(-0.6, 0.6)) / max(0.01, math.cos(math.radians(lat))))
        % 360
        % 360
    )
    found = sky.frames(f"1 = CONTAINS(POINT({lon!r}, {lat!r}), outline)")
    assert between(holders(lon, lat, -SLACK), found, holders(lon, lat, SLACK))
    assert sky.frames(f"INTERSECTS(outline, POINT({lon!r}, {lat!r})) = 1") == found


@SOME
@given(lon=longitudes, lat=latitudes, radius=st.one_of(st.floats(0.001, 2), st.floats(1, 179)))
def test_footprints_that_overlap_a_circle_agree_with_edge_distances(
    sky: Sky, lon: float, lat: float, radius: float
) -> None:
    region = f"CIRCLE({lon!r}, {lat!r}, {radius!r})"
    found = sky.frames(f"1 = INTERSECTS(outline, {region})")
    assert between(touched(lon, lat, radius - SLACK), found, touched(lon, lat, radius + SLACK))
    assert sky.frames(f"INTERSECTS({region}, outline) = 1") == found


@SOME
@given(lon=longitudes, lat=latitudes, radius=st.floats(0.01, 179))
def test_footprints_inside_of_a_circle_have_their_corners_inside(
    sky: Sky, lon: float, lat: float, radius: float
) -> None:
    farthest = degrees_between(CORNERS, vector(lon, lat)).max(axis=1)
    everything = {frame.id for frame in PLACED}

    def inside(slack: float) -> set[int]:
        if radius <= 90:
            return numbers(farthest <= radius + slack)
        # Inside of a large circle: clear of the circle around the opposite point.
        return everything - touched((lon + 180) % 360, -lat, 180 - radius - slack)

    found = sky.frames(f"1 = CONTAINS(outline, CIRCLE({lon!r}, {lat!r}, {radius!r}))")
    assert between(inside(-SLACK), found, inside(SLACK))


@SOME
@given(
    lon=longitudes,
    lat=latitudes,
    size=st.floats(0.05, 60),
    count=st.integers(3, 9),
    turn=st.floats(0, 6),
    flipped=st.booleans(),
)
def test_polygon_agrees_with_half_spaces(
    sky: Sky, lon: float, lat: float, size: float, count: int, turn: float, flipped: bool
) -> None:
    centre = SkyCoord(lon, lat, unit="deg")
    ring = [
        centre.directional_offset_by((turn + 2 * math.pi * i / count) * u.rad, size * u.deg)
        for i in range(count)
    ]
    angles = [(float(p.ra.deg), float(p.dec.deg)) for p in (reversed(ring) if flipped else ring)]
    corners = [vector(*p) for p in angles]

    places = np.array([vector(f.ra or 0.0, f.dec or 0.0) for f in PLACED])

    def inside(slack: float) -> set[int]:
        return numbers(sides(corners, places).min(axis=0) >= -math.radians(slack))

    text = ", ".join(f"{x!r}, {y!r}" for x, y in angles)
    points = ", ".join(f"POINT({x!r}, {y!r})" for x, y in angles)
    for region in (f"POLYGON({text})", f"POLYGON('ICRS', {points})"):
        found = sky.frames(f"CONTAINS(POINT(ra, dec), {region}) = 1")
        assert between(inside(-SLACK), found, inside(SLACK))


@SOME
@given(lon=longitudes, lat=latitudes, width=st.floats(0.1, 100), height=st.floats(0.1, 100))
def test_box_is_a_rectangle_of_the_tangent_plane(
    sky: Sky, lon: float, lat: float, width: float, height: float
) -> None:
    offsets = CENTRES.transform_to(SkyCoord(lon, lat, unit="deg").skyoffset_frame())
    x, y = offsets.lon.wrap_at(180 * u.deg).rad, offsets.lat.rad

    def inside(slack: float) -> set[int]:
        # Planes at right angles to the arms of the cross: one meridian, one turned by 90 degrees.
        right = np.abs(x) <= math.radians(width / 2 + slack)
        up = np.abs(np.arctan2(np.sin(y), np.cos(y) * np.cos(x))) <= math.radians(
            height / 2 + slack
        )
        return {f.id for f, ok in zip(PLACED, right & up, strict=True) if ok}

    least, most = inside(-SLACK), inside(SLACK)
    box = f"BOX({lon!r}, {lat!r}, {width!r}, {height!r})"
    assert between(least, sky.frames(f"CONTAINS(POINT(ra, dec), {box}) = 1"), most)


def test_a_box_around_each_row_is_the_same_box(sky: Sky) -> None:
    expected = sky.rows("SELECT BOX(10, 20, 2, 1) FROM test.stars WHERE id = 1")[0][0]
    found = sky.rows("SELECT BOX(lon, lat, id + 1, id) FROM test.stars WHERE id = 1")[0][0]
    assert found == pytest.approx(expected, abs=1e-9)
    assert sky.rows("SELECT BOX(lon, lat, 2, 1) FROM test.stars WHERE id = 4") == [(None,)]


#: An expression of constants and its value.
VALUES: list[tuple[str, Any]] = [
    ("POINT(10, -20.5)", [10, -20.5]),
    ("POINT('ICRS', -10, 0)", [350, 0]),
    ("POINT('', 730, 0)", [10, 0]),
    ("CIRCLE('icrs', 10, 20, 1.5)", [10, 20, 1.5]),
    ("CIRCLE(POINT(10, 20), 120)", [10, 20, 120]),
    ("POLYGON(1, 2, 3, 4, 1, 6)", [1, 2, 3, 4, 1, 6]),
    ("REGION('POLYGON ICRS 1 2 3 4 1 6')", [1, 2, 3, 4, 1, 6]),
    ("REGION('circle 10 20 1e0')", [10, 20, 1]),
    ("REGION('Position ICRS SPHERICAL2 10 20')", [10, 20]),
    ("CAST('10 20' AS POINT)", [10, 20]),
    ("CAST('10 20 1' AS CIRCLE)", [10, 20, 1]),
    ("CENTROID(POINT(1, 2))", [1, 2]),
    ("CENTROID(CIRCLE(1, 2, 3))", [1, 2]),
    # The octant between the axes: its centre has equal angles with all three.
    ("CENTROID(POLYGON(0, 0, 90, 0, 0, 90))", [45, math.degrees(math.asin(1 / math.sqrt(3)))]),
    ("CENTROID(POLYGON(0, 90, 90, 0, 0, 0))", [45, math.degrees(math.asin(1 / math.sqrt(3)))]),
    ("CENTROID(BOX(350, 40, 4, 6))", [350, 40]),
    ("AREA(POINT(1, 2))", 0),
    ("AREA(CIRCLE(1, 2, 180))", 360**2 / math.pi),
    ("AREA(CIRCLE(1, 2, 60))", 360**2 / math.pi / 4),
    ("AREA(POLYGON(0, 0, 90, 0, 0, 90))", 360**2 / math.pi / 8),
    ("COORD1(POINT(-10, 20))", 350),
    ("COORD2(CENTROID(CIRCLE(1, 2, 3)))", 2),
    ("COORDSYS(POINT(1, 2))", "ICRS"),
    ("DISTANCE(POINT(0, 0), POINT(90, 45))", 90),
    ("DISTANCE(10, 80, 190, 80)", 20),
    ("CONTAINS(POINT(0, 0), CIRCLE(0, 10, 10))", 1),
    ("CONTAINS(POINT(0, 0), CIRCLE(0, 10, 9.9999))", 0),
    ("CONTAINS(CIRCLE(0, 0, 1), CIRCLE(0, 1, 2.1))", 1),
    ("CONTAINS(CIRCLE(0, 0, 1), CIRCLE(0, 1, 1.9))", 0),
    ("CONTAINS(CIRCLE(0, 0, 10), CIRCLE(180, 0, 169))", 0),
    ("CONTAINS(CIRCLE(0, 0, 10), CIRCLE(90, 0, 101))", 1),
    ("CONTAINS(CIRCLE(0, 0, 100), CIRCLE(90, 0, 180))", 1),
    ("CONTAINS(CIRCLE(0, 0, 100), POLYGON(0, 0, 90, 0, 0, 90))", 0),
    ("CONTAINS(CIRCLE(30, 30, 1), POLYGON(0, 0, 90, 0, 0, 90))", 1),
    ("CONTAINS(POLYGON(1, 1, 2, 1, 2, 2), POLYGON(0, 0, 90, 0, 0, 90))", 1),
    ("CONTAINS(POLYGON(1, 1, 2, 1, 2, 2), CIRCLE(180, 0, 175))", 0),
    ("CONTAINS(POLYGON(1, 1, 2, 1, 2, 2), CIRCLE(180, 0, 179))", 1),
    ("CONTAINS(POLYGON(31, 1, 32, 1, 32, 2), CIRCLE(180, 0, 150.5))", 1),
    ("CONTAINS(POINT(1, 1), POINT(1, 1))", 1),
    ("CONTAINS(CIRCLE(1, 1, 1), POINT(1, 1))", 0),
    ("INTERSECTS(CIRCLE(0, 0, 1), CIRCLE(3, 0, 1))", 0),
    ("INTERSECTS(CIRCLE(0, 0, 1), CIRCLE(3, 0, 2.01))", 1),
    ("INTERSECTS(CIRCLE(0, 0, 100), CIRCLE(180, 0, 70))", 0),
    ("INTERSECTS(CIRCLE(0, 0, 100), CIRCLE(180, 0, 85))", 1),
    ("INTERSECTS(CIRCLE(0, 0, 100), POLYGON(170, 1, 172, 1, 172, 2))", 0),
    ("INTERSECTS(POLYGON(99, 1, 172, 1, 172, 2), CIRCLE(0, 0, 100))", 1),
    ("INTERSECTS(POLYGON(0, 0, 2, 0, 1, 2), BOX(1, 1, 0.1, 9))", 1),
    ("INTERSECTS(POINT(0, 0), POLYGON(0, 0, 2, 0, 1, 2))", 1),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[e for e, _ in VALUES])
def test_geometry_has_value(sky: Sky, expression: str, value: Any) -> None:
    found = sky.value(expression)
    if isinstance(value, str):
        assert found == value
    else:
        assert found == pytest.approx(value, abs=1e-9)


def test_columns_that_are_geometries_work_like_any_other(sky: Sky) -> None:
    query = (
        "SELECT place, disc, COORD1(place), AREA(disc), CENTROID(disc) FROM test.stars WHERE id = 2"
    )
    place, disc, lon, area, centre = sky.rows(query)[0]
    assert place == pytest.approx([10.1, 20])
    assert disc == pytest.approx([10.1, 20, 1])
    assert centre == pytest.approx([10.1, 20])
    assert lon == pytest.approx(10.1)
    assert area == pytest.approx(
        2 * math.pi * (1 - math.cos(math.radians(1))) * math.degrees(1) ** 2
    )
    assert sky.rows("SELECT place, disc, COORDSYS(place) FROM test.stars WHERE id=4") == [
        (None, None, None)
    ]
    assert sky.column(
        "SELECT id FROM test.stars WHERE CONTAINS(POINT(10.5, 20), disc) = 1 ORDER BY id"
    ) == [1, 2]


def test_footprint_has_the_area_and_centre_of_its_square(sky: Sky) -> None:
    # Solid angle of a square of half-size h: 4 asin(sin(h)**2) in the limit of its tangent plane.
    half = math.radians(0.3)
    solid = 4 * math.asin(math.tan(half) ** 2 / (1 + math.tan(half) ** 2))
    for frame_id, area, centre in sky.rows(
        "SELECT id, AREA(outline), CENTROID(outline) FROM test.frames WHERE outline IS NOT NULL"
    ):
        frame = FRAMES[frame_id]
        assert area == pytest.approx(solid * math.degrees(1) ** 2, rel=1e-6)
        apart = SkyCoord(*centre, unit="deg").separation(SkyCoord(frame.ra, frame.dec, unit="deg"))
        assert apart.arcsec < 1e-4


def test_polygon_column_leaves_as_degrees(sky: Sky) -> None:
    query = "SELECT POLYGON(lon, lat, lon + 1, lat, lon, lat + 1) FROM test.stars WHERE id IN (1, 4) ORDER BY id"
    assert sky.column(query) == [[10, 20, 11, 20, 10, 21], None]


def test_geometry_survives_subqueries_and_with(sky: Sky) -> None:
    cone = "CONTAINS(POINT(q.ra, q.dec), CIRCLE(10, 20, 0.5)) = 1"
    pin = "CONTAINS(POINT(10, 20), q.outline) = 1"
    for condition in (cone, pin):
        plain = set(sky.column(f"SELECT id FROM test.frames AS q WHERE {condition}"))
        assert plain
        inner = "SELECT id, outline, dec, ra FROM test.frames"
        assert set(sky.column(f"SELECT id FROM ({inner}) AS q WHERE {condition}")) == plain
        assert set(sky.column(f"WITH q AS ({inner}) SELECT id FROM q WHERE {condition}")) == plain
    query = (
        "SELECT COORD1(p), p FROM (SELECT POINT(lon, lat) AS p FROM test.stars WHERE id = 1) AS q"
    )
    assert sky.rows(query) == [(pytest.approx(10), pytest.approx([10, 20]))]


def test_outer_join_keeps_rows_without_a_match(sky: Sky) -> None:
    query = (
        "SELECT b.band, f.id FROM test.bands AS b LEFT JOIN test.frames AS f "
        "ON 1 = CONTAINS(POINT(f.ra, f.dec), CIRCLE(300, 80, 0.0001))"
    )
    assert sorted(sky.rows(query)) == [("B", None), ("V", None), ("z", None)]


#: What is wrong with a geometry before any row is read.
WRONG: list[tuple[str, str]] = [
    ("POINT(0, 91)", "latitude 91"),
    ("POINT(ra, -90.5)", "latitude -90.5"),
    ("POINT('GALACTIC', 0, 0)", "coordinate system"),
    ("POINT(1)", "expected 2 to 3 arguments, found 1"),
    ("POINT('ICRS', 1)", "expected a longitude and a latitude"),
    ("POINT('ICRS', 1, 2, 3)", "expected 2 to 3 arguments, found 4"),
    ("POINT('x' || 'y', 1, 2)", "expected a longitude and a latitude"),
    ("POINT(band, 1)", "expected a number, found a string"),
    ("CIRCLE(0, 0, -1)", "radius -1"),
    ("CIRCLE(0, 0, 180.1)", "radius 180.1"),
    ("CIRCLE(POINT(0, 0), POINT(0, 0))", "expected a number, found a point"),
    ("CIRCLE(CIRCLE(0, 0, 1), 1)", "expected a point, found a circle"),
    ("POLYGON(0, 0, 1, 1)", "at least three"),
    ("POLYGON(0, 0, 1, 1, 2)", "pairs"),
    ("POLYGON(0, 0, 1, 1, 0, 0, 1, 1)", "cross or overlap"),
    ("POLYGON(0, 0, 10, 10, 10, 0, 0, 10)", "cross or overlap"),
    ("POLYGON(0, 0, 10, 0, 5, 0)", "cross or overlap"),
    ("POLYGON(0, 0, 120, 0, 240, 0)", "hemisphere"),
    ("POLYGON(0, 0, 1, 1, 2, POINT(0, 1))", "expected a number, found a point"),
    ("BOX(0, 0, 0, 1)", "width 0"),
    ("BOX(0, 0, 1, 180)", "height 180"),
    ("REGION('UNION (CIRCLE 1 2 3)')", "cannot be read"),
    ("REGION('CIRCLE GALACTIC 1 2 3')", "coordinate system"),
    ("REGION('CIRCLE 1 2')", "2 numbers"),
    ("REGION(band)", "string literal"),
    ("CAST('1 2 3' AS POINT)", "3 numbers"),
    ("CAST('a b' AS POINT)", "no list of numbers"),
    ("CENTROID(1)", "expected a geometry, found a number"),
    ("DISTANCE(CIRCLE(0, 0, 1), POINT(0, 0))", "expected a point, found a circle"),
    ("COORD1(outline)", "expected a point, found a polygon"),
    ("DISTANCE(0, 0, 0)", "expected a point, or a longitude and a latitude"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "reason"), WRONG, ids=[e for e, _ in WRONG])
def test_wrong_geometry_is_refused_before_the_database_sees_it(
    sky: Sky, expression: str, reason: str
) -> None:
    with pytest.raises(QueryError) as caught:
        sky.translated(f"SELECT {expression} FROM test.frames")
    assert reason in caught.value.message
    assert (caught.value.line, caught.value.column) >= (1, 8)


def _nested(wrap: Callable[[str], str], levels: int) -> str:
    text = "POINT(lon, lat)"
    for _ in range(levels):
        text = wrap(text)
    return text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inside: f"CENTROID(BOX({inside}, 1, 1))",
        lambda inside: f"CENTROID(POLYGON({inside}, POINT(1, 2), POINT(3, 4)))",
        lambda inside: f"CENTROID(CIRCLE({inside}, 120))",
    ],
)
def test_nested_geometry_does_not_multiply(sky: Sky, wrap: Callable[[str], str]) -> None:
    query = f"SELECT COORD1({_nested(wrap, 2)}) FROM test.stars"
    assert len(str(sky.translated(query).select)) < 12_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e300", "1e-300", "-1e17"])
@pytest.mark.parametrize(
    "expression",
    [
        "POINT({x}, lat)",
        "POINT(lon, {x})",
        "CIRCLE(lon, lat, {x})",
        "CIRCLE({x}, {x}, 1)",
        "BOX(lon, lat, {x}, 1)",
        "BOX({x}, lat, 1, 1)",
        "POLYGON(lon, lat, {x}, 1, 2, {x})",
        "CENTROID(POLYGON(lon, lat, {x}, 1, 2, 3))",
        "CENTROID(POLYGON(lon, lat, 1, 1, {x}, 3))",
        "AREA(POLYGON(POINT({x}, 0), POINT(0, 0), POINT(1, {x})))",
        "CONTAINS(POINT({x}, {x}), CIRCLE(lon, lat, 1))",
        "CONTAINS(POINT(lon, {x}), POLYGON(lon, lat, 1, 1, 2, 3))",
        "INTERSECTS(CIRCLE({x}, lat, 1), POLYGON(lon, lat, 1, 1, 2, 3))",
        "INTERSECTS(BOX(lon, lat, {x}, {x}), CIRCLE(lon, {x}, 120))",
        "DISTANCE({x}, {x}, lon, lat)",
    ],
)
def test_numbers_that_are_none_do_not_bring_the_server_down(
    sky: Sky, expression: str, number: str
) -> None:
    computed = expression.format(x=f"CAST('{number}' AS DOUBLE PRECISION)")
    nulls = expression.format(x="(lon + NULL)")
    for text in (computed, nulls):
        with contextlib.suppress(psycopg.DataError, psycopg.errors.InternalError_):
            sky.rows(f"SELECT {text} FROM test.stars")
    assert sky.value("1") == 1
