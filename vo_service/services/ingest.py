"""Ingest: files in, rows and links out, in batches that are whole or absent.

A file that is known and unchanged (path, size, time) is not even opened, so a run that was
killed, or is given the same directory again, goes on where there is something to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import Counts, FrameStore
from vo_service.errors import ConfigError, HeaderError
from vo_service.ingest.files import find_files, public_path, root_of
from vo_service.ingest.frames import read_frames
from vo_service.model.collection import Collection, load_collection
from vo_service.model.observation import Frame, Refusal
from vo_service.settings import Settings

__all__ = ["IngestRequest", "find_collection", "ingest"]

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to ingest, and how."""

    collection: Collection
    paths: Sequence[Path]
    processes: int = 2
    headers_only: bool = False


def find_collection(settings: Settings, name: str) -> Collection:
    """The collection called *name*: the operator's file, or one that is shipped.

    A name with a slash or a suffix is the path of a collection file.

    Raises
    ------
    ConfigError
        If there is none of that name (those that exist are listed), or its file is wrong.
    """
    if "/" in name or name.endswith((".yaml", ".yml", ".toml")):
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


def ingest(
    settings: Settings,
    request: IngestRequest,
    *,
    found: Callable[[int], None] = lambda _: None,
    done: Callable[[Counts], None] = lambda _: None,
    refused: Callable[[Refusal], None] = lambda _: None,
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

    Returns
    -------
    Counts
        What happened in all; also written to ``archive.ingest_run``.

    Raises
    ------
    VOError
        If a path is not there or another ingest of the collection runs.
    """
    collection = request.collection
    counts = Counts()
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = FrameStore(connection)
        store.register(
            collection.name, collection.title, collection.description, collection.model_dump_json()
        )
        store.lock(collection.name)
        roots = _roots(store.roots(collection.name), collection, request.paths)
        if not request.headers_only:
            store.add_roots(collection.name, map(str, roots))
        files = list(find_files(request.paths, collection, headers_only=request.headers_only))
        found(len(files))
        number = store.start_run(collection.name)
        run = _Run(number, connection, store, LinkTree(settings.public), counts)
        changed = _changed(store, collection, roots, files, counts)
        outcomes = read_frames(
            changed,
            collection,
            authority=settings.authority,
            roots=roots,
            headers_only=request.headers_only,
            processes=request.processes,
        )
        while batch := list(islice(outcomes, _BATCH)):
            for refusal in run.take(batch):
                refused(refusal)
            done(counts)
        done(counts)
        store.end_run(number, counts)
    return counts


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
    collection: Collection,
    roots: Sequence[Path],
    files: Sequence[Path],
    counts: Counts,
) -> Iterator[Path]:
    """Files that are new or differ from what is known, counted as they pass."""
    for start in range(0, len(files), _BATCH):
        some = files[start : start + _BATCH]
        places = {file: _place(file, root_of(file, collection, roots)) for file in some}
        known = store.known(collection.name, [place for place in places.values() if place])
        for file, place in places.items():
            counts.files += 1
            before = known.get(place) if place else None
            if before is not None and _is_same(file, before.size, before.modified):
                counts.unchanged += 1
            else:
                yield file


def _place(file: Path, root: Path) -> str | None:
    try:
        return str(public_path(file, root))
    except HeaderError:
        return None  # refused, with this reason, when it is read


def _is_same(file: Path, size: int, modified: datetime) -> bool:
    try:
        status = file.stat()
    except OSError:
        return False
    return status.st_size == size and datetime.fromtimestamp(status.st_mtime, UTC) == modified


@dataclass(frozen=True, slots=True)
class _Run:
    """A run under way: where its batches go."""

    number: int
    connection: psycopg.Connection[Any]
    store: FrameStore
    tree: LinkTree
    counts: Counts

    def take(self, outcomes: Sequence[Frame | Refusal]) -> list[Refusal]:
        """Store a batch in one transaction; the refusals in it."""
        frames = [outcome for outcome in outcomes if isinstance(outcome, Frame)]
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
        with self.connection.transaction():
            stored, not_stored = self.store.store(frames)
            refusals += not_stored
            self.store.refuse(self.number, refusals)
            _close_again(self.tree, frames)
        self.counts.added += stored.added
        self.counts.changed += stored.changed
        self.counts.refused += len(refusals)
        return refusals


def _close_again(tree: LinkTree, frames: Iterable[Frame]) -> None:
    """A new version that is not released yet must not stand behind the link of the old one."""
    today = datetime.now(UTC).date()
    for frame in frames:
        product = frame.product
        if product.release_date is None or product.release_date > today:
            tree.withdraw(product.collection, product.path)
