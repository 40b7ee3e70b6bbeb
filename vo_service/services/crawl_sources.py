"""Other sites' services, asked slice by slice: TAP with counts first, SIA 2.0 without.

The other side is trusted with nothing: addresses are http(s), redirects lead to public addresses
or back to the host that the operator named, answers have limits of bytes and seconds and are read
while they arrive, XML has no entities. Source: TAP 1.0 and 1.1; SIA 2.0; DALI 1.1, "MAXREC",
"QUERY_STATUS"; the ADQL is that of 2.0, which every service takes.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlencode

import anyio
import pyarrow as pa

from vo_service.errors import UsageError
from vo_service.formats.tables_in.votable import VOTableReader
from vo_service.ingest.foreign import ForeignReader
from vo_service.model.crawl import DOMAINS, Cut, Origin, Slice, Span
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field
from vo_service.params.upload import split_url
from vo_service.services.fetch import fetch
from vo_service.settings import Settings

__all__ = ["Answer", "Counted", "Remote", "Sia2Source", "Source", "TapSource"]

_PORTS = {"http": 80, "https": 443}
_TABLE = "ivoa.obscore"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")

#: What is summed and compared to tell whether a slice changed; texts by their ends.
_SUMS = ("calib_level", "access_estsize", "s_ra", "s_dec", "t_exptime")
_ENDS = ("obs_publisher_did", "access_url")
_PIECES = 20_000

_MJD_1970 = 40_587
#: Days from now in which there may be observations already.
_AHEAD = 366


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows a slice has, and what else the service said that changes with them."""

    rows: int
    said: str


