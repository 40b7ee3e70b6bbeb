"""Lists that observatories send about releases: CSV or TSV, checked line by line.

Three kinds, told apart by their columns: proposals whose embargo is prolonged, nights of an
instrument that are held back, frames that are public or private from a day on. A list is taken
whole or not at all. Source: MISSION A2. Dates are YYYY-MM-DD.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from vo_service.errors import ConfigError

__all__ = ["FrameDecision", "Hold", "Kind", "Prolongation", "ReleaseList", "read_release_list"]

_SIZE_LIMIT = 500_000_000
_TEXT_LIMIT = 1000
_LINE_LIMIT = 100_000
#: Mistakes that are told; who has more has made one many times.
_TOLD = 10


class Kind(StrEnum):
    """What a list is about; also the word by which it is shown."""

    PROLONGATIONS = "prolongations"
    HOLDS = "holds"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Prolongation:
    """A proposal whose frames stay closed until a day, on which they are public."""

    line: int
    proposal_id: str
    until: date
    reason: str | None = None

    @property
    def key(self) -> object:
        """What may be said once in a list."""
        return self.proposal_id

    def __str__(self) -> str:
        return f"proposal {self.proposal_id} prolonged until {self.until}{_why(self.reason)}"


@dataclass(frozen=True, slots=True)
class Hold:
    """Nights (of one instrument, or of all) that stay closed until a day, or until taken away."""

    line: int
    first_night: date
    last_night: date
    instrument: str | None = None
    until: date | None = None
    reason: str | None = None

    @property
    def key(self) -> object:
        """What may be said once in a list."""
        return (self.first_night, self.last_night, self.instrument)

    def holds(self, night: date | None, instrument: str | None, today: date) -> bool:
        """Whether frames of such a night and instrument are held back *today*."""
        return (
            night is not None
            and self.first_night <= night <= self.last_night
            and self.instrument in (None, instrument)
            and (self.until is None or today < self.until)
        )

    def __str__(self) -> str:
        nights = f"night {self.first_night}"
        if self.last_night != self.first_night:
            nights = f"nights {self.first_night} to {self.last_night}"
        whose = f" of {self.instrument}" if self.instrument else ""
        until = f" until {self.until}" if self.until else ""
        return f"hold of {nights}{whose}{until}{_why(self.reason)}"


@dataclass(frozen=True, slots=True)
class FrameDecision:
    """A frame, by path or name, that is public or private again from a day on."""

    line: int
    frame: str
    state: str
    since: date
    reason: str | None = None

    @property
    def key(self) -> object:
        """What may be said once in a list."""
        return (self.frame, self.since)


Entry = Prolongation | Hold | FrameDecision


@dataclass(frozen=True, slots=True)
class ReleaseList:
    """A list that is right in itself; whether the archive knows what it names is not said."""

    name: str
    kind: Kind
    digest: str
    entries: Sequence[Entry]


def _why(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _text(value: str) -> str:
    if len(value) > _TEXT_LIMIT or not value.isprintable():
        raise ValueError(f"expected printable text of at most {_TEXT_LIMIT} characters")
    return value


def _day(value: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("expected a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("there is no such day in the calendar") from None


def _state(value: str) -> str:
    if value not in ("public", "private"):
        raise ValueError("expected public or private")
    return value


def _frame(value: str) -> str:
    _text(value)
    parts = value.split("/")
    if "" in parts or "." in parts or ".." in parts:
        raise ValueError("expected a file's name or its path below the collection")
    return value


@dataclass(frozen=True, slots=True)
class _Form:
    """Columns of a kind of list, how they are read, and what they make."""

    kind: Kind
    needed: Mapping[str, Callable[[str], Any]]
    optional: Mapping[str, Callable[[str], Any]]
    make: Callable[..., Entry]


def _hold(line: int, night: date, last_night: date | None = None, **more: Any) -> Hold:
    if last_night is not None and last_night < night:
        raise ValueError("last_night: expected a night that is not before night")
    return Hold(line, night, last_night or night, **more)


_FORMS = (
    _Form(
        Kind.PROLONGATIONS,
        {"proposal_id": _text, "until": _day},
        {"reason": _text},
        Prolongation,
    ),
    _Form(
        Kind.HOLDS,
        {"night": _day},
        {"last_night": _day, "instrument": _text, "until": _day, "reason": _text},
        _hold,
    ),
    _Form(
        Kind.FRAMES,
        {"frame": _frame, "state": _state, "since": _day},
        {"reason": _text},
        FrameDecision,
    ),
)


def read_release_list(path: Path, **given: str) -> ReleaseList:
    """Read a list, whole or not at all.

    The first line names the columns; blank lines and those that begin with ``#`` are skipped.
    Tabs separate columns if the first line holds one, else commas.

    Parameters
    ----------
    path
        A file of text in UTF-8.
    given
        Values of columns that the file does not have (``state``, ``since``).

    Raises
    ------
    ConfigError
        Tells all mistakes (the first ten), each with file, line, field and what was expected.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _SIZE_LIMIT:
        raise ConfigError(f"{path}: larger than {_SIZE_LIMIT} bytes")
    mistakes: list[str] = []
    lines = _lines(_decoded(path, content))
    first = next(lines, None)
    if first is None:
        raise ConfigError(f"{path}: is empty; {_expected()}")
    columns, form = _form(path, first, given)
    entries: list[Entry] = []
    seen: dict[object, int] = {}
    for number, cells in lines:
        try:
            entry = _entry(number, columns, cells, form, given)
            if (before := seen.setdefault(entry.key, number)) != number:
                raise ValueError(f"says again what line {before} says")
            entries.append(entry)
        except ValueError as error:
            mistakes.append(f"{path}: line {number}: {error}")
    if len(mistakes) > _TOLD:
        mistakes[_TOLD:] = [f"... and {len(mistakes) - _TOLD} more mistakes"]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    # Options say something of every line, so they belong to what makes two lists the same.
    digest = hashlib.sha256(repr(sorted(given.items())).encode() + content).hexdigest()
    return ReleaseList(path.name, form.kind, digest, entries)


