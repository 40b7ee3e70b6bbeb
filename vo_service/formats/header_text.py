"""FITS headers as text: cards of 80 characters, one a line, END after each header.

`astropy.io.fits.Header.fromtextfile` reads it. Values are those that were ingested; how a number
was spelled in the file is not kept. Source: FITS 4.0, "Keyword records", "The CONTINUE keyword".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from astropy.io import fits

from vo_service.model.observation import HDUHeader

__all__ = ["header_text"]

_CARD = 80
_COMMENTARY = frozenset(("COMMENT", "HISTORY", ""))


def header_text(hdus: Iterable[HDUHeader]) -> str:
    """All headers of a file, a blank line between them."""
    return "\n".join(
        "".join(f"{line}\n" for line in (*_lines(hdu), "END".ljust(_CARD))) for hdu in hdus
    )


def _lines(hdu: HDUHeader) -> Iterator[str]:
    for keyword, value, comment in hdu.cards:
        image = _image(keyword, value, comment)
        for start in range(0, len(image), _CARD):
            yield image[start : start + _CARD].ljust(_CARD)


def _image(keyword: str, value: Any, comment: str) -> str:
    """A card, or several where its text is long; what FITS has no letters for becomes ``?``."""
    if isinstance(value, str):
        value = _ascii(value)
    if keyword in _COMMENTARY:
        return f"{keyword:8}{value or ''}"
    if isinstance(value, float):
        return _number(_ascii(keyword), value, _ascii(comment))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of comments cut at the end of the card
        try:
            return str(fits.Card(keyword, value, _ascii(comment)).image)
        except (ValueError, fits.VerifyError):
            # Not as FITS has it, and kept as it was found.
            return f"{_ascii(keyword):8}= {value}"[:_CARD]


def _number(keyword: str, value: float, comment: str) -> str:
    """A card with all digits of a number, which `fits.Card` cuts to 20 characters."""
    simple = len(keyword) <= 8 and " " not in keyword
    start = f"{keyword:8}= " if simple else f"HIERARCH {keyword} = "
    image = f"{start}{repr(value).replace('e', 'E'):>20}"
    return (f"{image} / {comment}" if comment else image)[:_CARD]


def _ascii(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
