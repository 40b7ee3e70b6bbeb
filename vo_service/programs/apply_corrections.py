#!/usr/bin/env python3
"""Apply a list of header corrections to FITS files.

    python apply_corrections.py LIST.csv FILE...

LIST.csv comes from the archive, /corrections/<collection>?RESPONSEFORMAT=csv. A file is changed
only where a keyword still has the value that the list expects; CHECKSUM stays valid, the data
are not touched, and a file that was corrected before stays as it is. What is not applied is
printed with file, HDU, keyword, the value found and the value expected; the exit status is then
1. Needs Python 3.9 and astropy; nothing else.

Cards are written as the archive writes them (?header=corrected), so that files are the same.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy
from astropy.io import fits

Row = dict[str, str]

CARD, BLOCK = 80, 2880
NEEDED = {"start_frame", "keyword", "current", "updated", "datatype"}
SUFFIX = re.compile(r"\.(fits?|fts|hdr|head|txt)(\.(gz|fz))?$|\.fz$", re.IGNORECASE)


def read_list(path: str) -> list[Row]:
    """The corrections of a CSV file, a dictionary each, in their order."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        names, *lines = [*csv.reader(file, strict=True)] or [[]]
    names = [name.strip().lower() for name in names]
    if not NEEDED.issubset(names):
        raise ValueError(f"{path}: expected the columns {', '.join(sorted(NEEDED))}")
    for fields in lines:
        if fields and len(fields) != len(names):
            raise ValueError(f"{path}: expected {len(names)} fields, found {len(fields)}")
    rows = [dict(zip(names, fields)) for fields in lines if fields]  # noqa: B905 - new in Python 3.10
    for row in rows:
        row["hdu"] = row.get("hdu", "").strip()
        row["datatype"] = row["datatype"].strip()
        row["keyword"] = row["keyword"].strip()
        row["current"] = value_text(row["current"], row["datatype"])
        row["updated"] = value_text(row["updated"], row["datatype"])
    return rows


def value_text(text: str, datatype: str) -> str:
    """A value as it stands in a card, without quotes."""
    if datatype == "string":
        return text.rstrip(" ")
    text = text.strip().upper()
    is_whole = datatype == "float" and re.fullmatch(r"[+-]?[0-9]+", text)
    return text + ".0" if is_whole else text


def covers(row: Row, names: tuple[str, str]) -> bool:
    """Whether a correction is meant for a file with these names."""
    start = row["start_frame"].strip()
    end = row.get("end_frame", "").strip() or start
    if start == end:
        return start in names or ("/" in start and start.rpartition("/")[2] in names)
    digits = re.search(r"[0-9]+$", start)
    frame = names[0]
    return (
        digits is not None
        and len(frame) == len(start)
        and start <= frame <= end
        and re.fullmatch(r"[0-9]+", frame[digits.start() :]) is not None
    )


def number(text: str) -> int | float:
    """A number of a card; integers stay exact."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text.replace("D", "E"))


def is_value(value: object, text: str, datatype: str) -> bool:
    """Whether a card's value is what the list says; numbers are compared as numbers."""
    if not text:
        return value is None or (isinstance(value, str) and not value.strip())
    if datatype == "string":
        return isinstance(value, str) and value.rstrip(" ") == text
    if isinstance(value, bool) or datatype == "logical":
        return isinstance(value, bool) and datatype == "logical" and value == (text == "T")
    if not isinstance(value, (int, float)):
        return False
    wanted = number(text)
    if isinstance(value, int) and isinstance(wanted, int):
        return value == wanted
    return float(value) == float(wanted)


def card_records(
    keyword: str, text: str, comment: str, quoted: bool, hierarch: bool
) -> list[bytes]:
    """The 80-byte records of a card; a long string goes on in CONTINUE records."""
    head = f"HIERARCH {keyword} = " if hierarch else f"{keyword:<8}= "
    if not quoted:
        return [record(head + (text if hierarch else f"{text:>20}"), comment)]
    escaped = text.replace("'", "''")
    records = []
    while len(head) + len(escaped) + 2 > CARD:
        room = CARD - len(head) - 3
        room -= escaped[:room].count("'") % 2
        records.append(record(f"{head}'{escaped[:room]}&'", ""))
        head, escaped = "CONTINUE  ", escaped[room:]
    string = f"'{escaped:<8}'"
    return [*records, record(head + (string if hierarch else f"{string:<20}"), comment)]


def record(text: str, comment: str) -> bytes:
    """One record; a comment that does not fit is cut."""
    line = f"{text} / {comment}" if comment else text
    return line[:CARD].ljust(CARD).encode("ascii", "replace")


