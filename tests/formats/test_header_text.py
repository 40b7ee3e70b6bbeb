"""Headers as text, read back by astropy."""

from __future__ import annotations

import io
import string

from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from vo_service.formats.header_text import header_text
from vo_service.ingest.cards import CardValue
from vo_service.model.observation import HDUHeader


def text_of(*cards: tuple[str, CardValue, str]) -> str:
    return header_text([HDUHeader(index=0, name="", kind="PRIMARY", cards=cards)])


def read(text: str) -> fits.Header:
    return fits.Header.fromtextfile(io.StringIO(text), endcard=True)


def test_each_card_is_a_line_of_80_characters_and_headers_stand_apart() -> None:
    hdu = HDUHeader(index=0, name="", kind="PRIMARY", cards=(("SIMPLE", True, "FITS"),))
    text = header_text([hdu, hdu])
    lines = text.splitlines()
    assert [len(line) for line in lines] == [80, 80, 0, 80, 80]
    assert lines[0] == "SIMPLE  =                    T / FITS".ljust(80)
    assert lines[1] == "END".ljust(80)


def test_long_texts_and_keywords_comments_and_undefined_values_are_as_fits_has_them() -> None:
    long = "It's a text of more than one card; " * 5
    header = read(
        text_of(
            ("TITLE", long.strip(), "what it is"), ("ESO INS TEMP", -3.5, "[K]"),
            ("COMMENT", "said so", ""), ("HISTORY", "cut", ""), ("NOTHING", None, "unknown"),
        )
    )  # fmt: skip
    assert header["TITLE"] == long.strip()
    assert header["ESO INS TEMP"] == -3.5
    assert list(header["COMMENT"]) == ["said so"]
    assert list(header["HISTORY"]) == ["cut"]
    assert header["NOTHING"] is None


def test_what_fits_has_no_letters_for_becomes_question_marks() -> None:
    assert read(text_of(("OBSERVER", "J\N{LATIN SMALL LETTER O WITH DIAERESIS}rg\ufffd", "")))[
        "OBSERVER"
    ] == ("J?rg?")


keywords = st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=8).filter(
    lambda k: k not in {"END", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "SIMPLE"}
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
values = st.one_of(
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    texts.map(str.rstrip),
)


@given(keyword=keywords, value=values)
def test_values_come_back(keyword: str, value: CardValue) -> None:
    found = read(text_of((keyword, value, "")))[keyword]
    assert found == value


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
            st.one_of(st.none(), values, st.text(st.characters(exclude_categories=["Cs"]))),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
        )
    )
)
def test_no_cards_whatever_make_anything_but_lines_of_80_ascii_characters(
    cards: list[tuple[str, CardValue, str]],
) -> None:
    text = text_of(*cards)
    assert text.isascii()
    assert all(len(line) == 80 and line.isprintable() for line in text.splitlines())
