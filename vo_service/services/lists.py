"""Lists about releases: taken in by command or with the collection file, shown, forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.lists import Imported, ListStore
from vo_service.errors import ConfigError, NotFoundError
from vo_service.model.release import ListFile
from vo_service.model.release_lists import Kind, ReleaseList, read_release_list
from vo_service.services.publication import operator
from vo_service.settings import Settings

__all__ = ["forget_list", "import_list", "imported_lists", "take_lists"]

#: Lines with names that nobody knows, of which so many are told.
_TOLD = 10

_NAMES = {
    Kind.PROLONGATIONS: "no frame here belongs to the proposal",
    Kind.HOLDS: "no frame here is of the instrument",
    Kind.FRAMES: "there is no frame",
}


def import_list(
    settings: Settings,
    collection: str,
    path: Path,
    *,
    allow_unknown: bool = False,
    **given: str,
) -> ReleaseList:
    """Take in a list by command, in place of one of the same name; the next run applies it.

    Parameters
    ----------
    settings, collection, path
        The archive, the name of a collection, a file as in docs/release.md.
    allow_unknown
        Take also lines that name proposals, instruments or frames that are not here (yet).
    given
        Values of columns that the file does not have.

    Raises
    ------
    ConfigError
        Tells what is wrong with which lines; nothing of the list is kept then.
    NotFoundError
        If there is no such collection.
    """
    read = read_release_list(path, **given)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ListStore(connection)
        if not store.has_collection(collection):
            raise NotFoundError(f"nothing of a collection {collection!r} has been ingested")
        _put(store, collection, read, path, by_file=False, allow_unknown=allow_unknown)
    return read


def take_lists(store: ListStore, collection: str, lists: Sequence[ListFile]) -> None:
    """Take in the lists that a collection file names, where they have changed; others go.

    Raises
    ------
    ConfigError
        As `import_list`.
    """
    known = {item.name: item.digest for item in store.lists(collection) if item.by_file}
    for wanted in lists:
        read = read_release_list(wanted.file)
        if known.pop(str(wanted.file), None) != read.digest:
            _put(
                store, collection, read, wanted.file,
                by_file=True, allow_unknown=wanted.allow_unknown,
            )  # fmt: skip
    for name in known:
        store.drop_list(collection, name, by_file=True)


def imported_lists(settings: Settings, collection: str | None = None) -> list[Imported]:
    """All lists that count, of one collection or of all."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return ListStore(connection).lists(collection)


def forget_list(settings: Settings, collection: str, name: str) -> None:
    """Let a list that was imported by command count no more from the next run on.

    Raises
    ------
    NotFoundError
        If no such list was imported.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        if not ListStore(connection).drop_list(collection, name, by_file=False):
            raise NotFoundError(
                f"no list {name!r} was imported for {collection!r} ('vo-service release lists')"
            )


def _put(
    store: ListStore,
    collection: str,
    read: ReleaseList,
    path: Path,
    *,
    by_file: bool,
    allow_unknown: bool,
) -> None:
    name = str(path) if by_file else path.name
    number = store.put_list(collection, read, name, by_file=by_file, actor=operator())
    if allow_unknown:
        return
    if unknown := store.unknown(collection, number, read.kind):
        told = [
            f"{path}: line {line}: "
            + (
                f"{files} files are called {name!r}: expected the path of one"
                if files
                else f"{_NAMES[read.kind]} {name!r}"
            )
            for line, name, files in unknown[:_TOLD]
        ]
        if len(unknown) > _TOLD:
            told.append(f"... and {len(unknown) - _TOLD} more lines")
        how = "allow_unknown: true" if by_file else "--allow-unknown"
        raise ConfigError(
            "\n".join(told) + f"\nNothing was taken in; if this is meant so, say {how}."
        )
