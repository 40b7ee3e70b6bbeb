"""A header correction: which frames, which keyword, what it says and what it should say.

The rules here are also those of the programs that users get (`vo_service/programs`) and of the
view ``archive.correction_of``. Source: FITS 4.0, "Keyword records" and "Value"; MISSION B4, C7;
the columns are those of the correction table of Hyper Suprime-Cam.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

__all__ = [
    "ALL_HDUS",
    "CardValue",
    "Correction",
    "CorrectionSet",
    "Datatype",
    "FrameRange",
    "card_value",
    "fits_text",
    "is_value",
]

CardValue = str | int | float | bool | None
Datatype = Literal["int", "float", "string", "logical"]

#: As an HDU: every one that has the keyword.
ALL_HDUS = "all"

_TRAILING = re.compile(r"[0-9]+$")


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Frames from *start* to *end*, both included; or one frame, path or identifier.

    *digits* is how many of the last characters count up; 0 where it is no range.
    """

    start: str
    end: str
    digits: int

    @classmethod
    def of(cls, start: str, end: str) -> FrameRange:
        """The range of two frames, of which the last may be left out.

        Raises
        ------
        ValueError
            If the names differ in anything but the number at their end, or are in the wrong
            order.
        """
        if not end or start == end:
            return cls(start, start, 0)
        first, last = _TRAILING.search(start), _TRAILING.search(end)
        if first is None or last is None or len(start) != len(end):
            raise ValueError("expected two frames of the same form that end in a number")
        if start[: first.start()] != end[: last.start()]:
            raise ValueError("expected two frames that differ only in the number at their end")
        if start > end:
            raise ValueError("expected a frame that does not come before start_frame")
        return cls(start, end, len(first[0]))

    def covers(self, frame: str | None, path: str, did: str) -> bool:
        """Whether a product with these names is meant."""
        if self.digits == 0:
            return self.start in (frame, path, did)
        return (
            frame is not None
            and len(frame) == len(self.start)
            and self.start <= frame <= self.end
            and frame[-self.digits :].isascii()
            and frame[-self.digits :].isdigit()
        )

    def __str__(self) -> str:
        return self.start if self.digits == 0 else f"{self.start}..{self.end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """*keyword* of *frames* says *current* and should say *updated*.

    *hdu* is a number (0: the primary), an EXTNAME, ``all``, or empty for the first HDU that has
    the keyword. *current* and *updated* are texts of *datatype*, empty for no value; *updated*
    is as it is to stand in the card, without quotes. *comment* replaces that of the card unless
    it is empty. *checks* are the observatory's own (name to outcome). *number* gives the order
    in which corrections are applied, 0 where it is not known yet.
    """

    frames: FrameRange
    keyword: str
    current: str
    updated: str
    datatype: Datatype
    hdu: str = ""
    comment: str = ""
    reference: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def said(self) -> tuple[str | int, ...]:
        """All that makes it the same correction as another; without number and checks."""
        return (
            *(self.frames.start, self.frames.end, self.frames.digits, self.hdu, self.keyword),
            *(self.current, self.updated, self.datatype, self.comment, self.reference),
        )

    def __str__(self) -> str:
        where = f" of HDU {self.hdu}" if self.hdu else ""
        return f"{self.frames} {self.keyword}{where}: {self.current!r} to {self.updated!r}"


@dataclass(frozen=True, slots=True)
class CorrectionSet:
    """Corrections of a collection, ready to be asked for those of a product."""

    groups: tuple[tuple[FrameRange, tuple[Correction, ...]], ...] = ()

    @classmethod
    def of(cls, corrections: Iterable[Correction]) -> Self:
        """Those that are meant for the same frames are looked at once."""
        groups: dict[FrameRange, list[Correction]] = {}
        for correction in corrections:
            groups.setdefault(correction.frames, []).append(correction)
        return cls(tuple((frames, tuple(group)) for frames, group in groups.items()))

    def meant_for(self, frame: str | None, path: str, did: str) -> list[Correction]:
        """The corrections of a product with these names, in the order of their numbers."""
        found = [c for r, group in self.groups if r.covers(frame, path, did) for c in group]
        return sorted(found, key=lambda correction: correction.number)


def fits_text(text: str, datatype: Datatype) -> str:
    """*text* as it stands in a card (a string without its quotes); empty is no value.

    Raises
    ------
    ValueError
        If it is not of the datatype, or cannot stand in a header.
    """
    if datatype == "string":
        if not (text.isascii() and text.isprintable()):
            raise ValueError("expected a text of printable ASCII characters")
        return text.rstrip(" ")
    text = text.strip()
    if not text:
        return ""
    if datatype == "logical":
        known = {"t": "T", "true": "T", "f": "F", "false": "F"}
        if text.lower() not in known:
            raise ValueError("expected T or F")
        return known[text.lower()]
    if datatype == "int":
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise ValueError("expected a whole number of at most 18 digits")
        return text
    text = text.upper()
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([ED][+-]?[0-9]+)?", text, re.ASCII):
        raise ValueError("expected a number such as -9999, 7.195 or 1.5E-3")
    if abs(_real(text)) == float("inf"):
        raise ValueError("expected a number that a double can hold")
    # A real number is to be seen as one (FITS 4.0, "Real floating-point number").
    return text if re.search(r"[.ED]", text) else f"{text}.0"


def card_value(text: str, datatype: Datatype) -> CardValue:
    """The value of a text that `fits_text` has made, as headers are read here."""
    if datatype == "string":
        return text
    if not text:
        return None
    if datatype == "logical":
        return text == "T"
    return int(text) if datatype == "int" else _real(text)


def is_value(value: CardValue, text: str, datatype: Datatype) -> bool:
    """Whether a card's value is what *text*, which `fits_text` has made, says.

    Numbers are compared as numbers (0, 0.0 and 0E0 are one), integers exactly, else as doubles;
    strings without blanks at their end. No text means no value, or an empty string.
    """
    if not text:
        return value is None or (isinstance(value, str) and not value.strip())
    if datatype == "string":
        return isinstance(value, str) and value.rstrip(" ") == text
    wanted = card_value(text, datatype)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int) and isinstance(wanted, int):
        return value == wanted
    # Beyond 2**53 an integer and a real are alike as far as a double can tell.
    return isinstance(value, int | float) and float(value) == _real(text)


def _real(text: str) -> float:
    return float(text.replace("D", "E"))
