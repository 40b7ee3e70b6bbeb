"""Cards against astropy's reading of them, and against everything that is no card."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from vo_service.ingest.cards import parse_cards


def _card(text: str) -> tuple[str, Any, str]:
    (card,) = parse_cards([text.ljust(80).encode("utf-8")[:80]])
    return card


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("EXPTIME =                  9.0 / [s] time", ("EXPTIME", 9.0, "[s] time")),
        ("NAXIS1  =                 2160", ("NAXIS1", 2160, "")),
        ("SIMPLE  =                    T / yes", ("SIMPLE", True, "yes")),
        ("EXTEND  = F", ("EXTEND", False, "")),
        ("OBJECT  = 'O''Neill  '         / a / b", ("OBJECT", "O'Neill", "a / b")),
        ("EMPTY   = ''", ("EMPTY", "", "")),
        ("NOTHING =                      / undefined", ("NOTHING", None, "undefined")),
        ("BIG     =              1.5D+03", ("BIG", 1500.0, "")),
        ("POINT   = .5", ("POINT", 0.5, "")),
        ("HUGE    = 1E999", ("HUGE", "1E999", "")),
        ("NOTANUM = NaN", ("NOTANUM", "NaN", "")),
        ("COMPLEX = (1.0, 2.0) / pair", ("COMPLEX", "(1.0, 2.0)", "pair")),
        ("OPEN    = 'never closed", ("OPEN", "'never closed", "")),
        ("COMMENT = 'no value'", ("COMMENT", "= 'no value'", "")),
        ("HISTORY made by hand", ("HISTORY", "made by hand", "")),
        ("        a blank keyword", ("", "a blank keyword", "")),
        ("HIERARCH ESO DET ID = 'x' / y", ("ESO DET ID", "x", "y")),
        ("DATE-OBS= '2020-06-17'", ("DATE-OBS", "2020-06-17", "")),
        ("NOVALUE   here", ("NOVALUE", "  here", "")),
    ],
)
def test_a_card_is_read_as_the_standard_says(text: str, card: tuple[str, Any, str]) -> None:
    assert _card(text) == card


def test_continued_strings_are_joined() -> None:
    long = "a" * 100 + "'" + "b" * 60
    header = fits.Header([("LONGSTR", long, "what it is"), ("NEXT", 1, "")])
    text = header.tostring().encode("ascii")
    cards = parse_cards(text[i : i + 80] for i in range(0, len(text), 80))
    assert [card[:2] for card in cards] == [("LONGSTR", long), ("NEXT", 1)]
    assert "what it is" in cards[0][2]


def test_bytes_outside_of_ascii_and_controls_do_no_harm() -> None:
    utf8 = _card("OBJECT  = 'すばる'")
    latin = parse_cards([b"OBSERVER= 'M\xfcller'".ljust(80)])[0]
    nul = parse_cards([b"OBJECT  = 'a\x00b\tc'".ljust(80)])[0]
    assert (utf8[1], latin[1], nul[1]) == ("すばる", "Müller", "a\ufffdb\ufffdc")


def test_what_follows_end_is_not_read() -> None:
    records = [text.ljust(80).encode() for text in ("A       = 1", "END", "B       = 2")]
    assert parse_cards(records) == (("A", 1, ""),)


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
_KEYWORDS = st.from_regex(r"[A-Z0-9_-]{1,8}", fullmatch=True).filter(
    lambda k: k not in ("END", "COMMENT", "HISTORY", "CONTINUE", "SIMPLE", "XTENSION")
)
_VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
)


@given(_KEYWORDS, _VALUES, _TEXT)
def test_cards_written_by_astropy_are_read_as_astropy_reads_them(
    keyword: str, value: Any, comment: str
) -> None:
    written = fits.Card(keyword, value, comment).image.encode("ascii")
    theirs = fits.Header.fromstring(written)
    ours = parse_cards(written[i : i + 80] for i in range(0, len(written), 80))
    assert [(k, v) for k, v, _ in ours] == [(keyword, theirs[keyword])]
    assert isinstance(ours[0][1], type(theirs[keyword]))


@given(st.lists(st.binary(min_size=0, max_size=80), max_size=6))
def test_any_bytes_give_cards_that_postgresql_can_keep(records: list[bytes]) -> None:
    for keyword, value, comment in parse_cards(records):
        json.dumps([keyword, value, comment], allow_nan=False)
        assert not any("\x00" in str(part) for part in (keyword, value, comment))
        assert not isinstance(value, float) or math.isfinite(value)
