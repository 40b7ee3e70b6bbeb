"""Joins of an upload with the observations: right by brute force, and served by indexes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from tests.uploads.support import Uploads
from vo_service.adql import translate
from vo_service.db.connect import Role, conninfo
from vo_service.db.stream import render
from vo_service.params.upload import UploadSpec
from vo_service.settings import Settings

pytestmark = pytest.mark.anyio

OBSERVATIONS, STARS = 30_000, 300
HALF = 0.2  # degrees from the centre of a frame to each of its corners, along RA and Dec
Array = NDArray[np.float64]

INSERT = """
INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id,
    obs_publisher_did, s_ra, s_dec, s_fov, s_region, position, region)
SELECT n, 2, 'c', n::text, 'ivo://x/~?' || n, ra, dec, 0.6, 'POLYGON ...',
    spoint(radians(ra), radians(dec)),
    (SELECT spoly(spoint(radians(ra + x), radians(dec + y)) ORDER BY i)
     FROM (VALUES (1, -{half}, -{half}), (2, {half}, -{half}), (3, {half}, {half}),
                  (4, -{half}, {half})) v(i, x, y))
FROM unnest(%s::int[], %s::float8[], %s::float8[]) AS t(n, ra, dec)
"""


def sphere(count: int, seed: int) -> tuple[Array, Array]:
    """Positions all over the sky, none within a degree of a pole; some at 0h."""
    random = np.random.default_rng(seed)
    ra = random.uniform(0, 360, count)
    ra[: count // 20] = random.uniform(-0.3, 0.3, count // 20) % 360
    return ra, np.degrees(np.arcsin(random.uniform(-0.999, 0.999, count)))


def vectors(ra: Array, dec: Array) -> Array:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)), axis=-1)


@pytest.fixture(scope="module")
def frames(settings: Settings) -> Iterator[tuple[Array, Array]]:
    ra, dec = sphere(OBSERVATIONS, 1)
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        statement = INSERT.format(half=HALF)
        connection.execute(
            statement.encode(), [list(range(OBSERVATIONS)), ra.tolist(), dec.tolist()]
        )
        connection.execute("UPDATE archive.published SET reach = 0.3 WHERE reach < 0.3 "
                           "AND table_name = 'ivoa.obscore'")  # fmt: skip
        connection.execute("ANALYZE archive.observation")
    yield ra, dec
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("TRUNCATE archive.observation")


@pytest.fixture(scope="module")
def stars() -> tuple[Array, Array]:
    return sphere(STARS, 2)


def csv(stars: tuple[Array, Array], names: str = "ra,dec") -> bytes:
    lines = [
        f"{n},{a!r},{d!r}"
        for n, (a, d) in enumerate(zip(*map(np.ndarray.tolist, stars), strict=True))
    ]
    return ("id," + names + "\n" + "\n".join(lines) + "\n").encode()


def near(stars: tuple[Array, Array], frames: tuple[Array, Array], radius: float) -> set[Any]:
    cosines = vectors(*stars) @ vectors(*frames).T
    apart = np.abs(np.degrees(np.arccos(np.clip(cosines, -1, 1))) - radius)
    assert apart.min() > 1e-7  # no pair so close to the boundary that rounding decides
    star, frame = np.nonzero(cosines > np.cos(np.radians(radius)))
    return set(zip(star.tolist(), map(str, frame.tolist()), strict=True))


def overlapping(stars: tuple[Array, Array], frames: tuple[Array, Array], radius: float) -> set[Any]:
    """Circles that meet frames: the centre inside, or an edge closer than the radius."""
    places = vectors(*stars)
    corners = [
        vectors(frames[0] + x * HALF, frames[1] + y * HALF)
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    inside = np.ones((len(places), len(corners[0])), bool)
    closest = np.full(inside.shape, np.inf)
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        normal = np.cross(start, end)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        height = places @ normal.T  # sine of the distance to the edge's great circle
        inside &= height > 0
        # Over the edge itself where the foot of the height lies between its ends.
        over = (places @ np.cross(normal, start).T > 0) & (places @ np.cross(normal, end).T < 0)
        to_edge = np.where(over, np.abs(np.arcsin(height)), np.inf)
        ends = [np.arccos(np.clip(places @ corner.T, -1, 1)) for corner in (start, end)]
        closest = np.minimum(closest, np.minimum(to_edge, np.minimum(*ends)))
    star, frame = np.nonzero(inside | (closest < np.radians(radius)))
    return set(zip(star.tolist(), map(str, frame.tolist()), strict=True))


JOINS = {
    "cone of the observation": (
        "1 = CONTAINS(POINT(u.ra, u.dec), CIRCLE(o.s_ra, o.s_dec, 0.1))", 0.1
    ),
    "cone of the star": ("1 = CONTAINS(POINT(o.s_ra, o.s_dec), CIRCLE(u.ra, u.dec, 0.2))", 0.2),
    "distance": ("DISTANCE(POINT(u.ra, u.dec), POINT(o.s_ra, o.s_dec)) < 0.3", 0.3),
    "distance of columns": ("DISTANCE(u.ra, u.dec, o.s_ra, o.s_dec) < 0.25", 0.25),
}  # fmt: skip


@pytest.mark.parametrize("which", JOINS)
async def test_a_join_by_distance_finds_the_pairs_of_brute_force(
    uploads: Uploads, frames: tuple[Array, Array], stars: tuple[Array, Array], which: str
) -> None:
    condition, radius = JOINS[which]
    _, rows = await uploads.query(
        f"SELECT u.id, o.obs_id FROM TAP_UPLOAD.t AS u JOIN ivoa.obscore AS o ON {condition}",
        csv(stars),
    )
    expected = near(stars, frames, radius)
    assert len(expected) > 5
    assert {(row["id"], row["obs_id"]) for row in rows} == expected


async def test_a_join_with_footprints_finds_the_pairs_of_brute_force(
    uploads: Uploads, frames: tuple[Array, Array], stars: tuple[Array, Array]
) -> None:
    _, rows = await uploads.query(
        "SELECT u.id, o.obs_id FROM ivoa.obscore AS o JOIN TAP_UPLOAD.t AS u "
        "ON 1 = INTERSECTS(CIRCLE(u.ra, u.dec, 5 / 3600.), o.s_region)",
        csv(stars),
    )
    expected = overlapping(stars, frames, 5 / 3600)
    assert len(expected) > 5
    assert {(row["id"], row["obs_id"]) for row in rows} == expected


async def plan(uploads: Uploads, settings: Settings, content: bytes, condition: str) -> str:
    specs = [UploadSpec("t", "param:p", "p")]
    catalog = await uploads.tap.catalog()
    async with uploads.service.open(specs, {"p": uploads.part(content)}) as schema:
        assert schema is not None
        catalog = dataclasses.replace(catalog, schemas=(*catalog.schemas, schema))
        query = f"SELECT u.id, o.obs_id FROM TAP_UPLOAD.t u JOIN ivoa.obscore o ON {condition}"
        text = render(translate(query, catalog, 10_001).select)
        with psycopg.connect(conninfo(settings, Role.READER)) as connection:
            rows = connection.execute(f"EXPLAIN {text}".encode()).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(
    "condition",
    [
        *(condition for condition, _ in JOINS.values()),
        "1 = INTERSECTS(CIRCLE(u.ra, u.dec, 5 / 3600.), o.s_region)",
    ],
)
async def test_a_join_is_served_by_a_sky_index(
    uploads: Uploads,
    settings: Settings,
    frames: tuple[Array, Array],
    stars: tuple[Array, Array],
    condition: str,
) -> None:
    shown = await plan(uploads, settings, csv(stars), condition)
    assert re.search(r'Index Cond: \(?.*(position|region|"?position"?)', shown), shown


async def test_a_table_without_a_position_can_be_joined_all_the_same(
    uploads: Uploads, frames: tuple[Array, Array], stars: tuple[Array, Array], tmp_path: Path
) -> None:
    _, rows = await uploads.query(
        "SELECT u.id, o.obs_id FROM TAP_UPLOAD.t u JOIN ivoa.obscore o "
        "ON 1 = CONTAINS(POINT(o.s_ra, o.s_dec), CIRCLE(u.lon, u.lat, 0.2))",
        csv(stars, "lon,lat"),
    )
    assert {(row["id"], row["obs_id"]) for row in rows} == near(stars, frames, 0.2)
