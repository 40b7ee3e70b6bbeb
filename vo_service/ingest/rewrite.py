"""Corrected header blocks of a file, made of its own: what is not corrected stays as it is.

A card that is corrected is written in fixed format, its comment kept unless there is another;
a long string goes on in CONTINUE records. CHECKSUM of the HDU is brought up to date without a
look at the data: from DATASUM, or, where there is none, by as much as the header changed, so
that it is as right, or as wrong, as before. An HDU without CHECKSUM gets none. ZHECKSUM, which
speaks of the header of an uncompressed image as it was, is taken away.
Source: FITS 4.0, "Keyword records", "Checksum keywords"; the ESO HIERARCH convention.
Positions are bytes; a span is (start, end), the end not included.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vo_service.errors import UsageError
from vo_service.ingest.cards import CARD, Card, locate_cards, parse_cards
from vo_service.ingest.checksum import encode_checksum, sum32
from vo_service.ingest.corrections import Edit, Outcome, decide
from vo_service.ingest.headers import BLOCK, read_headers
from vo_service.model.correction import Correction

__all__ = [
    "CorrectedHeaders",
    "HeaderEdits",
    "by_hdu",
    "card_records",
    "corrected_headers",
    "rewritten",
]

#: Corrections of a header by the number of the card, in their order.
HeaderEdits = Mapping[int, Sequence[Correction]]

_FIXED = 20
_SUM = re.compile(r"[0-9A-Za-z]{16}")
_ZEROS = "0" * 16
_END = b"END".ljust(CARD)


@dataclass(frozen=True, slots=True)
class CorrectedHeaders:
    """A file with corrected headers.

    *parts* are, in order, new header blocks and spans of the file that stay; *outcomes* what
    became of each correction; *digest* tells the new headers from others, empty where nothing
    changed.
    """

    parts: tuple[bytes | tuple[int, int], ...]
    outcomes: tuple[Outcome, ...]
    digest: str

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return sum(
            len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self.parts
        )


def corrected_headers(
    descriptor: int, size: int, corrections: Sequence[Correction]
) -> CorrectedHeaders:
    """What an open FITS file of *size* bytes looks like after *corrections*.

    Reads headers only, whatever the size of the data.

    Raises
    ------
    UsageError
        If the file is compressed as a whole.
    HeaderError
        If it is no FITS file, or a damaged one.
    OSError
        If it cannot be read.
    """
    if not corrections:
        return CorrectedHeaders(((0, size),), (), "")
    if os.pread(descriptor, 2, 0) == b"\x1f\x8b":
        raise UsageError(
            "the file is compressed as a whole (gzip), so its header cannot be corrected on the way"
        )
    hdus = read_headers(descriptor)
    edits, outcomes = decide(hdus, corrections)
    chosen = by_hdu(edits)
    parts: list[bytes | tuple[int, int]] = []
    digest = hashlib.sha256()
    position = 0
    for hdu in hdus:
        if hdu.index not in chosen or hdu.header_offset is None or hdu.data_offset is None:
            continue
        old = os.pread(descriptor, hdu.data_offset - hdu.header_offset, hdu.header_offset)
        new = rewritten(old, chosen[hdu.index])
        digest.update(new)
        parts += [(position, hdu.header_offset), new]
        position = hdu.data_offset
    parts.append((position, size))
    return CorrectedHeaders(
        tuple(part for part in parts if isinstance(part, bytes) or part[0] < part[1]),
        tuple(outcomes),
        digest.hexdigest()[:32] if edits else "",
    )


def by_hdu(edits: Sequence[Edit]) -> dict[int, HeaderEdits]:
    """The edits of each HDU that has some, by its number."""
    found: dict[int, dict[int, list[Correction]]] = {}
    for edit in edits:
        found.setdefault(edit.hdu, {}).setdefault(edit.card, []).append(edit.correction)
    return dict(found)


def rewritten(header: bytes, edits: HeaderEdits) -> bytes:
    """The blocks of one header after *edits*."""
    records = [header[place : place + CARD] for place in range(0, len(header), CARD)]
    end = next(i for i, r in enumerate(records) if r[:3] == b"END" and not r[3:].strip(b" \0"))
    cards, places = locate_cards(records[:end])
    new: list[bytes] = []
    done = 0
    for number, (card, (first, last)) in enumerate(zip(cards, places, strict=True)):
        if card[0] == "ZHECKSUM" or number in edits:
            new += records[done:first]
            done = last
        if number in edits:
            new += _edited(card, edits[number], records[first].startswith(b"HIERARCH"))
    new += records[done:end]
    return _with_checksum(header, new, cards)


def card_records(
    keyword: str, text: str, comment: str, *, quoted: bool, hierarch: bool = False
) -> list[bytes]:
    """The records of a card; *text* is the value as `fits_text` makes it.

    The comment is cut where the (last) record ends.
    """
    head = f"HIERARCH {keyword} = " if hierarch else f"{keyword:<8}= "
    if not quoted:
        return [_record(head + (text if hierarch else f"{text:>{_FIXED}}"), comment)]
    escaped = text.replace("'", "''")
    records = []
    while len(head) + len(escaped) + 2 > CARD:
        room = CARD - len(head) - 3  # two quotes and the ampersand
        # Both halves of a quote that is written twice belong to one record.
        room -= escaped[:room].count("'") % 2
        records.append(_record(f"{head}'{escaped[:room]}&'", ""))
        head, escaped = "CONTINUE  ", escaped[room:]
    string = f"'{escaped:<8}'"
    return [*records, _record(head + (string if hierarch else f"{string:<{_FIXED}}"), comment)]


def _record(text: str, comment: str) -> bytes:
    line = f"{text} / {comment}" if comment else text
    return line[:CARD].ljust(CARD).encode("ascii", "replace")


def _edited(card: Card, corrections: Sequence[Correction], hierarch: bool) -> list[bytes]:
    records: list[bytes] = []
    for correction in corrections:
        records = card_records(
            card[0],
            correction.updated,
            correction.comment or card[2],
            quoted=correction.datatype == "string",
            hierarch=hierarch,
        )
        (card,) = parse_cards(records)  # with as much of the comment as there is room for
    return records


def _with_checksum(old: bytes, records: list[bytes], cards: Sequence[Card]) -> bytes:
    """The header of *records*, complete, with a CHECKSUM if the *old* one has a usable one."""
    values = {keyword: (value, comment) for keyword, value, comment in reversed(cards)}
    checksum, comment = values.get("CHECKSUM", (None, ""))
    at = next((i for i, record in enumerate(records) if record[:9] == b"CHECKSUM="), None)
    if at is None or not _SUM.fullmatch(str(checksum)):
        return _blocks(records)
    [records[at]] = card_records("CHECKSUM", _ZEROS, comment, quoted=True)
    datasum = str(values.get("DATASUM", ("", ""))[0]).strip()
    if datasum.isascii() and datasum.isdigit() and int(datasum) < 2**32:
        data = int(datasum)
    else:
        data = sum32(old) ^ 0xFFFFFFFF
    text = encode_checksum(sum32(_blocks(records), data))
    [records[at]] = card_records("CHECKSUM", text, comment, quoted=True)
    return _blocks(records)


def _blocks(records: Sequence[bytes]) -> bytes:
    header = b"".join((*records, _END))
    return header.ljust(-(-len(header) // BLOCK) * BLOCK)
