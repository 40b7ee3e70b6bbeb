"""Read another site's ObsCore into ``elsewhere.obscore``, and keep up with it.

A service is read slice by slice (`vo_service.model.crawl`). TAP counts first: a slice whose count
and sums are what they were is left alone, one that is small enough is read, a larger one is cut.
SIA 2.0 cannot count: a slice is read, and cut where the answer is. Each slice is exchanged in one
transaction, which also writes down where the crawl is; so it may be killed at any time, and what
the origin has no more is gone here too. MISSION D5.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.elsewhere import ElsewhereStore, Known
from vo_service.errors import TooLargeError, TransientError, UsageError
from vo_service.ingest.foreign import ForeignReader, RowError
from vo_service.model.crawl import Cut, ForeignRow, Origin, Refused, Slice
from vo_service.services.crawl_sources import (
    Answer,
    Counted,
    Remote,
    Sia2Source,
    Source,
    TapSource,
)
from vo_service.settings import Settings

__all__ = ["Crawled", "crawl"]

#: A slice that seems unchanged is read again after this time: sums do not see all changes.
_TRUSTED = timedelta(days=30)
#: A crawl that died is gone on with if it is not older.
_RESUMED = timedelta(days=7)
#: Failures one after the other that end a crawl: the service is away.
_PATIENCE = 5
_EXAMPLE = 300
_TWICE = "obs_publisher_did: expected a different one for each row (one of them is kept)"

Progress = Callable[["Crawled"], None]


@dataclass(slots=True)
class Crawled:
    """What a crawl did.

    *read* and *unchanged* are numbers of rows; *slices* that were read; *products* and *refused*
    what stands at the end; *problems* are why parts of the service stay as they were.
    """

    name: str
    slices: int = 0
    read: int = 0
    unchanged: int = 0
    products: int = 0
    refused: list[Refused] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def crawl(
    settings: Settings, name: str, *, full: bool = False, progress: Progress | None = None
) -> Crawled:
    """Bring the rows of an origin up to date.

    Parameters
    ----------
    settings, name
        The archive, and what the origin is called in it.
    full
        Whether slices are read that seem unchanged.
    progress
        Called after each slice with what has been done so far.

    Raises
    ------
    NotFoundError
        If there is no such origin.
    TransientError
        If another crawl of it is running.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = ElsewhereStore(connection)
        origin = store.origin(name)
        store.lock(name)
        run = _Crawl(settings, connection, origin, full, progress or (lambda done: None))
        done = run.run()
        ended = store.end(name, "; ".join(done.problems[:_PATIENCE]) or None)
        done.products, done.refused = ended.products, store.refusals(name)
        return done


def source_of(settings: Settings, origin: Origin) -> Source:
    """How an origin is asked."""
    kind = TapSource if origin.protocol == "tap" else Sia2Source
    return kind(Remote(settings, origin.url), origin)


@dataclass(slots=True)
class _Loaded:
    """How the answer for a slice came out."""

    rows: int
    is_whole: bool


