"""Rows and slices, one by one: whatever comes, a row is taken or refused, and slices fit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.ingest.foreign import ForeignReader, RowError
from vo_service.ingest.foreign_region import read_footprint
from vo_service.model.crawl import Cut, Slice
from vo_service.model.obscore import OBSCORE
from vo_service.model.region import Circle, Point, separation

_READER = ForeignReader(OBSCORE)
_ANYTHING = st.none() | st.text(max_size=30) | st.floats() | st.integers() | st.lists(st.floats())


@given(st.lists(_ANYTHING, min_size=len(OBSCORE), max_size=len(OBSCORE)))
def test_any_row_is_taken_or_refused(cells: list[object]) -> None:
    try:
        row = _READER.read(cells)
    except RowError:
        return
    assert row.position is None or (0 <= row.position.ra < 360 and abs(row.position.dec) <= 90)


@given(st.text("Polygon Circle ICRS J2000()., 0123456789-+eE\n", max_size=80))
def test_any_text_is_a_footprint_or_is_none(text: str) -> None:
    try:
        read_footprint(text)
    except ValueError:
        return


@given(
    st.floats(0, 359.9999),
    st.floats(-89, 89),
    st.floats(0.001, 20.0),
    st.sampled_from(["", "ICRS "]),
)
def test_a_circle_is_held_by_its_polygon_and_reaches_as_far(
    ra: float, dec: float, radius: float, frame: str
) -> None:
    found = read_footprint(f"circle {frame}{ra!r} {dec!r} {radius!r}")
    centre = Point(ra, dec)
    assert found.region is not None
    assert all(separation(centre, v) >= radius for v in found.region.vertices)
    # 48 corners about the circle: tan(radius) / cos(180/48 deg).
    farthest = math.degrees(math.atan(math.tan(math.radians(radius)) / math.cos(math.pi / 48)))
    assert found.reach(centre) == pytest.approx(farthest, rel=1e-6)


def test_numbers_are_a_footprint_by_their_xtype() -> None:
    assert read_footprint([10.0, 20.0, 0.5], "circle").text == Circle(10.0, 20.0, 0.5).stc_s
    with pytest.raises(ValueError, match="xtype"):
        read_footprint([10.0, 20.0, 0.5])


@given(st.floats(0, 131_071.9), st.floats(0, 359.99))
def test_each_value_is_in_the_slice_of_its_number_down_to_the_finest(t: float, ra: float) -> None:
    values = {"t_min": t, "s_ra": ra}
    here = Slice()
    while (cut := here.finer) is not None:
        here = here.piece(cut, math.floor(values[cut.column] / cut.width))
        (_, span) = here.spans[-1]
        assert span.low <= values[cut.column] < span.high
    assert [span.width for _, span in here.spans] == [2.0**-13, 2.0**-5]
    assert here.path.count("/") == 8


@pytest.mark.parametrize("number", [None, -5.0, 32.0, 1e300, math.inf])
def test_what_is_in_no_span_is_together(number: float | None) -> None:
    piece = Slice().piece(Cut("t_min", 4096.0), number)
    assert piece.path == "/t-1"
    assert piece.finer == Cut("s_ra", 1.0)
