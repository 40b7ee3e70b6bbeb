"""What a search for images reads and finds, on the real schema: plans and brute force."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.db.test_plans import Sky, degrees, found, partitions, unit
from vo_service.adql import translate
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.stream import render
from vo_service.model.stencil import Range
from vo_service.params.sia2 import parse_image_search
from vo_service.services.sia2 import image_query
from vo_service.settings import Settings

Sql = Callable[..., bytes]

#: Every so many frames are compared with brute force, which takes its time.
LOOKED_AT = 12


@pytest.fixture(scope="module")
def sql(settings: Settings, sky: Sky) -> Sql:
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        owner.execute("UPDATE archive.observation SET dataproduct_type = 'image'")
        owner.execute("ANALYZE archive.observation")
    with engine(settings, Role.READER).connect() as connection:
        catalog = read_catalog(connection)

    def translated(**parameters: str) -> bytes:
        search = parse_image_search(parameters.items(), maxrec_default=10_000, maxrec_limit=10_000)
        text = render(translate(image_query(search), catalog).select)
        return re.sub(r"SELECT .*?FROM", "SELECT obs_id FROM", text, count=1, flags=re.S).encode()

    return translated


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Any:
    with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"POS": "CIRCLE 155 10 0.25"}, {"ra_150"}),
        ({"POS": "CIRCLE 0 -30 2"}, {"ra_000", "ra_350"}),
        ({"POS": "CIRCLE 359.9 60 0.5"}, {"ra_000", "ra_350"}),
        ({"POS": "RANGE 154 156 9 11"}, {"ra_150"}),
        ({"POS": "RANGE 356 360 -1 1"}, {"ra_000", "ra_350"}),
        ({"POS": "RANGE 0 2 40 41"}, {"ra_000", "ra_350"}),
        ({"POS": "POLYGON 154 10 156 10 155 11"}, {"ra_150"}),
        ({"POS": "POLYGON 359 -1 1 -1 0 1"}, {"ra_000", "ra_350"}),
        ({"MOC": "6/16384"}, {"ra_040"}),
    ],
)
def test_a_small_search_reads_one_or_two_partitions(
    reader: Any, sql: Sql, parameters: dict[str, str], expected: set[str]
) -> None:
    read = {name.removesuffix("_region_idx") for name in partitions(reader, sql(**parameters))}
    if "POS" in parameters:
        assert read == expected
    assert len(read) <= 2


@pytest.mark.parametrize("region", ["CIRCLE 12 90 1", "RANGE 0 360 89 90", "RANGE 10 20 85 90"])
def test_at_a_pole_no_partition_with_positions_is_left_out(
    reader: Any, sql: Sql, region: str
) -> None:
    read = {name.removesuffix("_region_idx") for name in partitions(reader, sql(POS=region))}
    assert len(read - {"no_position"}) == 36


@pytest.mark.parametrize(
    "region", ["CIRCLE 155 10 0.25", "RANGE 154 156 9 11", "POLYGON 154 10 156 10 155 11"]
)
def test_the_index_of_footprints_is_used(reader: Any, sql: Sql, region: str) -> None:
    reader.execute("SET enable_seqscan = off")
    plan = "\n".join(line for (line,) in reader.execute(b"EXPLAIN " + sql(POS=region)))
    reader.execute("RESET enable_seqscan")
    assert re.search(r'Index Cond: \(+"?region"? ', plan), plan


def test_the_statement_is_that_of_the_same_search_by_tap(settings: Settings, sql: Sql) -> None:
    with engine(settings, Role.READER).connect() as connection:
        catalog = read_catalog(connection)
    query = (
        "SELECT * FROM ivoa.obscore WHERE dataproduct_type IN ('image', 'cube') "
        "AND INTERSECTS(CIRCLE(155.0, 10.0, 0.25), s_region) = 1 AND em_min <= 6e-7 "
        "AND em_max >= 5e-7"
    )
    search = parse_image_search(
        [("POS", "CIRCLE 155 10 0.25"), ("BAND", "5e-7 6e-7")],
        maxrec_default=10, maxrec_limit=10,
    )  # fmt: skip
    ours, theirs = translate(image_query(search), catalog, 11), translate(query, catalog, 11)
    assert render(ours.select) == render(theirs.select)
    assert ours.fields == theirs.fields


def inside(lon: Any, lat: Any, area: Range, slack: float) -> Any:
    """Which positions lie in a range that is *slack* degrees wider (on the sky) on each side."""
    across = slack / np.maximum(np.cos(np.radians(np.minimum(np.abs(lat) + 1e-9, 89.99))), 1e-6)
    (west, east), (low, high) = area.lon, area.lat
    middle, half = (west + east) / 2, (east - west) / 2
    away = np.abs((lon - middle + 180) % 360 - 180)
    return (away <= np.minimum(half + across, 180.0)) & (lat >= low - slack) & (lat <= high + slack)


def frames_in(sky: Sky, area: Range, *, wider: float) -> set[str]:
    """Frames (enlarged about their centre) of which some of 25 x 25 places lie in a range."""
    u, v = np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 25))
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=-1).reshape(-1, 4)
    corners, centres = sky.corners[::LOOKED_AT], sky.centres[::LOOKED_AT, None]
    places = np.einsum("pk,nkj->npj", weights, corners)
    places = centres + (places - centres) * (1 + wider)
    lon, lat = degrees(places / np.linalg.norm(places, axis=-1, keepdims=True))
    hit = inside(lon, lat, area, 10 * wider).any(axis=1)
    return {str(n * LOOKED_AT) for n in np.flatnonzero(hit)}


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    ra=st.floats(0, 360), dec=st.floats(-90, 90),
    width=st.sampled_from([0.0, 2.0, 30.0, 200.0, 360.0]), height=st.floats(0, 20),
)  # fmt: skip
@example(ra=0.0, dec=70.0, width=360.0, height=20.0)
@example(ra=350.0, dec=88.0, width=10.0, height=2.0)
@example(ra=0.0, dec=-90.0, width=200.0, height=3.0)
@example(ra=10.0, dec=-5.0, width=30.0, height=10.0)
@example(ra=0.0, dec=-90.0, width=360.0, height=20.0)
def test_a_range_finds_the_frames_that_brute_force_finds(
    reader: Any,
    sql: Sql,
    sky: Sky,
    ra: float,
    dec: float,
    width: float,
    height: float,
) -> None:
    west = min(ra, 360.0 - width)
    area = Range((west, west + width), (dec, min(dec + height, 90.0)))
    numbers = " ".join(repr(number) for number in (*area.lon, *area.lat))
    got = {n for n in found(reader, sql(POS=f"RANGE {numbers}")) if int(n) % LOOKED_AT == 0}
    assert frames_in(sky, area, wider=0.0) <= got
    # Enlarged by what lies between two of the places that are looked at, and by its border.
    assert got <= frames_in(sky, area, wider=0.06)


@hypothesis_settings(deadline=None, max_examples=60)
@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), radius=st.floats(0.01, 20))
@example(ra=0.0, dec=90.0, radius=2.0)
@example(ra=360.0, dec=0.0, radius=1.0)
def test_a_circle_finds_the_frames_that_brute_force_finds(
    reader: Any,
    sql: Sql,
    sky: Sky,
    ra: float,
    dec: float,
    radius: float,
) -> None:
    point = unit(ra, dec)
    got = found(reader, sql(POS=f"CIRCLE {ra!r} {dec!r} {radius!r}"))
    near = np.degrees(distances(sky, point))
    assert {str(n) for n in np.flatnonzero(near <= radius - 1e-7)} <= got
    assert got <= {str(n) for n in np.flatnonzero(near <= radius + 1e-7)}


def distances(sky: Sky, point: Any) -> Any:
    """Angle from a point to each frame: to the nearest place of its edges, 0 from within."""
    start, end = sky.corners, np.roll(sky.corners, -1, axis=1)
    normal = np.cross(start, end)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    foot = point - np.einsum("nej,j->ne", normal, point)[..., None] * normal
    foot /= np.linalg.norm(foot, axis=-1, keepdims=True)
    between = (np.einsum("nej,nej->ne", np.cross(start, foot), normal) >= 0) & (
        np.einsum("nej,nej->ne", np.cross(foot, end), normal) >= 0
    )
    to_line = 2 * np.arcsin(np.linalg.norm(foot - point, axis=-1) / 2)
    to_ends = 2 * np.arcsin(np.minimum(np.linalg.norm(start - point, axis=-1) / 2, 1))
    nearest = np.minimum(np.where(between, to_line, np.inf), to_ends).min(axis=1)
    within = sky.holding(point, 0.0)
    nearest[[int(n) for n in within]] = 0.0
    return nearest
