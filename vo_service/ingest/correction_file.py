"""A table of header corrections as an observatory writes it: CSV in, `Correction` out.

Columns: start_frame, keyword, current, updated and datatype must be there; end_frame, hdu,
comment, reference, collection may be; ``check_<name>`` holds what the observatory's own check
``<name>`` said. A file is read whole or not at all: every mistake is named by line and column.
Source: RFC 4180; the correction table of Hyper Suprime-Cam.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vo_service.errors import UsageError
from vo_service.model.correction import ALL_HDUS, Correction, Datatype, FrameRange, fits_text
from vo_service.model.written_file import written_text

__all__ = ["Line", "read_corrections"]

_SIZE_LIMIT = 50_000_000
_SHOWN = 20

_NEEDED = ("start_frame", "keyword", "current", "updated", "datatype")
_KNOWN = (*_NEEDED, "end_frame", "hdu", "comment", "reference", "collection")
_CHECK = "check_"

_DATATYPES: Mapping[str, Datatype] = {
    "int": "int",
    "integer": "int",
    "float": "float",
    "double": "float",
    "real": "float",
    "string": "string",
    "str": "string",
    "char": "string",
    "logical": "logical",
    "bool": "logical",
    "boolean": "logical",
}
#: Longest texts: a card has 80 characters, and a string may go on over some more.
_LIMITS = {"string": 1000, "float": 40, "comment": 70, "reference": 1000, "frame": 500}

_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|[A-Z0-9_.-]+( [A-Z0-9_.-]+)+|[A-Z0-9_.-]{9,}")
_KEYWORD_LIMIT = 40
#: What says how a file is laid out, what is no value, and what follows from the rest.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|END|CONTINUE|COMMENT|HISTORY"
    r"|TFIELDS|TFORM\d+|TBCOL\d+|TDIM\d+|THEAP|INHERIT|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM"
    r"|ZSIMPLE|ZTENSION|ZEXTEND|ZPCOUNT|ZGCOUNT|ZIMAGE|ZTABLE|ZCMPTYPE|ZBITPIX|ZNAXIS\d*"
    r"|ZTILE\d+|ZTILELEN|ZNAME\d+|ZVAL\d+|ZFORM\d+|ZCTYP\d+|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO"
    r"|ZMASKCMP|ZBLOCKED|FZALGOR|FZTILE",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A correction, the line on which it stands, and its collection, where that is written."""

    number: int
    correction: Correction
    collection: str | None


def read_corrections(path: Path) -> list[Line]:
    """All corrections of a file, in its order.

    Raises
    ------
    UsageError
        Names line, column, what was expected and what was found, of up to 20 mistakes.
    OSError
        If the file cannot be read.
    """
    text = written_text(path, _SIZE_LIMIT)
    lines: list[Line] = []
    mistakes: list[str] = []
    for number, outcome in _records(path, text):
        if isinstance(outcome, str):
            mistakes.append(f"{path}, line {number}, {outcome}")
        else:
            lines.append(outcome)
    if mistakes:
        more = [f"... and {len(mistakes) - _SHOWN} more"] if len(mistakes) > _SHOWN else []
        raise UsageError("\n".join([*mistakes[:_SHOWN], *more]))
    if not lines:
        raise UsageError(f"{path}: there is no correction in it, only a header line")
    return lines


