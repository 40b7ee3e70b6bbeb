"""What a correction is meant for, and when the value it finds is the one it expects."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.model.correction import (
    Correction,
    CorrectionSet,
    Datatype,
    FrameRange,
    card_value,
    fits_text,
    is_value,
)


@pytest.mark.parametrize(
    ("frame", "covered"),
    [
        ("HSCA15297400", True),
        ("HSCA15297457", True),
        ("HSCA15297557", True),
        ("HSCA15297399", False),
        ("HSCA15297558", False),
        ("HSCA1529750", False),
        ("HSCA015297500", False),
        ("HSCB15297500", False),
        ("HSCA152974A0", False),
        ("HSCA152974\uff11\uff11", False),
        ("", False),
        (None, False),
    ],
)
def test_a_range_covers_frames_by_their_number(frame: str | None, covered: bool) -> None:
    frames = FrameRange.of("HSCA15297400", "HSCA15297557")
    assert frames.covers(frame, "2018/x.fits", "ivo://a/b") is covered


def test_one_frame_path_or_identifier_is_meant_by_its_name() -> None:
    names = ("F1", "2018/F1.fits", "ivo://a/b?2018/F1.fits")
    for name in names:
        assert FrameRange.of(name, "").covers(*names)
        assert FrameRange.of(name, name).covers(*names)
    assert not FrameRange.of("F2", "").covers(*names)


@pytest.mark.parametrize(
    ("start", "end"),
    [("A1", "B2"), ("A2", "A1"), ("A1", "A10"), ("A", "B"), ("A1x", "A2x"), ("A1", "A2x")],
)
def test_what_is_no_range_is_refused(start: str, end: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        FrameRange.of(start, end)


@pytest.mark.parametrize(
    ("value", "text", "datatype", "alike"),
    [
        # Numbers are numbers, however they are written.
        (0, "0.0", "float", True),
        (0.0, "0", "int", True),
        (1266.9, "1266.90", "float", True),
        (1.5e-3, "1.5D-3", "float", True),
        (7.195, "7.1950001", "float", False),
        (2**53 + 1, str(2**53), "int", False),
        (-9999, "-9999", "int", True),
        ("0", "0", "int", False),
        (None, "0", "float", False),
        (False, "0", "int", False),
        (True, "1.0", "float", False),
        # Strings but for blanks at their end.
        ("object  ", "object", "string", True),
        (" object", "object", "string", False),
        ("Object", "object", "string", False),
        (1, "1", "string", False),
        # Logical values.
        (True, "T", "logical", True),
        (False, "F", "logical", True),
        (1, "T", "logical", False),
        ("T", "T", "logical", False),
        # No value.
        (None, "", "float", True),
        (None, "", "string", True),
        ("   ", "", "string", True),
        (0, "", "int", False),
        (False, "", "logical", False),
    ],
)
def test_when_a_value_is_the_current_one(
    value: str | float | bool | None, text: str, datatype: Datatype, alike: bool
) -> None:
    assert is_value(value, text, datatype) is alike


@pytest.mark.parametrize(
    ("text", "datatype", "said"),
    [
        ("-9999", "float", "-9999.0"),
        (" 7.195 ", "float", "7.195"),
        ("1e-3", "float", "1E-3"),
        ("1.5d2", "float", "1.5D2"),
        ("+5", "int", "+5"),
        ("true", "logical", "T"),
        ("f", "logical", "F"),
        ("it's ", "string", "it's"),
        ("  lead", "string", "  lead"),
        ("", "float", ""),
        ("  ", "logical", ""),
    ],
)
def test_how_a_value_stands_in_a_card(text: str, datatype: Datatype, said: str) -> None:
    assert fits_text(text, datatype) == said


@pytest.mark.parametrize(
    ("text", "datatype"),
    [
        ("nan", "float"),
        ("inf", "float"),
        ("1e999", "float"),
        ("1,5", "float"),
        ("0x10", "int"),
        ("1.0", "int"),
        ("1_000", "int"),
        ("9" * 19, "int"),
        ("\uff11", "int"),
        ("yes", "logical"),
        ("1", "logical"),
        ("µm", "string"),
        ("a\nb", "string"),
        ("a\x7f", "string"),
    ],
)
def test_what_cannot_stand_in_a_card_is_refused(text: str, datatype: Datatype) -> None:
    with pytest.raises(ValueError, match="expected"):
        fits_text(text, datatype)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_the_value_of_its_own_text(number: float) -> None:
    text = fits_text(repr(number), "float")
    assert card_value(text, "float") == number
    assert is_value(number, text, "float")
    assert not is_value(math.nextafter(number, math.inf), text, "float")


def test_corrections_of_a_product_come_in_their_order() -> None:
    def correction(number: int, frame: str) -> Correction:
        return Correction(
            frames=FrameRange.of(frame, ""), keyword="K", current="", updated="", datatype="int",
            number=number,
        )  # fmt: skip

    some = [correction(3, "F1"), correction(1, "a/F1.fits"), correction(2, "F2")]
    meant = CorrectionSet.of(some).meant_for("F1", "a/F1.fits", "ivo://x/y")
    assert [c.number for c in meant] == [1, 3]
