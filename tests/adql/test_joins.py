"""Joins by position: table with table and with an upload; right everywhere, and by an index."""
# ruff: noqa: E501 - a query reads best on one line

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from tests.adql.sky import FRAMES, TARGETS, Sky

PLACED = [frame for frame in FRAMES if frame.ra is not None]
SKY = SkyCoord([f.ra for f in PLACED], [f.dec for f in PLACED], unit="deg")
PLACES = SkyCoord([t.ra % 360 for t in TARGETS], [t.dec for t in TARGETS], unit="deg")
#: Targets by frames, in degrees.
APART = np.array([place.separation(SKY).deg for place in PLACES])
SIZES = np.array([t.radius for t in TARGETS])
Pairs = set[tuple[int, int]]

T, F = "POINT(t.ra, t.dec)", "POINT(f.ra, f.dec)"


def closer(limit: float | np.ndarray) -> Pairs:
    """Pairs of target and frame at most so many degrees apart, by astropy."""
    return {(int(i), PLACED[j].id) for i, j in zip(*np.nonzero(limit >= APART), strict=True)}


def pairs(sky: Sky, condition: str, upload: str = "tap_upload.targets") -> Pairs:
    query = f"SELECT t.id, f.id FROM {upload} t JOIN test.frames f ON {condition}"
    comma = f"SELECT t.id, f.id FROM test.frames f, {upload} t WHERE {condition}"
    found = sky.rows(query)
    assert sorted(found) == sorted(sky.rows(comma))
    assert len(found) == len(set(found))
    return set(found)


UPLOADS = ["tap_upload.targets", "tap_upload.plain", "test.targets"]

ROUND = [
    f"1 = CONTAINS({T}, CIRCLE(f.ra, f.dec, 1.5))",
    f"1 = CONTAINS({F}, CIRCLE(t.ra, t.dec, 1.5))",
    f"CONTAINS({F}, CIRCLE({T}, 1.5)) > 0",
    f"1 = INTERSECTS(CIRCLE({F}, 1.5), {T})",
    f"DISTANCE({T}, {F}) < 1.5",
    f"1.5 >= DISTANCE({F}, {T})",
    "DISTANCE(t.ra, t.dec, f.ra, f.dec) <= 1.5",
    f"DISTANCE({T}, {F}) BETWEEN 0 AND 1.5",
    f"DISTANCE({T}, {F}) < t.radius - t.radius + 1.5",
    f"1 = CONTAINS({F}, CIRCLE({T}, t.radius - t.radius + 1.5))",
]


@pytest.mark.parametrize("upload", UPLOADS)
@pytest.mark.parametrize("condition", ROUND)
def test_pairs_within_a_radius_agree_with_astropy(sky: Sky, condition: str, upload: str) -> None:
    expected = closer(1.5)
    assert len(expected) > 100
    assert pairs(sky, condition, upload) == expected


@pytest.mark.parametrize("upload", UPLOADS)
@pytest.mark.parametrize("condition", [
    f"DISTANCE({T}, {F}) < t.radius",
    f"IN_UNIT(DISTANCE({T}, {F}), 'arcmin') < t.radius * 60.",
    f"t.radius > DISTANCE({F}, {T})",
    f"1 = CONTAINS({F}, CIRCLE({T}, t.radius))",
    f"1 = CONTAINS({T}, CIRCLE(f.ra, f.dec, t.radius))",
])  # fmt: skip
def test_radius_of_each_row_counts_even_above_90_degrees(
    sky: Sky, condition: str, upload: str
) -> None:
    assert SIZES.max() > 150
    assert SIZES.min() < 0
    assert pairs(sky, condition, upload) == closer(SIZES[:, None])


def test_radius_of_the_frame_counts_as_well(sky: Sky) -> None:
    sizes = np.array([f.id % 100 / 20 for f in PLACED])
    assert pairs(sky, f"DISTANCE({T}, {F}) <= f.chips / 20.") == closer(sizes)
    assert pairs(sky, f"1 = CONTAINS({T}, CIRCLE({F}, f.chips / 20.))") == closer(sizes)


def test_everything_else_is_outside(sky: Sky) -> None:
    everything = closer(180.1)
    for condition in (
        f"DISTANCE({T}, {F}) > 1.5",
        f"0 = CONTAINS({T}, CIRCLE(f.ra, f.dec, 1.5))",
        f"NOT (DISTANCE({T}, {F}) <= 1.5)",
        f"NOT (DISTANCE({T}, {F}) BETWEEN 0 AND 1.5)",
    ):
        assert pairs(sky, condition) == everything - closer(1.5)


def test_distance_of_zero_finds_the_same_place(sky: Sky) -> None:
    query = "SELECT COUNT(*) FROM test.frames a, test.frames f WHERE DISTANCE(a.ra, a.dec, f.ra, f.dec) = 0"
    assert sky.column(query) == [len(PLACED)]


@pytest.mark.parametrize("upload", UPLOADS)
def test_footprints_near_targets_are_those_found_one_by_one(sky: Sky, upload: str) -> None:
    joined = pairs(sky, f"1 = INTERSECTS(CIRCLE({T}, 0.5), f.outline)", upload)
    held = pairs(sky, f"1 = CONTAINS({T}, f.outline)", upload)
    assert held < joined
    for target in TARGETS:
        circle = f"CIRCLE({target.ra!r}, {target.dec!r}, 0.5)"
        assert {f for t, f in joined if t == target.id} == sky.frames(
            f"1 = INTERSECTS({circle}, outline)"
        )
        place = f"POINT({target.ra!r}, {target.dec!r})"
        assert {f for t, f in held if t == target.id} == sky.frames(
            f"1 = CONTAINS({place}, outline)"
        )


