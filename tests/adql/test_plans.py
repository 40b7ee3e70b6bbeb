"""Every positional form is planned well: an index, and bounds on RA that skip partitions.

Joins against other tables and uploads are in `test_joins`, MOCs in `test_moc`.
"""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import pytest
from astropy.coordinates import SkyCoord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adql.sky import FRAMES, Sky

PLACED = [frame for frame in FRAMES if frame.ra is not None]
SKY = SkyCoord([f.ra for f in PLACED], [f.dec for f in PLACED], unit="deg")

CONE = "CIRCLE('ICRS', {ra}, {dec}, 0.25)"
POSITIONAL: list[str] = [
    "1 = CONTAINS(POINT('ICRS', ra, dec), {cone})",
    "CONTAINS(POINT(ra, dec), {cone}) = 1",
    "CONTAINS(POINT({lon}, {lat}), CIRCLE(ra, dec, 15./60)) = 1",
    "DISTANCE(POINT(ra, dec), POINT({lon}, {lat})) < 0.25",
    "0.25 >= DISTANCE({lon}, {lat}, ra, dec)",
    "1 = INTERSECTS({cone}, POINT(ra, dec))",
    "1 = CONTAINS(POINT(ra, dec), BOX({lon}, {lat}, 0.5, 0.5))",
    "1 = CONTAINS(POINT(ra, dec), REGION('CIRCLE ICRS {lon} {lat} 0.25'))",
    "1 = CONTAINS(POINT({lon}, {lat}), outline)",
    "1 = INTERSECTS({cone}, outline)",
    "1 = INTERSECTS(outline, BOX({lon}, {lat}, 0.5, 0.5))",
    "1 = CONTAINS(outline, {cone})",
    "1 = CONTAINS(POINT(ra, dec), POLYGON({west}, {lat}, {east}, {lat}, {lon}, {lat} + 0.3))",
    "1 = INTERSECTS(POLYGON({west}, {lat}, {east}, {lat}, {lon}, {lat} + 0.3), outline)",
    "1 = CONTAINS(outline, POLYGON({west}, {lat}, {east}, {lat}, {lon}, {lat} + 0.3))",
    # No, and far from: what is near on the other side of the sky.
    "0 = CONTAINS(POINT(ra, dec), CIRCLE({lon} + 180, -({lat}), 179.75))",
    "CONTAINS(POINT(ra, dec), CIRCLE({lon} + 180, -({lat}), 179.75)) < 1",
    "DISTANCE(POINT(ra, dec), POINT({lon} + 180, -({lat}))) > 179.75",
    "179.75 <= DISTANCE({lon} + 180, -({lat}), ra, dec)",
    "DISTANCE(POINT(ra, dec), POINT({lon}, {lat})) BETWEEN 0.1 AND 0.25",
    # In other units.
    "DISTANCE(POINT(ra, dec), POINT({lon}, {lat})) * 3600 < 900",
    "15 >= 60 * DISTANCE({lon}, {lat}, ra, dec)",
    "IN_UNIT(DISTANCE({lon}, {lat}, ra, dec), 'arcmin') / 2. <= 7.5",
    # NOT goes inwards.
    "NOT (0 = CONTAINS(POINT(ra, dec), {cone}))",
    "NOT DISTANCE(POINT(ra, dec), POINT({lon}, {lat})) > 0.25",
    "NOT (band = 'q' OR NOT 1 = INTERSECTS({cone}, outline))",
    "NOT (NOT (1 = CONTAINS(POINT(ra, dec), {cone}) AND band < 'q'))",
    # Longitudes as users write them.
    "1 = CONTAINS(POINT(ra, dec), CIRCLE({lon} + 720, {lat}, 0.25))",
    "DISTANCE(POINT(ra, dec), POINT({lon} - 360, {lat})) <= 0.25",
    "(band = 'B' OR band = 'V') AND 1 = CONTAINS(POINT(ra, dec), {cone}) AND mag > 0",
]


def _where(condition: str, lon: float, lat: float) -> str:
    cone = CONE.format(ra=lon, dec=lat)
    return condition.format(cone=cone, lon=lon, lat=lat, west=lon - 0.3, east=lon + 0.3)


