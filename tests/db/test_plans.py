"""What a positional search reads and finds, on the real schema: plans and brute force."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.db.frames import frame
from vo_service.adql import translate
from vo_service.db.catalog import read_catalog
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.frames import FrameStore
from vo_service.db.stream import render
from vo_service.model.region import Point, Polygon, separation
from vo_service.settings import Settings

Vectors = NDArray[np.float64]

#: Frames near the poles, across 0h, and all over the sky; half a degree to three wide.
COUNT = 3000


def unit(ra: Any, dec: Any) -> Vectors:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def degrees(xyz: Vectors) -> tuple[Vectors, Vectors]:
    x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


@dataclass(frozen=True)
class Sky:
    """Centres (COUNT, 3) and corners (COUNT, 4, 3) of square frames, as unit vectors."""

    centres: Vectors
    corners: Vectors

    def holding(self, point: Vectors, slack: float) -> set[str]:
        """Frames whose great-circle edges all have *point* on their inner side."""
        normals = np.cross(self.corners, np.roll(self.corners, -1, axis=1))
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        inner = np.sign(np.einsum("nej,nj->ne", normals, self.centres))
        depth = (np.einsum("nej,j->ne", normals, point) * inner).min(axis=1)
        near = self.centres @ point > 0
        return {str(n) for n in np.flatnonzero((depth > slack) & near)}

    def within(self, point: Vectors, radius: float) -> set[str]:
        """Frames whose centre is within *radius* degrees of *point*."""
        angle = 2 * np.degrees(np.arcsin(np.linalg.norm(self.centres - point, axis=1) / 2))
        return {str(n) for n in np.flatnonzero(angle <= radius)}


def make_sky() -> Sky:
    rng = np.random.default_rng(20200814)
    centres = rng.normal(size=(COUNT, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    third = COUNT // 3
    centres[:third] = unit(rng.uniform(-3, 3, third), rng.uniform(-60, 60, third))
    half = third // 2
    centres[third : third + half] = unit(rng.uniform(0, 360, half), rng.uniform(86, 90, half))
    east = np.cross([0.0, 0.0, 1.0], centres)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(centres, east)
    turn = rng.uniform(0, 2 * np.pi, (COUNT, 1))
    size = np.radians(rng.uniform(0.25, 1.5, (COUNT, 1)))
    a = (east * np.cos(turn) + north * np.sin(turn)) * size
    b = (north * np.cos(turn) - east * np.sin(turn)) * size
    corners = np.stack([centres + a + b, centres - a + b, centres - a - b, centres + a - b], axis=1)
    return Sky(centres, corners / np.linalg.norm(corners, axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def sky(settings: Settings) -> Sky:
    made = make_sky()
    ra, dec = degrees(made.centres)
    corner_ra, corner_dec = degrees(made.corners)
    frames = []
    for n in range(COUNT):
        centre = Point(float(ra[n]), float(dec[n]))
        vertices = tuple(
            Point(float(x), float(y)) for x, y in zip(corner_ra[n], corner_dec[n], strict=True)
        )
        reach = max(separation(centre, vertex) for vertex in vertices)
        frames.append(
            frame(
                str(n),
                obs_id=str(n),
                s_ra=centre.ra,
                s_dec=centre.dec,
                s_fov=2 * reach,
                region=Polygon(vertices),
            )
        )
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        store.register("c", "Title", "", "{}")
        counts, refusals = store.store(frames)
    assert (counts.added, refusals) == (COUNT, [])
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        owner.execute("ANALYZE archive.observation")
    return made


@pytest.fixture(scope="module")
def sql(settings: Settings, sky: Sky) -> Callable[[str], bytes]:
    with engine(settings, Role.READER).connect() as connection:
        catalog = read_catalog(connection)

    def translated(condition: str) -> bytes:
        query = f"SELECT obs_id FROM ivoa.obscore WHERE {condition}"
        return render(translate(query, catalog).select).encode()

    return translated


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Any:
    with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
        yield connection


def partitions(reader: Any, statement: bytes) -> set[str]:
    plan = "\n".join(line for (line,) in reader.execute(b"EXPLAIN " + statement))
    return set(re.findall(r"on observation_(ra_\w+|no_position)", plan))


def found(reader: Any, statement: bytes) -> set[str]:
    return {name for (name,) in reader.execute(statement)}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(155, 10, 0.25))", {"ra_150"}),
        ("1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(150, 10, 0.25))", {"ra_140", "ra_150"}),
        ("1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(0, -30, 2))", {"ra_000", "ra_350"}),
        ("1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(359.9, 60, 1))", {"ra_000", "ra_350"}),
        ("CONTAINS(POINT(s_ra, s_dec), CIRCLE(-0.1, 60, 1))=1", {"ra_000", "ra_350"}),
        ("DISTANCE(POINT(s_ra, s_dec), POINT(155, 10)) < 0.25", {"ra_150"}),
        ("1=INTERSECTS(CIRCLE(155, 10, 15/3600.), s_region)", {"ra_150"}),
        ("1=CONTAINS(POINT(0.5, 10), s_region)", {"ra_000", "ra_350"}),
        ("s_ra BETWEEN 149 AND 150 AND s_dec BETWEEN 69 AND 70", {"ra_140", "ra_150"}),
    ],
)
def test_a_small_search_reads_one_or_two_partitions(
    reader: Any, sql: Callable[[str], bytes], condition: str, expected: set[str]
) -> None:
    assert partitions(reader, sql(condition)) == expected


@pytest.mark.parametrize("condition", [
    "1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(155, 10, 0.25))",
    "1=CONTAINS(POINT(155, 10), s_region)",
    "1=INTERSECTS(s_region, POLYGON(155, 10, 156, 10, 156, 11))",
])  # fmt: skip
def test_the_index_is_used(reader: Any, sql: Callable[[str], bytes], condition: str) -> None:
    reader.execute("SET enable_seqscan = off")
    plan = "\n".join(line for (line,) in reader.execute(b"EXPLAIN " + sql(condition)))
    reader.execute("RESET enable_seqscan")
    assert re.search(r'Index Cond: \(+"?(position|region)"? ', plan), plan


ra = st.floats(0, 360)
dec = st.floats(-90, 90)


@hypothesis_settings(deadline=None, max_examples=150)
@given(ra=ra, dec=dec, radius=st.floats(0.01, 60))
@example(ra=0.0, dec=90.0, radius=2.0)
@example(ra=123.0, dec=89.0, radius=3.0)
@example(ra=360.0, dec=0.0, radius=1.0)
def test_a_cone_finds_the_centres_that_brute_force_finds(
    reader: Any, sql: Callable[[str], bytes], sky: Sky, ra: float, dec: float, radius: float
) -> None:
    got = found(reader, sql(f"1=CONTAINS(POINT(s_ra, s_dec), CIRCLE({ra!r}, {dec!r}, {radius!r}))"))
    point = unit(ra, dec)
    # A micro-arcsecond on either side may go either way.
    assert sky.within(point, radius - 3e-10) <= got <= sky.within(point, radius + 3e-10)


@hypothesis_settings(deadline=None, max_examples=150)
@given(ra=ra, dec=dec)
@example(ra=0.0, dec=90.0)
@example(ra=0.0, dec=0.0)
@example(ra=200.0, dec=88.5)
def test_a_position_finds_the_footprints_that_brute_force_finds(
    reader: Any, sql: Callable[[str], bytes], sky: Sky, ra: float, dec: float
) -> None:
    got = found(reader, sql(f"1=CONTAINS(POINT({ra!r}, {dec!r}), s_region)"))
    point = unit(ra, dec)
    assert sky.holding(point, 1e-11) <= got <= sky.holding(point, -1e-11)


def test_positions_inside_frames_are_never_missed(
    reader: Any, sql: Callable[[str], bytes], sky: Sky
) -> None:
    """Random positions seldom fall on a frame; these do, near its corners too."""
    rng = np.random.default_rng(1)
    for n in rng.integers(0, COUNT, 150):
        weights = rng.dirichlet(np.full(4, 0.3))
        point = weights @ sky.corners[n]
        point /= np.linalg.norm(point)
        x, y = degrees(point)
        got = found(reader, sql(f"1=CONTAINS(POINT({float(x)!r}, {float(y)!r}), s_region)"))
        # The position was rounded on its way through degrees.
        assert sky.holding(point, 1e-11) <= got <= sky.holding(point, -1e-11)
        if str(n) in sky.holding(point, 1e-11):
            assert str(n) in got
