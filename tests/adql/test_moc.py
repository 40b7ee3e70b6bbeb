"""MOCs: literal, computed, uploaded and in a column; against healpy, and what is planned."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import math

import healpy
import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.adql.sky import FRAMES, Sky
from vo_service.adql.moc import Moc, read
from vo_service.model.region import ra_windows

PLACED = [frame for frame in FRAMES if frame.ra is not None]
LON = np.array([f.ra for f in PLACED])
LAT = np.array([f.dec for f in PLACED])
CORNERS = np.array([[(p.ra, p.dec) for p in frame.corners] for frame in PLACED])

SOME = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def mocs(draw: st.DrawFn) -> str:
    """ASCII MOCs of cells around frames, so that something is found, of one order or two."""
    order = draw(st.integers(0, 8))
    chosen = draw(st.lists(st.integers(0, len(PLACED) - 1), max_size=6))
    cells = {int(healpy.ang2pix(2**order, LON[i], LAT[i], nest=True, lonlat=True)) for i in chosen}
    coarse = draw(st.lists(st.integers(0, 47), max_size=2))
    return f"1/{','.join(map(str, coarse))} {order}/{','.join(map(str, cells))}"


def covered(text: str, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Whether positions lie in a MOC, cell by cell."""
    inside = np.zeros(np.shape(lon), bool)
    for order, first, last in read(text).ranges:
        found = healpy.ang2pix(2**order, lon, lat, nest=True, lonlat=True)
        inside |= (found >= first) & (found <= last)
    return inside


def numbers(chosen: np.ndarray) -> set[int]:
    return {frame.id for frame, yes in zip(PLACED, chosen, strict=True) if yes}


@SOME
@given(text=mocs())
@example(text="")
@example(text="0/0-11")
@example(text="29/")
def test_points_in_a_moc_are_those_of_healpy(sky: Sky, text: str) -> None:
    expected = numbers(covered(text, LON, LAT))
    for condition in (
        f"1 = CONTAINS(POINT(ra, dec), MOC('{text}'))",
        f"INTERSECTS(MOC('{text}'), POINT(ra, dec)) = 1",
        f"0 < CONTAINS(POINT(ra + 0, dec + 0), MOC('{text}'))",
    ):
        assert sky.frames(condition) == expected
    everything = {frame.id for frame in PLACED}
    assert sky.frames(f"0 = CONTAINS(POINT(ra, dec), MOC('{text}'))") == everything - expected


@SOME
@given(text=mocs())
def test_footprints_that_overlap_a_moc_hold_its_cells(sky: Sky, text: str) -> None:
    """Frames with a corner or their centre in a cell overlap it; those far from all do not."""
    found = sky.frames(f"1 = INTERSECTS(outline, MOC('{text}'))")
    assert sky.frames(f"INTERSECTS(MOC('{text}'), outline) = 1") == found
    touching = covered(text, LON, LAT) | covered(text, *CORNERS.transpose(2, 0, 1)).any(axis=1)
    assert numbers(touching) <= found
    for order, first, last in read(text).ranges:
        cells = np.arange(first, last + 1)
        centres = np.array(healpy.pix2vec(2**order, cells, nest=True))
        frames = healpy.ang2vec(LON, LAT, lonlat=True)
        apart = np.degrees(np.arccos(np.clip(frames @ centres, -1, 1))).min(axis=1)
        # A frame's half diagonal is 0.43; what is compared are cells of a minute of arc.
        near = apart <= 0.43 + 0.02 + healpy.max_pixrad(2**order, degrees=True)
        touching |= near
    assert found <= numbers(touching)


@SOME
@given(text=mocs())
def test_footprints_inside_of_a_moc_have_all_corners_in_it(sky: Sky, text: str) -> None:
    found = sky.frames(f"1 = CONTAINS(outline, MOC('{text}'))")
    corners = covered(text, *CORNERS.transpose(2, 0, 1)).all(axis=1)
    assert found <= numbers(corners & covered(text, LON, LAT))


def test_footprints_well_inside_of_a_moc_are_found(sky: Sky) -> None:
    # The southern cells of order 0 hold all that lies south of -42 degrees.
    assert sky.frames("1 = CONTAINS(outline, MOC('0/8-11'))") >= {
        f.id for f in PLACED if f.dec is not None and f.dec < -45
    }


@SOME
@given(text=mocs(), margin=st.floats(0, 2))
def test_no_position_of_a_moc_lies_outside_of_its_windows(text: str, margin: float) -> None:
    moc = read(text)
    windows = moc.ra_windows(margin)
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    inside = lon[covered(text, lon, lat)]
    if windows is not None:
        assert all(any(low <= x <= high for low, high in windows) for x in inside)
    for circle in moc.circles():
        assert circle.radius > 0
    places = healpy.ang2vec(lon, lat, lonlat=True)[covered(text, lon, lat)]
    centres = np.array([healpy.ang2vec(c.ra, c.dec, lonlat=True) for c in moc.circles()])
    if len(places):
        apart = np.degrees(np.arccos(np.clip(places @ centres.T, -1, 1)))
        assert (apart <= [c.radius for c in moc.circles()]).any(axis=1).all()


