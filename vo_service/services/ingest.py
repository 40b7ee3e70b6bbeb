"""Ingest: files in, rows and links out, in batches that are whole or absent.

A file that is known and unchanged (path, size, time) is not even opened, so a run that was
killed, or is given the same directory again, goes on where there is something to do.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from vo_service.db.bulk import count_products
from vo_service.db.connect import Role, conninfo
from vo_service.db.corrections import CorrectionStore
from vo_service.db.frames import Counts, FrameStore, Known
from vo_service.db.publication import PublicationStore
from vo_service.errors import ConfigError, HeaderError
from vo_service.ingest.files import find_files, place_of, root_of
from vo_service.ingest.frames import read_frames
from vo_service.model.collection import Collection, load_collection
from vo_service.model.correction import CorrectionSet
from vo_service.model.observation import Frame, Refusal
from vo_service.services.alarm import AlarmKind, alarm_if_broken, raise_alarm
from vo_service.services.bulk import build_missing, bulk_load
from vo_service.services.publication import finish, operator
from vo_service.settings import Settings

__all__ = ["IngestRequest", "find_collection", "ingest", "known_as", "read_again"]

_BATCH = 500
_ORIGIN_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to ingest, and how.

    *file* is by what `find_collection` found the collection (`known_as`), so that its release
    rules can be read again later; *origin* where the files come from, else host and directory.
    *bulk* is for a first load: indexes are built after it (`vo_service.services.bulk`).
    """

    collection: Collection
    paths: Sequence[Path]
    file: str | None = None
    origin: str | None = None
    processes: int = 2
    headers_only: bool = False
    bulk: bool = False


def find_collection(settings: Settings, name: str) -> Collection:
    """The collection called *name*: the operator's file, or one that is shipped.

    A name with a slash or a suffix is the path of a collection file.

    Raises
    ------
    ConfigError
        If there is none of that name (those that exist are listed), or its file is wrong.
    """
    if _is_path(name):
        return load_collection(Path(name))
    shipped = Path(__file__).parents[1] / "collections"
    known: dict[str, Path] = {}
    for place in (shipped, settings.collections):
        for file in sorted(place.glob("*")):
            if file.suffix in (".yaml", ".yml", ".toml"):
                known[file.stem] = file
    if name not in known:
        raise ConfigError(
            f"there is no collection {name!r}: expected one of {', '.join(sorted(known))}, or a "
            f"file {settings.collections / (name + '.yaml')} (see docs/collections.md)"
        )
    return load_collection(known[name])


def known_as(name: str) -> str:
    """By what `find_collection` finds the same from any directory."""
    return str(Path(name).absolute()) if _is_path(name) else name


def read_again(settings: Settings, name: str, file: str | None) -> Collection | None:
    """A collection as its file has it now; None where the file is not to be found any more.

    *file* is what it was ingested by (`known_as`).

    Raises
    ------
    ConfigError
        If the file is wrong, or that of another collection.
    """
    if file is None or (Path(file).is_absolute() and not Path(file).exists()):
        return None
    found = find_collection(settings, file)
    if found.name != name:
        raise ConfigError(f"{file}: name: expected {name!r}, found {found.name!r}")
    return found


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml", ".toml"))


def ingest(
    settings: Settings,
    request: IngestRequest,
    *,
    found: Callable[[int], None] = lambda _: None,
    done: Callable[[Counts], None] = lambda _: None,
    refused: Callable[[Refusal], None] = lambda _: None,
    built: Callable[[int, int], None] = lambda built, total: None,
) -> Counts:
    """Ingest files of one collection.

    Parameters
    ----------
    settings, request
        The archive, and what to take in.
    found
        Called once with the number of files, before the first is read.
    done
        Called after each batch with what has happened so far.
    refused
        Called with each refusal.
    built
        Called while indexes are built with the number of those that are, and of all.

    Returns
    -------
    Counts
        What happened in all; also written to ``archive.ingest_run``.

    Raises
    ------
    VOError
        If a path is not there, another ingest of the collection runs, or *bulk* is not for
        this archive.
    """
    collection = request.collection
    origin = _origin(request)
    counts = Counts()
    if not request.bulk:
        build_missing(settings, built)
    with (
        alarm_if_broken(settings, AlarmKind.INGEST, f"ingest of {collection.name}"),
        psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection,
    ):
        store = FrameStore(connection, operator())
        store.register(
            collection.name, collection.title, collection.description,
            collection.model_dump_json(), request.file,
        )  # fmt: skip
        store.lock(collection.name)
        roots = _roots(store.roots(collection.name), collection, request.paths)
        if not request.headers_only:
            store.add_roots(collection.name, map(str, roots))
        files = list(find_files(request.paths, collection, headers_only=request.headers_only))
        found(len(files))
        publication = PublicationStore(connection)
        changed = _changed(store, request, roots, files, counts)
        outcomes = read_frames(
            changed,
            collection,
            authority=settings.authority,
            roots=roots,
            headers_only=request.headers_only,
            corrections=CorrectionSet.of(
                known.correction for known in CorrectionStore(connection).active(collection.name)
            ),
            processes=request.processes,
        )
        away: AbstractContextManager[None] = nullcontext()
        if request.bulk:
            coming = len(files) - count_products(connection, collection.name)
            away = bulk_load(settings, max(0, coming), built)
        with away:
            number = store.start_run(collection.name)
            run = _Run(number, origin, connection, store, publication, settings, counts)
            while batch := list(islice(outcomes, _BATCH)):
                for refusal in run.take(batch):
                    refused(refusal)
                done(counts)
        done(counts)
        store.end_run(number, counts)
    _alarm_if_refused(settings, collection.name, counts)
    return counts


