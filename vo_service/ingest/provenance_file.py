"""A table of what files were made of: CSV in, `Line` out.

Each line tells one thing of one product: a file that was used for it (role, used), the run that
made it (run, software, version ...), or both. A file is read whole or not at all: every mistake
is named by line and column. Source: RFC 4180; docs/provenance.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vo_service.errors import UsageError
from vo_service.ingest.provenance import NAME_LIMIT, moment, reference
from vo_service.model.provenance import ROLES, Activity, Reference
from vo_service.model.written_file import written_text

__all__ = ["Line", "read_provenance"]

_SIZE_LIMIT = 200_000_000
_SHOWN = 20

_COLUMNS = (
    *("product", "role", "used", "used_collection", "run", "software", "version", "time"),
    *("start", "end", "comment"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says of *product* (an identifier, a path or a frame of the collection)."""

    number: int
    product: Reference
    activity: Activity | None
    generated: datetime | None
    used: Reference | None


def read_provenance(path: Path, collection: str) -> list[Line]:
    """All lines of a file about products of a collection.

    Raises
    ------
    UsageError
        Names line, column, what was expected and what was found, of up to 20 mistakes.
    OSError
        If the file cannot be read.
    """
    text = written_text(path, _SIZE_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[Line] = []
    mistakes: list[str] = []
    names: list[str] = []
    try:
        for fields in reader:
            if not names:
                names = _header(path, fields)
            elif any(field.strip() for field in fields):
                try:
                    lines.append(_line(reader.line_num, names, fields, collection))
                except ValueError as error:
                    mistakes.append(f"{path}, line {reader.line_num}, {error}")
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    if mistakes:
        more = [f"... and {len(mistakes) - _SHOWN} more"] if len(mistakes) > _SHOWN else []
        raise UsageError("\n".join([*mistakes[:_SHOWN], *more]))
    if not lines:
        raise UsageError(f"{path}: there is nothing in it; expected columns {', '.join(_COLUMNS)}")
    return lines


def _header(path: Path, fields: Sequence[str]) -> list[str]:
    names = [field.strip().lower() for field in fields]
    for name in names:
        if name not in _COLUMNS or names.count(name) > 1:
            raise UsageError(
                f"{path}, line 1: expected each column once, and of {', '.join(_COLUMNS)}; found "
                f"{name[:80]!r}"
            )
    if "product" not in names:
        raise UsageError(f"{path}, line 1: the column 'product' is missing")
    return names


def _line(number: int, names: Sequence[str], fields: Sequence[str], collection: str) -> Line:
    if len(fields) != len(names):
        raise ValueError(f"expected {len(names)} fields, found {len(fields)}")
    row = {name: field.strip() for name, field in zip(names, fields, strict=True)}
    for name, value in row.items():
        if len(value) > NAME_LIMIT or not value.isprintable():
            raise ValueError(
                f"{name}: expected at most {NAME_LIMIT} printable characters, found {value[:80]!r}"
            )
    if not row["product"]:
        raise ValueError("product: expected an identifier, a path or a frame, found nothing")
    activity = _activity(row)
    used = _used(row, collection)
    if activity is None and used is None:
        raise ValueError("expected what was used (role, used), or run or software")
    return Line(
        number, reference("", collection, row["product"]), activity, _time(row, "time"), used
    )


def _activity(row: Mapping[str, str]) -> Activity | None:
    start, end = _time(row, "start"), _time(row, "end")
    if start is not None and end is not None and end < start:
        raise ValueError(f"end: expected a time after {row['start']}, found {row['end']!r}")
    facts = (row.get("run") or None, row.get("software") or None, row.get("version") or None)
    if any(facts):
        return Activity(*facts, start, end, row.get("comment") or None)
    if start or end or row.get("comment") or row.get("time"):
        raise ValueError("run: expected the run that time, start, end or comment are told of")
    return None


def _used(row: Mapping[str, str], collection: str) -> Reference | None:
    role, used = row.get("role", ""), row.get("used", "")
    if not role and not used:
        return None
    if role not in ROLES:
        raise ValueError(f"role: expected one of {', '.join(ROLES)}, found {role!r}")
    if not used:
        raise ValueError("used: expected an identifier, a path or a frame, found nothing")
    return reference(role, row.get("used_collection") or collection, used)


def _time(row: Mapping[str, str], name: str) -> datetime | None:
    text = row.get(name, "")
    try:
        return moment(text) if text else None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error