def test_frames_that_overlap_each_other_are_found_both_ways(sky: Sky) -> None:
    both = "SELECT a.id, b.id FROM test.frames a, test.frames b WHERE 1 = INTERSECTS(a.outline, b.outline)"
    found = set(sky.rows(both))
    assert {(b, a) for a, b in found} == found
    assert {(f.id, f.id) for f in PLACED} <= found
    apart = np.array([place.separation(SKY).deg for place in SKY])
    # Squares of 0.6 degrees overlap below one side and never above one diagonal.
    close = {(PLACED[i].id, PLACED[j].id) for i, j in zip(*np.nonzero(apart < 0.59), strict=True)}
    near = {(PLACED[i].id, PLACED[j].id) for i, j in zip(*np.nonzero(apart < 0.86), strict=True)}
    assert close <= found <= near


def test_exists_and_in_find_the_same_as_a_join(sky: Sky) -> None:
    condition = f"DISTANCE({T}, {F}) < 1.5"
    expected = {t for t, _ in closer(1.5)}
    exists = f"SELECT t.id FROM tap_upload.targets t WHERE EXISTS (SELECT f.id FROM test.frames f WHERE {condition})"
    assert set(sky.column(exists)) == expected
    among = f"SELECT f.id FROM test.frames f WHERE f.id IN (SELECT f2.id FROM test.frames f2, tap_upload.targets t WHERE {condition.replace('f.', 'f2.')})"
    assert set(sky.column(among)) == {f for _, f in closer(1.5)}


def test_outer_joins_keep_targets_without_a_frame(sky: Sky) -> None:
    query = f"SELECT t.id, f.id FROM tap_upload.targets t LEFT JOIN test.frames f ON DISTANCE({T}, {F}) < 1.5"
    matched = closer(1.5)
    alone = {t.id for t in TARGETS} - {t for t, _ in matched}
    # One target has no position at all.
    assert set(sky.rows(query)) == matched | {(t, None) for t in alone} | {(len(TARGETS), None)}


PLANNED = [
    *ROUND[:9],
    f"DISTANCE({T}, {F}) < t.radius",
    f"DISTANCE({T}, {F}) * 3600 < t.radius",
    f"IN_UNIT(DISTANCE({T}, {F}), 'arcsec') <= 5",
    f"1 = CONTAINS({F}, CIRCLE({T}, t.radius))",
    f"1 = INTERSECTS(CIRCLE({T}, 5/3600.), f.outline)",
    f"1 = CONTAINS({T}, f.outline)",
    f"1 = CONTAINS(f.outline, CIRCLE({T}, 1))",
]


@pytest.mark.parametrize("upload", ["tap_upload.targets", "tap_upload.plain"])
@pytest.mark.parametrize("condition", PLANNED)
def test_nested_loop_uses_the_index_of_the_archive(sky: Sky, condition: str, upload: str) -> None:
    plan = sky.plan(f"SELECT t.id, f.id FROM {upload} t JOIN test.frames f ON {condition}")
    assert "Nested Loop" in plan
    scans = re.findall(
        r"on frames_010 .*\n\s+(Index Cond|Recheck Cond).*(place|shape) (?:<@|@>|&&)", plan
    )
    assert scans, plan


@pytest.mark.parametrize("condition", PLANNED[:2] + PLANNED[9:12])
def test_run_time_skips_partitions(sky: Sky, condition: str) -> None:
    """For one target in the middle of a partition, the others are never executed."""
    query = f"SELECT t.id, f.id FROM tap_upload.targets t JOIN test.frames f ON {condition} WHERE t.id = 0"
    assert TARGETS[0].ra == 15
    plan = sky.plan(query, analyse=True)
    scans = re.findall(r"on (frames_[0-9a-z]+)\w* .*?(never executed|actual)", plan)
    assert scans
    assert {name for name, state in scans if state == "actual"} == {"frames_010"}


def test_self_join_can_use_the_index_on_either_side(sky: Sky) -> None:
    for chosen in "af":
        plan = sky.plan(
            f"SELECT a.id FROM test.frames a, test.frames f WHERE DISTANCE(a.ra, a.dec, f.ra, f.dec) < 0.1 AND {chosen}.id = 5"
        )
        assert re.search(r"Index Cond: \(place <@ scircle\(frames_of_sky", plan), plan


def test_position_moved_by_a_function_is_searched_by_the_index(sky: Sky) -> None:
    moved = "ivo_epoch_prop_pos(t.ra, t.dec, 100, 5000, 3000, NULL, 2000, 2100)"
    condition = f"1 = CONTAINS({F}, CIRCLE({moved}, 1.5))"
    query = f"SELECT t.id, f.id FROM tap_upload.targets t JOIN test.frames f ON {condition}"
    assert "Index Cond" in sky.plan(query)
    found = pairs(sky, condition)
    assert found != closer(1.5)
    assert closer(1.3) <= found <= closer(1.7)


def test_random_targets_at_the_seams_of_the_sky() -> None:
    """What the tests above stand on: targets at 0h, at both poles, unnormalised, everywhere."""
    assert sum(t.ra < 0 or t.ra >= 360 for t in TARGETS) > 20
    assert sum(abs(t.dec) > 88 for t in TARGETS) > 20
    assert sum(min(t.ra % 360, -t.ra % 360) < 1 for t in TARGETS) > 20