@pytest.mark.parametrize("condition", POSITIONAL)
@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        (15, 20, {"frames_010"}),
        (10, 20, {"frames_000", "frames_010"}),
        (0, 0, {"frames_000", "frames_350"}),
        (359.999, -10, {"frames_000", "frames_350"}),
        (-0.1, 5, {"frames_000", "frames_350"}),
    ],
)
def test_plan_reads_two_partitions_at_most(
    sky: Sky, condition: str, lon: float, lat: float, expected: set[str]
) -> None:
    where = _where(condition, lon, lat)
    for query in (
        f"SELECT id FROM test.frames WHERE {where}",
        f"SELECT * FROM (SELECT * FROM test.frames) AS q WHERE {where}",
        f"WITH q AS (SELECT ra, dec, outline, band, mag FROM test.frames) SELECT band FROM q WHERE {where}",
        f"SELECT band FROM test.bands WHERE EXISTS (SELECT * FROM test.frames WHERE {where})",
        f"SELECT band FROM test.bands WHERE band IN (SELECT band FROM test.frames WHERE {where})",
        f"SELECT band FROM test.bands WHERE band NOT IN (SELECT band FROM test.frames WHERE {where})",
        f"SELECT id FROM test.frames WHERE {where} UNION SELECT id FROM test.frames WHERE {where}",
        f"SELECT COUNT(*) FROM test.frames JOIN test.bands USING (band) WHERE {where.replace('band', 'frames.band')}",
    ):
        assert sky.partitions(query) <= expected


@pytest.mark.parametrize("condition", POSITIONAL)
def test_plan_uses_the_index(sky: Sky, condition: str) -> None:
    where = _where(condition, 15, 20)
    plan = sky.plan(f"SELECT id FROM test.frames WHERE {where}")
    assert "Index Scan" in plan
    assert "Index Cond" in plan


def test_plan_at_a_pole_reads_all_partitions_and_finds_all(sky: Sky) -> None:
    condition = "1 = CONTAINS(POINT(ra, dec), CIRCLE(123, 90, 1.5))"
    assert len(sky.partitions(f"SELECT id FROM test.frames WHERE {condition}")) >= 36
    assert sky.frames(condition) == {f.id for f in PLACED if (f.dec or 0) >= 88.5}
    assert len(sky.frames(condition)) == 40


SUBQUERIES = [
    "SELECT id FROM test.targets AS t WHERE EXISTS (SELECT * FROM test.frames AS f WHERE {near})",
    "SELECT id FROM test.targets AS t WHERE NOT EXISTS (SELECT * FROM test.frames AS f WHERE {near})",
    "SELECT id FROM test.targets AS t WHERE t.id IN (SELECT f.id FROM test.frames AS f WHERE {near})",
]


@pytest.mark.parametrize("query", SUBQUERIES)
@pytest.mark.parametrize(
    "near",
    [
        "DISTANCE(POINT(t.ra, t.dec), POINT(f.ra, f.dec)) < 0.5",
        "1 = CONTAINS(POINT(f.ra, f.dec), CIRCLE(t.ra, t.dec, 0.5))",
        "1 = CONTAINS(POINT(t.ra, t.dec), f.outline)",
        "1 = INTERSECTS(CIRCLE(t.ra, t.dec, 0.1), f.outline)",
    ],
)
def test_a_subquery_about_each_row_uses_the_index(sky: Sky, query: str, near: str) -> None:
    plan = sky.plan(query.format(near=near))
    assert "Index Cond" in plan or "Recheck Cond" in plan


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lon=st.floats(-400, 800),
    lat=st.floats(-90, 90),
    radius=st.one_of(st.floats(0, 180), st.floats(170, 180)),
)
def test_no_not_and_farther_are_the_rest_of_the_sky(
    sky: Sky, lon: float, lat: float, radius: float
) -> None:
    place, own = f"POINT({lon!r}, {lat!r})", "POINT(ra, dec)"
    apart = SKY.separation(SkyCoord(lon, lat, unit="deg")).deg
    within = {frame.id for frame, d in zip(PLACED, apart, strict=True) if d < radius}
    # Closer to the edge than a milli-arcsec, either side is right.
    edge = {f.id for f, d in zip(PLACED, apart, strict=True) if abs(d - radius) < 3e-7}
    every = {frame.id for frame in PLACED}
    cone = f"CONTAINS({own}, CIRCLE({place}, {radius!r}))"
    for yes, no in (
        (f"1 = {cone}", f"0 = {cone}"),
        (f"NOT 0 = {cone}", f"NOT 1 = {cone}"),
        (f"DISTANCE({own}, {place}) < {radius!r}", f"DISTANCE({place}, {own}) >= {radius!r}"),
        (
            f"3600 * DISTANCE({own}, {place}) <= {radius * 3600!r}",
            f"IN_UNIT(DISTANCE({own}, {place}), 'arcmin') > {radius * 60!r}",
        ),
        (f"NOT DISTANCE({own}, {place}) > {radius!r}", f"DISTANCE({own}, {place}) > {radius!r}"),
    ):
        assert sky.frames(yes) - edge == within - edge
        assert sky.frames(no) - edge == every - within - edge