def sum32(data: bytes, total: int = 0) -> int:
    """1's complement sum of big-endian 32-bit words (FITS 4.0, "Checksum keywords")."""
    total += int(numpy.frombuffer(data, ">u4").sum(dtype=numpy.uint64))
    while total > 0xFFFFFFFF:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_checksum(total: int) -> str:
    """The value of CHECKSUM where the HDU with sixteen zeros in its place sums up to *total*."""
    value = total ^ 0xFFFFFFFF
    avoided = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
    characters = [0] * 16
    for place, shift in enumerate((24, 16, 8, 0)):
        byte = value >> shift & 0xFF
        four = [byte // 4 + byte % 4 + 0x30] + [byte // 4 + 0x30] * 3
        while avoided & set(four):
            for first in (0, 2):
                if avoided & {four[first], four[first + 1]}:
                    four[first] += 1
                    four[first + 1] -= 1
        characters[place::4] = four
    text = bytes(characters).decode("ascii")
    return text[-1] + text[:-1]


class Card:
    """A keyword, its value and comment, and the records it is made of."""

    def __init__(self, records: list[bytes]) -> None:
        self.records = records
        self.hierarch = records[0].startswith(b"HIERARCH") and b"=" in records[0]
        texts = [record.decode("latin-1") for record in records]
        first, self.comment = texts[0], ""
        self.value: object = ()  # what no correction knows
        self.keyword = first[:8].rstrip()
        if self.hierarch:
            name, _, first = first[8:].partition("=")
            self.keyword = name.strip()
        elif first[8:9] == "=":
            first = first[9:]
        else:
            return
        self.value, self.comment = parse_value(first)
        for text in texts[1:]:
            value, comment = parse_value(text[8:])
            self.value = str(self.value)[:-1] + ("" if value is None else str(value))
            self.comment = " ".join(filter(None, (self.comment, comment)))

    @property
    def goes_on(self) -> bool:
        """Whether a CONTINUE record would belong to it."""
        return isinstance(self.value, str) and self.value.endswith("&")


VALUE = re.compile(r" *(?:'((?:[^']|'')*)'|([^/]*)) *(?:/ ?(.*))?", re.DOTALL)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([ED][+-]?[0-9]+)?")


def parse_value(text: str) -> tuple[object, str]:
    """Value (None: undefined) and comment of what stands behind the equal sign."""
    found = VALUE.fullmatch(text)
    if found is None:
        return text.strip(), ""
    comment = (found[3] or "").rstrip()
    if found[1] is not None:
        return found[1].replace("''", "'").rstrip(), comment
    value = found[2].strip()
    if value in ("T", "F"):
        return value == "T", comment
    if NUMBER.fullmatch(value.upper()):
        return number(value.upper()), comment
    return value or None, comment


def cards_of(header: bytes) -> list[Card]:
    """The cards before END; long strings are one card each."""
    records = [header[i : i + CARD] for i in range(0, len(header), CARD)]
    end = next(i for i, r in enumerate(records) if r[:3] == b"END" and not r[3:].strip(b" \0"))
    cards: list[Card] = []
    for this in records[:end]:
        if this.startswith(b"CONTINUE") and cards and cards[-1].goes_on:
            cards[-1] = Card([*cards[-1].records, this])
        else:
            cards.append(Card([this]))
    return cards


def blocks(cards: list[Card]) -> bytes:
    """The header of these cards, to the end of its last block."""
    header = b"".join(record for card in cards for record in card.records)
    header += b"END".ljust(CARD)
    return header.ljust(-(-len(header) // BLOCK) * BLOCK)


def with_checksum(old: bytes, cards: list[Card]) -> bytes:
    """The header, with a valid CHECKSUM if it had one."""
    cards = [card for card in cards if card.keyword != "ZHECKSUM"]
    first = {card.keyword: card for card in reversed(cards)}
    card = first.get("CHECKSUM")
    if card is None or not re.fullmatch(r"[0-9A-Za-z]{16}", str(card.value)):
        return blocks(cards)
    card.records = card_records("CHECKSUM", "0" * 16, card.comment, True, False)
    datasum = str(first["DATASUM"].value).strip() if "DATASUM" in first else ""
    has_sum = re.fullmatch(r"[0-9]+", datasum) and int(datasum) < 2**32
    # Without DATASUM, CHECKSUM stays as right, or as wrong, as it was.
    data = int(datasum) if has_sum else sum32(old) ^ 0xFFFFFFFF
    text = encode_checksum(sum32(blocks(cards), data))
    card.records = card_records("CHECKSUM", text, card.comment, True, False)
    return blocks(cards)


class File:
    """A FITS file: where its headers lie, and what is in them."""

    def __init__(self, path: str) -> None:
        self.path = path
        with fits.open(path, disable_image_compression=True, memmap=True) as hdus:
            places = [hdu.fileinfo() for hdu in hdus]
            self.names = [hdu.name.upper() for hdu in hdus]
        self.spans = [(place["hdrLoc"], place["datLoc"]) for place in places]
        with open(path, "rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise ValueError("is compressed as a whole: unpack it first (gunzip)")
            self.headers = []
            for start, end in self.spans:
                file.seek(start)
                self.headers.append(file.read(end - start))
        self.cards = [cards_of(header) for header in self.headers]
        self.changed: set[int] = set()

    def text(self, keyword: str) -> str | None:
        """The first text of a keyword in any HDU."""
        for cards in self.cards:
            for card in cards:
                if card.keyword == keyword and isinstance(card.value, str) and card.value.strip():
                    return card.value.strip()
        return None

    def targets(self, keyword: str, hdu: str) -> Iterator[tuple[int, Card]]:
        """HDUs and cards that a correction is about."""
        for index, cards in enumerate(self.cards):
            if hdu.isdigit():
                fits_hdu = index == int(hdu)
            else:
                fits_hdu = hdu.lower() in ("", "all") or self.names[index] == hdu.upper()
            card = next((card for card in cards if card.keyword == keyword), None)
            if fits_hdu and card is not None:
                yield index, card
                if hdu.lower() != "all":
                    return

    def save(self) -> None:
        """Write the changed headers; data move only where a header needs another block."""
        new = [
            with_checksum(self.headers[i], cards) if i in self.changed else self.headers[i]
            for i, cards in enumerate(self.cards)
        ]
        if new == self.headers:
            return
        if all(len(a) == len(b) for a, b in zip(self.headers, new)):  # noqa: B905 - new in Python 3.10
            with open(self.path, "r+b") as file:
                for i in sorted(self.changed):
                    file.seek(self.spans[i][0])
                    file.write(new[i])
            return
        part = f"{self.path}.part"
        with open(self.path, "rb") as old, open(part, "wb") as out:
            for i, header in enumerate(new):
                out.write(header)
                start = self.spans[i][1]
                end = self.spans[i + 1][0] if i + 1 < len(new) else os.fstat(old.fileno()).st_size
                copy(old, out, start, end)
        shutil.copystat(self.path, part)
        os.replace(part, self.path)


def copy(old: BinaryIO, out: BinaryIO, start: int, end: int) -> None:
    """Bytes of one file to the end of another."""
    old.seek(start)
    while start < end:
        chunk = old.read(min(1 << 20, end - start))
        if not chunk:
            raise OSError("the file ends too early")
        out.write(chunk)
        start += len(chunk)


def correct(
    path: str, rows: list[Row], keywords: list[str], any_frame: bool
) -> tuple[int, list[str]]:
    """Apply a list to one file; how many cards changed, and what was not applied."""
    file = File(path)
    name = os.path.basename(path)
    frame = next(filter(None, map(file.text, keywords)), None) or SUFFIX.sub("", name)
    meant = [row for row in rows if any_frame or covers(row, (frame, name))]
    applied = 0
    problems: list[str] = []
    for place, row in enumerate(meant):
        keyword, datatype = row["keyword"].replace("HIERARCH ", "", 1), row["datatype"]
        targets = list(file.targets(keyword, row["hdu"]))
        if not targets:
            hdu = row["hdu"] or "any"
            problems.append(f"HDU {hdu}, {keyword}: there is no such keyword")
        for index, card in targets:
            if is_value(card.value, row["current"], datatype):
                comment = row.get("comment", "") or card.comment
                records = card_records(
                    keyword, row["updated"], comment, datatype == "string", card.hierarch
                )
                if records != card.records:
                    file.changed.add(index)
                    applied += 1
                file.cards[index][file.cards[index].index(card)] = Card(records)
            elif not any(
                is_value(card.value, later["updated"], later["datatype"])
                for later in meant[place:]
                if (later["keyword"], later["hdu"]) == (row["keyword"], row["hdu"])
            ):
                found = "no value" if card.value in (None, "") else repr(card.value)
                expected = row["current"] or "no value"
                problems.append(f"HDU {index}, {keyword}: found {found}, expected {expected}")
    if file.changed:
        file.save()
    return applied, problems


def main() -> int:
    """Read the command line, correct the files, say what was done."""
    parser = argparse.ArgumentParser(
        description="Apply a list of header corrections to FITS files, which are changed in place.",
        epilog="Exit status 1: a file could not be corrected, or some values were not as expected.",
    )
    parser.add_argument("list", help="CSV from /corrections/<collection>?RESPONSEFORMAT=csv")
    parser.add_argument("files", nargs="+", metavar="FILE", help="FITS file to be corrected")
    parser.add_argument(
        "--frame-keyword", action="append", metavar="KEYWORD",
        help="keyword with the name of the frame [FRAMEID; else the name of the file]",
    )  # fmt: skip
    parser.add_argument(
        "--any-frame", action="store_true", help="apply the whole list, whatever the frame"
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore", fits.verify.VerifyWarning)
    failed = False
    try:
        rows = read_list(asked.list)
    except (OSError, ValueError, csv.Error) as error:
        print(error, file=sys.stderr)
        return 1
    for path in asked.files:
        try:
            applied, problems = correct(
                path, rows, asked.frame_keyword or ["FRAMEID"], asked.any_frame
            )
        except (OSError, ValueError, StopIteration) as error:
            print(f"{path}: {error or 'is no FITS file'}", file=sys.stderr)
            failed = True
            continue
        print(f"{path}: {applied} cards corrected" + (", the rest:" if problems else ""))
        for problem in problems:
            print(f"  {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
