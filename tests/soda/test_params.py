"""Parameters of SODA as values, and texts of any kind that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import UsageError
from vo_service.model.region import Circle, Point, Polygon
from vo_service.model.stencil import PixelStencil, Range
from vo_service.params.soda import TAR, CutoutQuery, parse_cutout_query

NAMES = ("ID", "POS", "CIRCLE", "POLYGON", "BAND", "TIME", "POL", "PIXEL", "RESPONSEFORMAT",
         "STRETCH", "LIMITS", "SIZE", "WHATEVER")  # fmt: skip


def parsed(**asked: str) -> CutoutQuery:
    return parse_cutout_query([("ID", "x"), *asked.items()], limit=10)


def test_values_of_each_kind_are_read() -> None:
    assert parsed(circle="360 -2.5e0 .5").stencils[0].shape == Circle(0.0, -2.5, 0.5)
    triangle = Polygon((Point(1, 2), Point(3, 4), Point(5, 6)))
    assert parsed(POS="polygon 1 2 3 4 5 6").stencils[0].shape == triangle
    assert parsed(POS="RANGE -Inf 10 5 +Inf").stencils[0].shape == Range((0, 10), (5, math.inf))
    assert parsed(BAND="-Inf 5e-7").stencils[0].band == (-math.inf, 5e-7)
    assert parsed(POL="I/q").stencils[0].states == {"I", "Q"}
    assert parsed(PIXEL="[SCI 1][*, 2:3]").stencils[0].pixels == PixelStencil(
        "SCI1", (None, (2, 3))
    )
    assert parsed(PIXEL="[4][7:7]").stencils[0].pixels == PixelStencil(4, ((7, 7),))
    assert parsed(RESPONSEFORMAT="Image/PNG; x=1").media_type == "image/png"
    assert parsed().stencils[0].whole


def test_each_is_combined_with_each_in_the_order_in_which_they_came() -> None:
    pairs = [("ID", "x"), ("TIME", "1 2"), ("CIRCLE", "1 1 1"), ("TIME", "3 4"), ("ID", "x")]
    query = parse_cutout_query(
        [*pairs, ("POS", "CIRCLE 2 2 2"), ("POL", "I"), ("POL", "V")], limit=4
    )
    assert query.ids == ("x",)
    assert [stencil.text for stencil in query.stencils] == [
        "POS=CIRCLE 2 2 2 TIME=1 2 POL=I POL=V",
        "POS=CIRCLE 2 2 2 TIME=3 4 POL=I POL=V",
        "CIRCLE=1 1 1 TIME=1 2 POL=I POL=V",
        "CIRCLE=1 1 1 TIME=3 4 POL=I POL=V",
    ]
    with pytest.raises(UsageError, match="4 cutouts: expected at most 3"):
        parse_cutout_query([*pairs, ("CIRCLE", "2 2 2")], limit=3)


def test_an_archive_is_for_jobs() -> None:
    pairs = [("ID", "x"), ("RESPONSEFORMAT", "tar")]
    assert parse_cutout_query(pairs, limit=1, job=True).media_type == TAR
    with pytest.raises(UsageError, match="RESPONSEFORMAT='tar'"):
        parse_cutout_query(pairs, limit=1)


NUMBERS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["nan", "+Inf", "1e999", "[", ""]),
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.lists(NUMBERS, max_size=9).map(" ".join),
    st.builds(
        "{} {}".format,
        st.sampled_from(["CIRCLE", "RANGE", "POLYGON"]),
        st.lists(NUMBERS, max_size=9).map(" ".join),
    ),
    st.from_regex(r"\[[0-9A-Z]{0,3}\]?\[[0-9:*,]{0,20}\]", fullmatch=True),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
def test_any_text_is_read_or_refused_with_its_name(pairs: list[tuple[str, str]]) -> None:
    refusal = ""
    try:
        assert parse_cutout_query(pairs, limit=50).ids
    except UsageError as error:
        refusal = str(error)
    assert not refusal or refusal.startswith((*NAMES, "the request"))
    assert len(refusal) < 400
