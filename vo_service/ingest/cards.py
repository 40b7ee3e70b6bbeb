"""Header cards: 80 characters in, (keyword, value, comment) out.

Source: FITS 4.0, "Keyword records", "Value", and "The CONTINUE keyword"; the ESO HIERARCH
convention. Far quicker than `astropy.io.fits.Card` and more lenient: a value that breaks the
rules is kept as its text, so that whoever maps the keyword can say what is wrong with it.
What comes out goes into JSONB as it is: no NaN, no infinity, no NUL and no other controls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

__all__ = ["CARD", "Card", "CardValue", "locate_cards", "parse_cards"]

CardValue = str | int | float | bool | None
Card = tuple[str, CardValue, str]

#: Length of a card in bytes.
CARD = 80

_VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'"
    r"|(?P<logical>[TF])(?=[ /]|$)"
    r"|(?P<integer>[+-]?\d+)(?=[ /]|$)"
    r"|(?P<real>[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?)(?=[ /]|$)"
    r"|(?P<other>[^/]*))"
    r" *(?:/ ?(?P<comment>.*))?",
    re.ASCII | re.DOTALL,
)
_KINDS = ("text", "logical", "integer", "real", "other")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_COMMENTARY = frozenset(("COMMENT", "HISTORY", ""))


def parse_cards(records: Iterable[bytes]) -> tuple[Card, ...]:
    """All cards of a header, up to its END, which is left out.

    Long strings (CONTINUE) are joined; blank cards are dropped. Bytes outside of ASCII are
    read as UTF-8, else as Latin-1; control characters become U+FFFD.
    """
    return tuple(locate_cards(records)[0])


def locate_cards(records: Iterable[bytes]) -> tuple[list[Card], list[tuple[int, int]]]:
    """The same cards, and of which records each is made: from the first to before the last."""
    cards: list[Card] = []
    places: list[tuple[int, int]] = []
    for number, record in enumerate(records):
        text = _decode(record)
        if text.startswith("END") and not text[3:].strip():
            break
        if not text.strip():
            continue
        keyword, value, comment = _parse(text)
        if keyword == "CONTINUE" and cards and _continues(cards[-1]):
            last_keyword, last_value, last_comment = cards[-1]
            value = str(last_value)[:-1] + str(value if value is not None else "")
            keyword, comment = last_keyword, " ".join(filter(None, (last_comment, comment)))
            cards[-1] = (keyword, value, comment)
            places[-1] = (places[-1][0], number + 1)
            continue
        cards.append((keyword, value, comment))
        places.append((number, number + 1))
    return cards, places


def _decode(record: bytes) -> str:
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        text = record.decode("latin-1")
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub("\ufffd", text)


def _continues(card: Card) -> bool:
    return isinstance(card[1], str) and card[1].endswith("&") and card[0] not in _COMMENTARY


def _parse(text: str) -> Card:
    keyword = text[:8].rstrip()
    if keyword == "HIERARCH" and "=" in text:
        name, _, rest = text[8:].partition("=")
        return (name.strip(), *_value(rest))
    if keyword == "CONTINUE":
        return (keyword, *_value(text[8:]))
    if keyword in _COMMENTARY or text[8:9] != "=":
        return (keyword, text[8:].rstrip() or None, "")
    return (keyword, *_value(text[9:]))


def _value(text: str) -> tuple[CardValue, str]:
    found = _VALUE.fullmatch(text)
    if found is None:
        return text.strip(), ""
    comment = (found["comment"] or "").rstrip()
    match next(kind for kind in _KINDS if found[kind] is not None):
        case "text":
            return found["text"].replace("''", "'").rstrip(), comment
        case "logical":
            return found["logical"] == "T", comment
        case "integer":
            return int(found["integer"]), comment
        case "real":
            number = float(found["real"].upper().replace("D", "E"))
            return (number if math.isfinite(number) else found["real"]), comment
    return found["other"].strip() or None, comment