class _Crawl:
    def __init__(
        self,
        settings: Settings,
        connection: psycopg.Connection,
        origin: Origin,
        full: bool,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._store = store = ElsewhereStore(connection)
        self._origin = origin
        self._full = full
        self._progress = progress
        self._source = source_of(settings, origin)
        self._limit = settings.crawl_rows
        self._most = settings.crawl_products_limit
        self._slices = store.slices(origin.name)
        self._done = Crawled(origin.name)
        self._failures = 0
        now = datetime.now(UTC)
        died = (
            origin.started is not None
            and origin.problem is None
            and (origin.ended is None or origin.ended < origin.started)
        )
        recent = origin.started is not None and origin.started > now - _RESUMED
        #: Since when slices count as read by this very crawl.
        self._since = origin.started if died and recent and origin.started else now
        self._trusted = now - _TRUSTED
        if self._since == now:
            store.start(origin.name)

    def run(self) -> Crawled:
        try:
            self._source.columns()
            root = Slice()
            if self._origin.protocol == "tap":
                self._descend(root, None)
            else:
                self._visit(root, None)
        except (UsageError, TransientError) as error:
            self._done.problems.append(str(error))
        return self._done

    def _visit(self, slice_: Slice, counted: Counted | None) -> bool:
        """Bring a slice up to date; whether all of it is."""
        known = self._slices.get(slice_.path)
        if known and self._is_current(known, counted):
            self._done.unchanged += counted.rows if counted else 0
            return True
        try:
            return self._read(slice_, counted, known)
        except UsageError as error:
            self._done.problems.append(f"{slice_}: {error}")
            self._failures += 1
            if self._failures >= _PATIENCE:
                raise TransientError("it failed again and again; try again later") from error
            return False

    def _is_current(self, known: Known, counted: Counted | None) -> bool:
        if counted is None:  # nothing tells; but what was read before the crawl died is read
            return not known.is_split and known.fetched >= self._since
        if self._full and known.fetched < self._since:
            return False
        return known.said == counted.said and known.fetched >= self._trusted

    def _read(self, slice_: Slice, counted: Counted | None, known: Known | None) -> bool:
        cut = slice_.finer
        is_small = counted is not None and counted.rows <= self._limit
        was_split = counted is None and known is not None and known.is_split
        if is_small or cut is None or (counted is None and not was_split):
            loaded = self._load(slice_, counted, known)
            if loaded.is_whole:
                return True
            if counted is not None:  # it sends fewer rows than were asked for
                self._limit = max(1, min(self._limit, loaded.rows))
        if cut is None or not (pieces := self._pieces(slice_, cut)):
            found = f"{counted.rows} rows" if counted else f"more than {self._limit} rows"
            raise UsageError(f"{found}, and the service does not send them all")
        return self._each(slice_, counted, pieces)

    def _pieces(self, slice_: Slice, cut: Cut) -> list[tuple[Slice, Counted | None]]:
        return self._source.pieces(slice_, cut)

    def _descend(self, slice_: Slice, counted: Counted | None) -> bool:
        cut = slice_.finer
        assert cut is not None  # noqa: S101 - the whole can be cut
        pieces = self._pieces(slice_, cut)
        if not pieces:
            self._must_not_be_empty(0)
        return self._each(slice_, counted, pieces)

    def _must_not_be_empty(self, rows: int) -> None:
        if rows == 0 and self._origin.products:
            raise UsageError(
                f"the service says that it has no rows; the {self._origin.products} that are here "
                f"stay ('vo-service crawl --forget {self._origin.name}' removes them)"
            )

    def _each(
        self,
        slice_: Slice,
        counted: Counted | None,
        pieces: list[tuple[Slice, Counted | None]],
    ) -> bool:
        """Bring the parts of a slice up to date; what was in none of them is gone."""
        name = self._origin.name
        with self._connection.transaction():
            self._store.note(name, slice_.path, None, is_split=True)
            for path in self._children(slice_) - {piece.path for piece, _ in pieces}:
                self._store.clear(name, path)
        complete = True
        for piece, count in pieces:
            complete = self._visit(piece, count) and complete
        if complete:
            with self._connection.transaction():
                self._store.clear_whole(name, slice_.path)
                self._store.note(name, slice_.path, _said(counted), is_split=True)
        return complete

    def _children(self, slice_: Slice) -> set[str]:
        below = f"{slice_.path}/"
        return {
            below + path.removeprefix(below).split("/")[0]
            for path in self._slices
            if path.startswith(below)
        }

    def _load(self, slice_: Slice, counted: Counted | None, known: Known | None) -> _Loaded:
        maxrec = counted.rows + 1 if counted else self._limit
        try:
            return self._load_at_once(slice_, counted, known, maxrec)
        except TooLargeError:
            if slice_.finer is None:
                raise
            return _Loaded(maxrec // 2, is_whole=False)

    def _load_at_once(
        self, slice_: Slice, counted: Counted | None, known: Known | None, maxrec: int
    ) -> _Loaded:
        with self._source.rows(slice_, maxrec) as file:
            loaded, digest = _survey(file, counted)
            if not loaded.is_whole:
                return loaded
            if not slice_.path:
                self._must_not_be_empty(loaded.rows)
            said = _said(counted)
            if known and known.digest == digest and not known.is_split:
                self._store.note(self._origin.name, slice_.path, said, digest)
                self._done.unchanged += loaded.rows
            else:
                self._exchange(slice_, file, said, digest)
                self._done.read += loaded.rows
        if self._done.read + self._done.unchanged > self._most:
            raise TransientError(f"more than {self._most} rows (crawl_products_limit)")
        self._done.slices += 1
        self._failures = 0
        self._progress(self._done)
        return loaded

    def _exchange(self, slice_: Slice, file: Path, said: str | None, digest: bytes) -> None:
        """Put what came in the place of what was there."""
        name, store = self._origin.name, self._store
        refused: Counter[str] = Counter()
        examples: dict[str, str] = {}

        def refuse(reason: str, example: str) -> None:
            refused[reason] += 1
            examples.setdefault(reason, example[:_EXAMPLE])

        with self._connection.transaction():
            store.clear(name, slice_.path)
            seen: set[str] = set()
            for rows in self._checked(slice_, file, refuse):
                for row in rows:
                    if row.did in seen:
                        refuse(_TWICE, row.did)
                    seen.add(row.did)
                newest = list({row.did: row for row in rows}.values())
                for row, reason in store.put(name, slice_, newest):
                    refuse(f"not storable: {reason}", row.did)
            store.refuse(
                name,
                slice_.path,
                [Refused(reason, count, examples[reason]) for reason, count in refused.items()],
            )
            store.note(name, slice_.path, said, digest)

    def _checked(
        self, slice_: Slice, file: Path, refuse: Callable[[str, str], None]
    ) -> Iterator[list[ForeignRow]]:
        with file.open("rb") as stream:
            answer = Answer(stream)
            reader = ForeignReader(answer.fields)
            for batch in answer.batches():
                rows = []
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    try:
                        row = reader.read(cells)
                    except RowError as error:
                        refuse(error.reason, f"{reader.did(cells)} {_shown(error.value)}")
                        continue
                    if self._source.has(slice_, row.value("t_min")):
                        rows.append(row)
                yield rows


def _said(counted: Counted | None) -> str | None:
    return counted.said if counted else None


def _survey(file: Path, counted: Counted | None) -> tuple[_Loaded, bytes]:
    """How many rows came, whether these are all, and their digest."""
    digest = hashlib.sha256()
    rows = 0
    with file.open("rb") as stream:
        answer = Answer(stream)
        digest.update(repr([field.name for field in answer.fields]).encode())
        for batch in answer.batches():
            digest.update(memoryview(batch.serialize()))
            rows += batch.num_rows
    is_whole = not answer.overflow and (counted is None or rows >= counted.rows)
    return _Loaded(rows, is_whole), digest.digest()


def _shown(value: object) -> str:
    return "" if value is None else f"({value})"