def _alarm_if_refused(settings: Settings, name: str, counts: Counts) -> None:
    """A few broken frames are a usual night; many are trouble."""
    read = counts.added + counts.changed + counts.refused
    if counts.refused and counts.refused > settings.alarm_refused_share * read:
        raise_alarm(
            settings,
            AlarmKind.INGEST,
            f"ingest of {name}: {counts.refused} of {read} files were refused; reasons are in "
            "archive.refusal",
        )


def _origin(request: IngestRequest) -> str:
    """Where the files of a run come from, as ``archive.product.origin`` keeps it."""
    if request.origin is None:
        place = os.path.commonpath([os.path.abspath(path) for path in request.paths])
        return f"{socket.gethostname()}:{place.encode('utf-8', 'replace').decode()}"
    if not 0 < len(request.origin) <= _ORIGIN_LIMIT or not request.origin.isprintable():
        raise ConfigError(
            f"origin: expected 1 to {_ORIGIN_LIMIT} printable characters, found "
            f"{request.origin[:80]!r}"
        )
    return request.origin


def _roots(
    registered: Iterable[str], collection: Collection, paths: Sequence[Path]
) -> tuple[Path, ...]:
    """The directories below which files keep their names.

    A directory within a root that is known already counts from that root, so that a single
    night can be ingested by its own path and is the same as when the whole is.
    """
    known = [*collection.roots, *map(Path, registered)]
    chosen: list[Path] = []
    for path in (Path(os.path.abspath(path)) for path in paths):
        above = [root for root in known if path == root or root in path.parents]
        if above:
            root = max(above, key=lambda root: len(root.parts))
        elif collection.roots:
            raise ConfigError(
                f"{path}: lies in none of the collection's roots "
                f"({', '.join(map(str, collection.roots))})"
            )
        else:
            root = path if path.is_dir() else path.parent
            if below := [str(other) for other in known if root in other.parents]:
                raise ConfigError(
                    f"{path}: lies above {below[0]}, from which files of this collection keep "
                    "their names already; ingest that directory, or write roots in its file"
                )
        if root not in chosen:
            chosen.append(root)
    return tuple(chosen)


def _changed(
    store: FrameStore,
    request: IngestRequest,
    roots: Sequence[Path],
    files: Sequence[Path],
    counts: Counts,
) -> Iterator[Path]:
    """Files that are new or differ from what is known, counted as they pass."""
    collection = request.collection
    for start in range(0, len(files), _BATCH):
        some = files[start : start + _BATCH]
        places = {file: _place(file, root_of(file, collection, roots), request) for file in some}
        known = store.known(collection.name, [place for place in places.values() if place])
        for file, place in places.items():
            counts.files += 1
            before = known.get(place) if place else None
            if before is not None and _is_same(file, before, request):
                counts.unchanged += 1
            else:
                yield file


def _place(file: Path, root: Path, request: IngestRequest) -> str | None:
    try:
        return str(place_of(file, root, request.collection, headers_only=request.headers_only))
    except HeaderError:
        return None  # refused, with this reason, when it is read


def _is_same(file: Path, known: Known, request: IngestRequest) -> bool:
    try:
        status = file.stat()
    except OSError:
        return False
    if request.headers_only:  # the size that is known is that of the file, not of its header
        elsewhere = request.collection.data_server is not None
        alike = known.source is None and known.elsewhere == elsewhere
    else:
        alike = status.st_size == known.size
    return alike and datetime.fromtimestamp(status.st_mtime, UTC) == known.modified


@dataclass(frozen=True, slots=True)
class _Run:
    """A run under way: where its batches go."""

    number: int
    origin: str
    connection: psycopg.Connection[Any]
    store: FrameStore
    publication: PublicationStore
    settings: Settings
    counts: Counts

    def take(self, outcomes: Sequence[Frame | Refusal]) -> list[Refusal]:
        """Store a batch in one transaction; the refusals in it."""
        frames = [
            replace(outcome, product=replace(outcome.product, origin=self.origin))
            for outcome in outcomes
            if isinstance(outcome, Frame)
        ]
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
        with self.publication.lock(shared=True), self.connection.transaction():
            stored, not_stored = self.store.store(frames)
            refusals += not_stored
            self.store.refuse(self.number, refusals)
        # A new version must not stand behind the link of the old one before it is released.
        finish(self.settings, self.connection)
        self.counts.added += stored.added
        self.counts.changed += stored.changed
        self.counts.refused += len(refusals)
        return refusals
