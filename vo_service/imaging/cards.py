"""The header of a cutout, made from the cards of the original as they stand in the file.

Cards are copied byte by byte but for these: NAXISn, and what follows from the kind of HDU;
CRPIXja of every WCS is moved by the pixels that were cut off; LTVn (and LTMn_n = 1) say by how
many, as IRAF has it; CHECKSUM, DATASUM, DATAMIN and DATAMAX, which no longer hold, are left out;
so are distortions kept in tables (CPDISj, DPj, D2IMDISj), which count pixels of the original, and
keywords of tile compression, since the result is not compressed.

Source: FITS 4.0, "Headers", "Tiled image compression"; WCS paper I, CRPIXja.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from vo_service.imaging.boxes import Box
from vo_service.ingest.cards import CARD, CardValue, parse_cards
from vo_service.ingest.headers import BLOCK

__all__ = ["cards_of", "cut_header", "history", "plain_primary", "stripped_primary"]

_MANDATORY = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|END")
_STALE = re.compile(
    r"CHECKSUM|DATASUM|DATAMIN|DATAMAX|LTV\d+|LTM\d+_\d+"
    # Distortions in tables, which count pixels of the original.
    r"|CPDIS\d+[A-Z]?|CPERR\d+[A-Z]?|DP\d+[A-Z]?|D2IM(?:DIS|ERR)?\d+[A-Z]?|D2IMEXT|AXISCORR"
)
#: FITS 4.0, "Tiled image compression", and the columns of the table that holds the tiles.
_TILED = re.compile(
    r"TFIELDS|THEAP|T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+"
    r"|Z(?:IMAGE|TENSION|SIMPLE|EXTEND|BLOCKED|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+"
    r"|QUANTIZ|DITHER0|MASKCMP|PCOUNT|GCOUNT|HECKSUM|DATASUM|BLANK|SCALE|ZERO)"
)
_DEFAULT_NAME = re.compile(rb"EXTNAME = 'COMPRESSED_IMAGE *'")
#: Of the data, which a primary HDU without data has not.
_OF_DATA = re.compile(r"BSCALE|BZERO|BLANK|BUNIT")
_MOVED = re.compile(r"(?:CTYPE|CRVAL|CDELT|CUNIT|CRPIX)(\d+)([A-Z]?)")
_MATRIX = re.compile(r"(?:CD|PC)\d+_(\d+)([A-Z]?)")
_REFERENCE = re.compile(r"CRPIX(\d+)([A-Z]?)")


def cards_of(header: bytes) -> list[bytes]:
    """The cards of a header in the file, without END."""
    cards = []
    for place in range(0, len(header), CARD):
        card = header[place : place + CARD]
        if card[:8].rstrip() == b"END":
            break
        cards.append(card)
    return cards


def cut_header(
    cards: Sequence[bytes],
    values: Mapping[str, CardValue],
    box: Box,
    *,
    primary: bool,
    more: Sequence[bytes] = (),
) -> bytes:
    """The header of a cut image.

    Parameters
    ----------
    cards
        Of the original.
    values
        Keywords of the image, inherited ones too; those of the image itself where it is
        compressed by tiles.
    box
        What is cut out.
    primary
        Whether the result is a primary HDU; an IMAGE extension else.
    more
        Cards to be added at the end.
    """
    tiled = values.get("ZIMAGE") is True
    references = _references(values, box)
    kept: list[bytes] = []
    dropping = False
    for card in cards:
        keyword = _keyword(card)
        if keyword == "CONTINUE" and dropping:
            continue
        dropping = bool(_MANDATORY.fullmatch(keyword) or _STALE.fullmatch(keyword))
        dropping |= tiled and bool(_TILED.fullmatch(keyword) or _DEFAULT_NAME.match(card))
        if keyword in references:
            kept.append(_card(keyword, references.pop(keyword), _comment(card)))
        elif not dropping:
            kept.append(card)
    shape = [stop - start for start, stop in box]
    begin = list(_beginning(values, shape, primary=primary))
    moved = [_card(keyword, value, "moved by the cutout") for keyword, value in references.items()]
    return _blocks([*begin, *_trimmed(kept), *moved, *_logical(values, box), *more])


def stripped_primary(cards: Sequence[bytes], more: Sequence[bytes] = ()) -> bytes:
    """The primary header of a file whose cut images all stand in extensions."""
    kept = []
    for card in cards:
        keyword = _keyword(card)
        if not any(p.fullmatch(keyword) for p in (_MANDATORY, _STALE, _OF_DATA)):
            kept.append(card)
    return plain_primary([*_trimmed(kept), *more])


def plain_primary(more: Sequence[bytes] = ()) -> bytes:
    """A primary header without data."""
    begin = [
        _card("SIMPLE", True, "FITS"),
        _card("BITPIX", 8, "no data here"),
        _card("NAXIS", 0, "no data here"),
        _card("EXTEND", True, "extensions may follow"),
    ]
    return _blocks([*begin, *more])


def history(text: str) -> list[bytes]:
    """HISTORY cards with a text; what ASCII has not becomes a question mark."""
    plain = re.sub("[^ -~]", "?", text)
    return [
        f"HISTORY {plain[place : place + 72]}".ljust(CARD).encode("ascii")
        for place in range(0, len(plain), 72)
    ]


def _beginning(
    values: Mapping[str, CardValue], shape: Sequence[int], *, primary: bool
) -> Iterator[bytes]:
    if primary:
        yield _card("SIMPLE", True, "FITS")
    else:
        yield b"XTENSION= 'IMAGE   '           / cut image".ljust(CARD)
    yield _card("BITPIX", values.get("BITPIX"), "bits per pixel; negative: floating point")
    yield _card("NAXIS", len(shape), "axes")
    for axis, length in enumerate(shape, 1):
        yield _card(f"NAXIS{axis}", length, f"pixels along axis {axis}")
    if primary:
        yield _card("EXTEND", True, "extensions may follow")
    else:
        yield _card("PCOUNT", 0, "no parameters")
        yield _card("GCOUNT", 1, "one group")


def _references(values: Mapping[str, CardValue], box: Box) -> dict[str, float]:
    """CRPIXja of all coordinates that the cut moves; 0 is meant where a header has none."""
    wanted: dict[str, float] = {}
    for keyword in values:
        found = _MOVED.fullmatch(keyword) or _MATRIX.fullmatch(keyword)
        if found is None:
            continue
        axis = int(found[1])
        if axis > len(box) or axis < 1 or box[axis - 1][0] == 0:
            continue
        name = f"CRPIX{axis}{found[2]}"
        value = values.get(name, 0.0)
        if not isinstance(value, bool) and isinstance(value, (int, float)):
            wanted[name] = float(value) - box[axis - 1][0]
    return wanted


def _logical(values: Mapping[str, CardValue], box: Box) -> Iterator[bytes]:
    """LTVn and LTMn_n: from pixels of the original (physical) to those of the cutout (logical)."""
    for axis, (start, _) in enumerate(box, 1):
        before = _number(values.get(f"LTV{axis}"), 0.0)
        step = _number(values.get(f"LTM{axis}_{axis}"), 1.0)
        yield _card(f"LTV{axis}", before - start, "pixels cut off, negative")
        yield _card(f"LTM{axis}_{axis}", step, "pixels of the original in one")


def _number(value: CardValue, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return float(value)


def _keyword(card: bytes) -> str:
    return card[:8].decode("latin-1").rstrip()


def _comment(card: bytes) -> str:
    ((_, _, comment),) = parse_cards([card]) or (("", None, ""),)
    return comment


def _card(keyword: str, value: CardValue, comment: str) -> bytes:
    match value:
        case bool():
            text = "T" if value else "F"
        case float():
            text = repr(value).upper()
        case _:
            text = str(value)
    plain = re.sub("[^ -~]", "?", comment)
    return f"{keyword:<8}= {text:>20} / {plain}"[:CARD].ljust(CARD).encode("ascii")


def _trimmed(cards: Sequence[bytes]) -> list[bytes]:
    """Without the blank cards before END, where astropy and others reserve space."""
    end = len(cards)
    while end and not cards[end - 1].strip():
        end -= 1
    return list(cards[:end])


def _blocks(cards: Sequence[bytes]) -> bytes:
    text = b"".join([*cards, b"END".ljust(CARD)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)