def _decoded(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: line {line}: expected text in UTF-8, found the byte "
            f"0x{content[error.start]:02x}"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(f"{path}: line {line}: expected text, found a NUL character")
    return text


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that says something; nothing runs over several lines."""
    separator = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        separator = separator or ("\t" if "\t" in line else ",")
        # No cell can be too long for the reader, which would not say where.
        cells = csv.reader([line[:_LINE_LIMIT]], delimiter=separator)
        yield number, [cell.strip() for cell in next(cells)]


def _form(
    path: Path, first: tuple[int, list[str]], given: Mapping[str, str]
) -> tuple[list[str], _Form]:
    """Columns of a list, and what kind of list has them."""
    number, columns = first
    here = {*columns, *given}
    for form in _FORMS:
        if form.needed.keys() <= here <= form.needed.keys() | form.optional.keys():
            if len(here) == len(columns) + len(given):
                return columns, form
            twice = next(name for name in here if (*columns, *given).count(name) > 1)
            raise ConfigError(f"{path}: line {number}: the column {twice} is given twice")
    raise ConfigError(
        f"{path}: line {number}: found the columns {', '.join(columns)[:200]}; {_expected()}"
    )


def _expected() -> str:
    kinds = (
        f"{', '.join(form.needed)} [{', '.join(form.optional)}] ({form.kind})" for form in _FORMS
    )
    return f"expected a first line with {'; or '.join(kinds)}"


def _entry(
    number: int, columns: Sequence[str], cells: Sequence[str], form: _Form, given: Mapping[str, str]
) -> Entry:
    if len(cells) != len(columns):
        raise ValueError(f"expected {len(columns)} fields, found {len(cells)}")
    values: dict[str, Any] = {}
    for name, cell in (*zip(columns, cells, strict=True), *given.items()):
        read = form.needed.get(name) or form.optional[name]
        if not cell:
            if name in form.needed:
                raise ValueError(f"{name}: is empty")
            continue
        try:
            values[name] = read(cell)
        except ValueError as error:
            raise ValueError(f"{name}: {error}, found {cell[:80]!r}") from None
    return form.make(line=number, **values)