def test_windows_of_one_cell_are_those_of_its_circle() -> None:
    moc = Moc(((5, 1024, 1024),), 5)
    (circle,) = moc.circles()
    assert moc.ra_windows(0.5) == ra_windows(circle, 0.5)


@pytest.mark.parametrize("condition", [
    "1 = CONTAINS(POINT(ra, dec), MOC('8/{cell}'))",
    "1 = INTERSECTS(outline, MOC('8/{cell}'))",
    "CONTAINS(outline, MOC('8/{cell}')) = 1",
])  # fmt: skip
@pytest.mark.parametrize(
    ("lon", "partitions"), [(15.0, {"frames_010"}), (0.0, {"frames_000", "frames_350"})]
)
def test_a_small_moc_reads_few_partitions_through_the_index(
    sky: Sky, condition: str, lon: float, partitions: set[str]
) -> None:
    cell = healpy.ang2pix(2**8, lon, 20.0, nest=True, lonlat=True)
    query = f"SELECT id FROM test.frames WHERE {condition.format(cell=cell)}"
    assert sky.partitions(query) <= partitions
    assert "Index Cond" in sky.plan(query)


def test_mocs_of_two_fields_read_the_partitions_of_both(sky: Sky) -> None:
    cells = [healpy.ang2pix(2**8, lon, 20.0, nest=True, lonlat=True) for lon in (15.0, 205.0)]
    query = f"SELECT id FROM test.frames WHERE 1 = CONTAINS(POINT(ra, dec), MOC('8/{cells[0]},{cells[1]}'))"
    assert sky.partitions(query) == {"frames_010", "frames_200"}


def test_a_moc_leaves_as_text(sky: Sky) -> None:
    for query in (
        "SELECT MOC('4/30-33') AS m FROM test.bands",
        "SELECT m FROM (SELECT MOC('4/30-33') AS m FROM test.bands) AS q",
        "SELECT DISTINCT MOC('4/30-33') AS m FROM test.bands",
    ):
        translation = sky.translated(query)
        (field,) = translation.fields
        assert (field.datatype, field.arraysize, field.xtype) == ("char", "*", "moc")
        assert set(sky.column(query)) == {"4/30-33"}


def test_columns_of_mocs_work_as_smoc_and_as_text(sky: Sky) -> None:
    """cover is kept as smoc, told (as an upload would be) as text."""
    for column in ("cover", "told"):
        assert sky.column(
            f"SELECT id FROM test.coverage WHERE 1 = CONTAINS(POINT(30, 0), {column})"
        ) == [2]
        assert sky.column(
            f"SELECT id FROM test.coverage WHERE INTERSECTS({column}, CIRCLE(30, 1, 0.1)) = 1"
        ) == [2]
        assert sky.column(
            f"SELECT id FROM test.coverage WHERE INTERSECTS({column}, MOC('0/4')) = 1"
        ) == [2]
        assert sky.column(f"SELECT {column} FROM test.coverage ORDER BY id") == [
            "1/0",
            "1/17",
            None,
        ]
        joined = f"SELECT f.id FROM test.frames f JOIN test.coverage c ON 1 = CONTAINS(POINT(f.ra, f.dec), c.{column}) WHERE c.id = 2"
        assert set(sky.column(joined)) == numbers(covered("1/17", LON, LAT))
    area = sky.column("SELECT AREA(cover) FROM test.coverage WHERE id = 1")
    assert area == [pytest.approx(360**2 / math.pi / 48)]


def test_a_broken_moc_of_an_upload_is_a_data_error(sky: Sky) -> None:
    query = "SELECT c.id FROM test.coverage c JOIN test.broken b ON 1 = INTERSECTS(c.cover, b.told)"
    with pytest.raises(psycopg.DataError):
        sky.rows(query)


@pytest.mark.parametrize("lon", [0.0, 90.0, 180.0, 270.0, 360.0])
@pytest.mark.parametrize("lat", [-60.0, -30.0, 30.0, 60.0, 89.0])
def test_positions_on_the_edges_of_the_base_cells_are_in_one_of_both(
    sky: Sky, lon: float, lat: float
) -> None:
    """pgSphere itself puts them into a cell on the other side of the sky."""
    both = {int(healpy.ang2pix(1, lon + d, lat, nest=True, lonlat=True)) for d in (-1e-6, 1e-6)}
    assert sky.value(f"ivo_healpix_index(0, {lon}, {lat})") in both
    text = ",".join(map(str, both))
    assert sky.value(f"CONTAINS(POINT({lon}, {lat}), MOC('0/{text}'))") == 1
    assert sky.value(f"CONTAINS(MOC(0, POINT({lon}, {lat})), MOC('0/{text}'))") == 1
