"""Corrections and headers in, corrected headers out; no bytes yet, no file, no database.

Corrections are applied in their order, each to what the ones before have made of the header,
and only where the value is still the one that the correction expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vo_service.ingest.cards import CardValue
from vo_service.model.correction import ALL_HDUS, Correction, card_value, is_value
from vo_service.model.observation import HDUHeader

__all__ = ["Edit", "Outcome", "apply_edits", "correct", "decide"]

Status = Literal["applied", "already", "different", "absent"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a correction in one HDU.

    ``applied``; ``already``: the value is the updated one; ``different``: it is neither;
    ``absent``: there is no such keyword, or HDU (*hdu* is then None).
    """

    correction: Correction
    status: Status
    hdu: int | None = None
    found: CardValue = None

    def __str__(self) -> str:
        """Frame range, HDU, keyword, what was found and what was expected."""
        asked = self.correction
        where = f"HDU {self.hdu}" if self.hdu is not None else f"HDU {asked.hdu or 'any'}"
        text = f"{where}, {asked.keyword}: "
        if self.status == "absent":
            return text + f"there is no such keyword, expected {_shown(asked.current)}"
        return text + f"found {_shown(self.found)}, expected {_shown(asked.current)}"


@dataclass(frozen=True, slots=True)
class Edit:
    """The card number *card* of HDU number *hdu* is corrected."""

    hdu: int
    card: int
    correction: Correction


def decide(
    hdus: Sequence[HDUHeader], corrections: Sequence[Correction]
) -> tuple[list[Edit], list[Outcome]]:
    """Which cards are to change, one after the other; a card may be corrected again.

    Parameters
    ----------
    hdus
        All headers of a file, in file order.
    corrections
        Those that are meant for the file, in the order in which they are to be applied.
    """
    edits: list[Edit] = []
    values: dict[tuple[int, int], CardValue] = {}
    outcomes: list[Outcome] = []
    for place, correction in enumerate(corrections):
        targets = list(_targets(hdus, correction))
        if not targets:
            outcomes.append(Outcome(correction, "absent"))
        for hdu, card in targets:
            found = values.get((hdu, card), hdus[hdu].cards[card][1])
            status = _status(found, correction, corrections[place + 1 :])
            outcomes.append(Outcome(correction, status, hdu, found))
            if status == "applied":
                edits.append(Edit(hdu, card, correction))
                values[hdu, card] = card_value(correction.updated, correction.datatype)
    return edits, outcomes


def apply_edits(hdus: Sequence[HDUHeader], edits: Iterable[Edit]) -> tuple[HDUHeader, ...]:
    """The headers as they are after *edits*; offsets and sizes stay those of the file."""
    changed = list(hdus)
    for edit in edits:
        hdu = changed[edit.hdu]
        keyword, _, comment = hdu.cards[edit.card]
        value = card_value(edit.correction.updated, edit.correction.datatype)
        cards = list(hdu.cards)
        cards[edit.card] = (keyword, value, edit.correction.comment or comment)
        name = str(value or "") if keyword == "EXTNAME" else hdu.name
        changed[edit.hdu] = replace(hdu, cards=tuple(cards), name=name)
    return tuple(changed)


def correct(
    hdus: Sequence[HDUHeader], corrections: Sequence[Correction]
) -> tuple[tuple[HDUHeader, ...], list[Outcome]]:
    """The corrected headers, and what became of each correction."""
    edits, outcomes = decide(hdus, corrections)
    return apply_edits(hdus, edits), outcomes


def _targets(hdus: Sequence[HDUHeader], correction: Correction) -> Iterator[tuple[int, int]]:
    """HDU and card numbers that a correction is about."""
    wanted = correction.hdu
    for index, hdu in enumerate(hdus):
        if wanted.isdigit():
            fits = index == int(wanted)
        else:
            fits = wanted in ("", ALL_HDUS) or hdu.name.upper() == wanted.upper()
        if not fits:
            continue
        keywords = (
            number for number, card in enumerate(hdu.cards) if card[0] == correction.keyword
        )
        card = next(keywords, None)
        if card is not None:
            yield index, card
            if wanted != ALL_HDUS:
                return


def _status(found: CardValue, correction: Correction, later: Sequence[Correction]) -> Status:
    if is_value(found, correction.current, correction.datatype):
        return "applied"
    # A file that went through a chain of corrections holds the value of the last of them.
    done = (
        c
        for c in (correction, *later)
        if (c.keyword, c.hdu) == (correction.keyword, correction.hdu)
    )
    if any(is_value(found, c.updated, c.datatype) for c in done):
        return "already"
    return "different"


def _shown(value: CardValue) -> str:
    if value is None or value == "":
        return "no value"
    return repr(value) if isinstance(value, str) else str(value)