def _records(path: Path, text: str) -> Iterator[tuple[int, Line | str]]:
    """Each record, by its first line, as what it says or what is wrong with it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    names: list[str] = []
    try:
        for fields in reader:
            number, before = before + 1, reader.line_num
            if not names:
                names = _header(path, fields)
            elif any(field.strip() for field in fields):
                yield number, _line(number, names, fields)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    if not names:
        raise UsageError(f"{path}: is empty; expected a header line {','.join(_NEEDED)}")


def _header(path: Path, fields: Sequence[str]) -> list[str]:
    names = [field.strip().lower() for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}, line 1: the column {name!r} is there more than once")
        if name not in _KNOWN and not (name.startswith(_CHECK) and name != _CHECK):
            raise UsageError(
                f"{path}, line 1: there is no column {name[:80]!r}; expected {', '.join(_KNOWN)}"
                f" or {_CHECK}<name>"
            )
    if missing := [name for name in _NEEDED if name not in names]:
        raise UsageError(f"{path}, line 1: the column {missing[0]!r} is missing")
    return names


def _line(number: int, names: Sequence[str], fields: Sequence[str]) -> Line | str:
    if len(fields) != len(names):
        return f"expected {len(names)} fields, found {len(fields)}"
    row = dict(zip(names, fields, strict=True))
    for name, value in row.items():
        if "\0" in value:
            return f"{name}: expected no NUL character"
    name = "start_frame"
    try:
        start, end = (row.get(key, "").strip() for key in ("start_frame", "end_frame"))
        if not start or not f"{start}{end}".isprintable() or len(start) > _LIMITS["frame"]:
            return f"start_frame: expected a frame, path or identifier, found {start[:80]!r}"
        name = "end_frame"
        frames = FrameRange.of(start.removeprefix("./"), end.removeprefix("./"))
        name = "datatype"
        datatype = _datatype(row["datatype"])
        values = {}
        for name in ("current", "updated"):
            values[name] = _value(row[name], datatype)
        name = "hdu"
        hdu = _hdu(row.get("hdu", ""))
        name = "keyword"
        keyword = _keyword(row["keyword"])
        for name in ("comment", "reference"):
            values[name] = _text(row.get(name, ""), _LIMITS[name], ascii_only=name == "comment")
        checks = {}
        for name in (name for name in names if name.startswith(_CHECK)):
            checks[name.removeprefix(_CHECK)] = _check(row[name])
    except ValueError as error:
        found = row.get(name, "")
        return f"{name}: {error}, found {found[:80]!r}"
    correction = Correction(
        frames=frames,
        hdu=hdu,
        keyword=keyword,
        datatype=datatype,
        current=values["current"],
        updated=values["updated"],
        comment=values["comment"],
        reference=values["reference"],
        checks=checks,
    )
    return Line(number, correction, row.get("collection", "").strip() or None)


def _datatype(text: str) -> Datatype:
    found = _DATATYPES.get(text.strip().lower())
    if found is None:
        raise ValueError("expected int, float, string or logical")
    return found


def _value(text: str, datatype: Datatype) -> str:
    limit = _LIMITS["string" if datatype == "string" else "float"]
    if len(text) > limit:
        raise ValueError(f"expected at most {limit} characters")
    return fits_text(text, datatype)


def _hdu(text: str) -> str:
    text = text.strip()
    if text.lower() == ALL_HDUS or not text:
        return text.lower()
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return str(int(text))
    if text.isdigit() or not text.isascii() or not text.isprintable() or len(text) > 68:
        raise ValueError("expected the number of an HDU (0: the primary), its EXTNAME, or all")
    return text


def _keyword(text: str) -> str:
    keyword = text.strip().removeprefix("HIERARCH ").strip()
    if not _KEYWORD.fullmatch(keyword) or len(keyword) > _KEYWORD_LIMIT:
        raise ValueError("expected a FITS keyword in capital letters")
    if _STRUCTURE.fullmatch(keyword):
        raise ValueError("expected a keyword that says nothing of the file's structure")
    return keyword


def _text(text: str, limit: int, *, ascii_only: bool) -> str:
    text = text.strip()
    if len(text) > limit or not text.isprintable() or (ascii_only and not text.isascii()):
        kind = "printable ASCII" if ascii_only else "printable"
        raise ValueError(f"expected at most {limit} {kind} characters")
    return text


def _check(text: str) -> str:
    outcome = text.strip()
    if outcome.upper() not in ("OK", ""):
        raise ValueError("expected OK or nothing: what failed a check is not to be applied")
    return outcome.upper()