class Answer:
    """A table that arrived: its fields, its batches, and whether it was cut short."""

    def __init__(self, file: BinaryIO) -> None:
        self._reader = VOTableReader(file, lenient=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns."""
        return self._reader.fields

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, once.

        Raises
        ------
        UsageError
            They cannot be read, or the service says at the end that it failed.
        """
        yield from self._reader.batches()
        if self._reader.status == "ERROR":
            raise UsageError("the service failed while it sent rows")

    @property
    def overflow(self) -> bool:
        """Whether the service said, by the end of the rows, that there are more."""
        return self._reader.status == "OVERFLOW"


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a service is, and how patiently it is asked."""

    settings: Settings
    url: str

    @contextmanager
    def ask(self, url: str, **parameters: Any) -> Iterator[Path]:
        """A file with what *url* answers, for as long as the context lasts.

        Raises
        ------
        UsageError
            There is no such answer; says why, and what the service says.
        """
        time.sleep(self.settings.crawl_pause_s)
        wanted = url
        if parameters:
            wanted += f"{'&' if '?' in url else '?'}{urlencode(parameters, doseq=True)}"
        here = split_url(self.url)
        port = here.port or _PORTS[here.scheme]
        with tempfile.TemporaryDirectory(prefix="vo-crawl-") as directory:
            target = Path(directory) / "answer"

            async def get() -> None:
                await fetch(
                    wanted,
                    target,
                    bytes_limit=self.settings.crawl_bytes_limit,
                    limit_s=self.settings.crawl_limit_s,
                    named=frozenset({(str(here.hostname), port)}),
                )

            try:
                anyio.run(get)
            except UsageError as error:
                raise type(error)(str(error).replace(wanted[:200], url[:200])) from error
            yield target

    @contextmanager
    def table(self, url: str, **parameters: Any) -> Iterator[Path]:
        """The same, of a table; errors name the service."""
        with self.ask(url, **parameters) as file:
            try:
                yield file
            except UsageError as error:
                raise UsageError(f"{url}: {error}") from error


class Source(Protocol):
    """How a kind of service is asked."""

    def columns(self) -> None:
        """Learn what there is; refuses what has no ObsCore."""

    def pieces(self, slice_: Slice, cut: Cut) -> list[tuple[Slice, Counted | None]]:
        """The parts of a slice that may hold rows; counted where the service can count."""

    def rows(self, slice_: Slice, maxrec: int) -> AbstractContextManager[Path]:
        """A context with a file: the rows of a slice."""

    def has(self, slice_: Slice, value: Any) -> bool:
        """Whether a row that came belongs to the slice, by its t_min."""


class TapSource:
    """The ``ivoa.obscore`` of a TAP service."""

    def __init__(self, remote: Remote, origin: Origin) -> None:
        self._remote = remote
        self._url = f"{origin.url.rstrip('/')}/sync"
        self._origin = origin
        self._names: dict[str, str] = {}
        self._sums = True

    def columns(self) -> None:
        """Learn which columns of ObsCore there are.

        Raises
        ------
        UsageError
            There is no table ``ivoa.obscore``, or the service does not answer.
        """
        with self._query(f"SELECT TOP 1 * FROM {_TABLE}", 1) as file, file.open("rb") as stream:  # noqa: S608 - ADQL for others, of names of ours
            fields = [one for one in Answer(stream).fields if _NAME.fullmatch(one.name)]
            ForeignReader(fields)  # refuses what lacks columns
        found = {field.name.lower(): field.name for field in fields}
        self._names = {c.name: found[c.name] for c in OBSCORE if c.name in found}

    def pieces(self, slice_: Slice, cut: Cut) -> list[tuple[Slice, Counted | None]]:
        """The parts of a slice that have rows, with their counts."""
        groups: dict[Slice, list[Counted]] = defaultdict(list)
        for number, counted in self._counts(slice_, cut):
            groups[slice_.piece(cut, number)].append(counted)
        return [
            (part, Counted(sum(c.rows for c in many), "|".join(sorted(c.said for c in many))))
            for part, many in sorted(groups.items(), key=lambda group: group[0].path)
        ]

    def rows(self, slice_: Slice, maxrec: int) -> AbstractContextManager[Path]:
        """The rows of a slice."""
        names = ", ".join(self._names.values())
        query = f"SELECT {names} FROM {_TABLE}{self._where(slice_)}"  # noqa: S608 - ADQL for others; texts are quoted
        return self._query(query, maxrec)

    def has(self, slice_: Slice, value: Any) -> bool:
        """What was asked for is what came."""
        return True

    def _query(self, query: str, maxrec: int) -> AbstractContextManager[Path]:
        return self._remote.table(
            self._url, REQUEST="doQuery", LANG="ADQL", QUERY=query, MAXREC=maxrec
        )

    def _counts(self, slice_: Slice, cut: Cut) -> list[tuple[float | None, Counted]]:
        if self._sums:
            try:
                return self._ask_counts(slice_, cut, self._told())
            except UsageError:  # a sum that it cannot work out, or something worse: that is seen
                self._sums = False
        return self._ask_counts(slice_, cut, [])

    def _told(self) -> list[tuple[str, str]]:
        sums = [("SUM", name) for name in _SUMS]
        ends = [(end, name) for name in _ENDS for end in ("MIN", "MAX")]
        return [(function, name) for function, name in sums + ends if name in self._names]

    def _ask_counts(
        self, slice_: Slice, cut: Cut, told: Sequence[tuple[str, str]]
    ) -> list[tuple[float | None, Counted]]:
        inner = ", ".join(
            [f"FLOOR({self._names[cut.column]}/{cut.width!r}) AS piece"]
            + [self._names[name] for name in dict.fromkeys(name for _, name in told)]
        )
        outer = ", ".join(
            ["piece", "COUNT(*) AS products"]
            + [f"{f}({self._names[name]}) AS told{i}" for i, (f, name) in enumerate(told)]
        )
        inside = f"SELECT {inner} FROM {_TABLE}{self._where(slice_)}"  # noqa: S608 - as above
        query = f"SELECT {outer} FROM ({inside}) AS pieces GROUP BY piece"  # noqa: S608 - as above
        with self._query(query, _PIECES) as file, file.open("rb") as stream:
            answer = Answer(stream)
            rows = [row for batch in answer.batches() for row in _rows(batch)]
            if answer.overflow:
                raise UsageError(f"the counts of {slice_} are more than it sends")
        try:
            return [(_float(row[0]), Counted(int(row[1]), _said(row[1:]))) for row in rows]
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"the counts of {slice_} are no numbers") from error

    def _where(self, slice_: Slice) -> str:
        terms = [self._span(column, span) for column, span in slice_.spans]
        if self._origin.collections:
            texts = ", ".join(_literal(name) for name in self._origin.collections)
            terms.append(f"obs_collection IN ({texts})")
        if (circle := self._origin.circle) is not None:
            place = f"POINT('ICRS', {self._names['s_ra']}, {self._names['s_dec']})"
            around = f"CIRCLE('ICRS', {circle.ra!r}, {circle.dec!r}, {circle.radius!r})"
            terms.append(f"1 = CONTAINS({place}, {around})")
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    def _span(self, column: str, span: Span) -> str:
        name, (low, high) = self._names[column], DOMAINS[column]
        if span.is_outside:
            return f"({name} IS NULL OR {name} < {low!r} OR {name} >= {high!r})"
        return f"({name} >= {span.low!r} AND {name} < {span.high!r})"


class Sia2Source:
    """A SIA 2.0 service: cut by time only, each part read before it is known how large it is."""

    def __init__(self, remote: Remote, origin: Origin) -> None:
        self._remote = remote
        self._origin = origin

    def columns(self) -> None:
        """Ask for no rows, to see which columns there are.

        Raises
        ------
        UsageError
            They are not those of ObsCore, or the service does not answer.
        """
        with self._remote.table(self._origin.url, MAXREC=0) as file, file.open("rb") as stream:
            ForeignReader(Answer(stream).fields)

    def pieces(self, slice_: Slice, cut: Cut) -> list[tuple[Slice, Counted | None]]:
        """All times of a slice; none where it cannot be cut by time."""
        if cut.column != "t_min":
            return []
        low, high = DOMAINS["t_min"]
        if slice_.time is not None:
            low, high = slice_.time.low, slice_.time.high
        high = min(high, time.time() / 86_400 + _MJD_1970 + _AHEAD)
        numbers = range(int(low / cut.width), math.ceil(high / cut.width))
        return [(slice_.piece(cut, number), None) for number in numbers]

    def rows(self, slice_: Slice, maxrec: int) -> AbstractContextManager[Path]:
        """The rows whose times overlap those of a slice."""
        asked: dict[str, Any] = {"MAXREC": maxrec}
        if slice_.time is not None:
            asked["TIME"] = f"{slice_.time.low!r} {slice_.time.high!r}"
        if (circle := self._origin.circle) is not None:
            asked["POS"] = f"CIRCLE {circle.ra!r} {circle.dec!r} {circle.radius!r}"
        if self._origin.collections:
            asked["COLLECTION"] = list(self._origin.collections)
        return self._remote.table(self._origin.url, **asked)

    def has(self, slice_: Slice, value: Any) -> bool:
        """A row that began earlier is that of an earlier slice."""
        span = slice_.time
        if span is None:
            return True
        return isinstance(value, int | float) and span.low <= value < span.high


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _said(values: Sequence[Any]) -> str:
    """What changes with the rows; sums of many numbers end differently with each order."""
    return " ".join(f"{v:.12g}" if isinstance(v, float) else str(v) for v in values)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
