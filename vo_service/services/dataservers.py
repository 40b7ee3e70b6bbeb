"""Files that another server delivers: where a request is sent on to, and what that server links.

The centre decides who may read a file and sends the client on with a signed link
(`services.signing`); a list of public files is what a data server without the centre's database
makes its tree of links from. docs/data-servers.md is the page for the operator.
Source: MISSION B8.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.dataservers import ServerStore, public_paths
from vo_service.db.products import Standing
from vo_service.db.publication import PublicationStore
from vo_service.errors import ConfigError, NotFoundError, TransientError, UsageError, VOError
from vo_service.model.collection import load_collection
from vo_service.services.ingest import find_collection
from vo_service.services.signing import SignedLinks
from vo_service.settings import Settings

__all__ = [
    "Elsewhere",
    "LinksMade",
    "apply_server",
    "local_roots",
    "make_links",
    "public_list",
]

_log = logging.getLogger(__name__)

_FIRST = "# vo-service: public files of "
_LAST = "# end of list"


class Elsewhere:
    """Says where a file is delivered, if that is not here."""

    def __init__(self, settings: Settings) -> None:
        self._ours = f"{settings.root_url}/data/"
        self._default = settings.data_url
        self._lifetime_s = settings.signed_link_s
        self._links = SignedLinks(settings.signing_keys)

    def address(self, path: str, found: Standing) -> str | None:
        """The signed address of ``<collection>/<path>``, which is to be read; None for here.

        Raises
        ------
        NotFoundError
            If nobody delivers the file.
        TransientError
            If there is no key to sign with.
        """
        base = found.data_url or self._default
        if not base or base == self._ours:
            if found.source is None:
                raise NotFoundError(f"{path}: only the header is kept here")
            return None
        try:
            signed = self._links.sign(path, self._lifetime_s)
        except ConfigError as error:
            _log.error("files of %s cannot be signed: %s", base, error)
            raise TransientError(f"{path}: cannot be delivered now; try again later") from error
        return f"{base}{quote(path)}?{signed}"


def local_roots(settings: Settings) -> dict[str, tuple[Path, ...]]:
    """Collection to the directories in which its files lie on this machine.

    Read from the collection files of the data directory: ``data_server.roots``, else ``roots``.

    Raises
    ------
    ConfigError
        If a file is wrong.
    """
    roots = {}
    for file in sorted(settings.collections.glob("*")):
        if file.suffix in (".yaml", ".yml", ".toml"):
            collection = load_collection(file)
            server = collection.data_server
            roots[collection.name] = (server.roots if server else ()) or collection.roots
    return roots


def public_list(settings: Settings, collection: str) -> Iterator[str]:
    """Lines of the list of a collection's public files, from the database.

    The first and the last line are there so that a list that was cut is seen as such.

    Raises
    ------
    NotFoundError
        If there is no such collection, before the first line.
    """
    role = Role.DOOR if settings.role == "data" else Role.WRITER
    with psycopg.connect(conninfo(settings, role)) as connection:
        paths = public_paths(connection, collection)
        if paths is None:
            raise NotFoundError(f"there is no collection {collection!r} in this archive")
        yield f"{_FIRST}{collection}"
        yield from paths  # names without line breaks: ingest refuses control characters
        yield _LAST


def apply_server(settings: Settings, name: str) -> str | None:
    """Make known where a collection's file says its files are now; the base, None for here.

    One row says so for the whole collection. Links are made in the tree that counts from now
    on before, and removed from the others after, which takes as long as there are files;
    interrupted, it is to be run again.

    Raises
    ------
    ConfigError
        If the collection's file is wrong.
    NotFoundError
        If nothing of it has been ingested.
    """
    server = find_collection(settings, name).data_server
    definition = server.model_dump(mode="json") if server else None
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = ServerStore(connection)
        with PublicationStore(connection).lock():
            registered = store.server(name)
            new = _tree(settings, definition)
            # Ours too: an ingest may have registered the server before.
            others = {_tree(settings, registered), settings.public} - {new, None}
            if new is not None:
                tree = LinkTree(new)
                for path, source in store.public_files(name):
                    tree.publish(name, path, source)
                tree.flush()
            with connection.transaction():
                store.set_server(name, definition)
            for other in filter(None, others):
                tree = LinkTree(other)
                for path, _ in store.public_files(name):
                    tree.withdraw(name, path)
                tree.flush()
    return server.url if server else None


def _tree(settings: Settings, server: Mapping[str, Any] | None) -> Path | None:
    """The tree in which links of a collection are made from here; None where that is not ours."""
    if server is None:
        return settings.public
    return Path(server["public"]) if server["public"] else None


@dataclass(slots=True)
class LinksMade:
    """What `make_links` did; *problems* are files of the list that are not here."""

    made: int = 0
    kept: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list)


def make_links(settings: Settings, collection: str, lines: Iterable[str]) -> LinksMade:
    """Make the tree of links of a collection what a list says: new links in, others out.

    Nothing is removed before the list has been read to its end.

    Raises
    ------
    UsageError
        If the list is cut, or is of another collection.
    ConfigError
        If no collection file says where the files lie.
    """
    roots = local_roots(settings).get(collection)
    if not roots:
        raise ConfigError(
            f"{settings.collections / collection}.yaml: expected data_server.roots, or roots: the "
            "directories of the collection's files on this machine"
        )
    wanted = _listed(collection, lines)
    tree = LinkTree(settings.public)
    done = LinksMade()
    for path in wanted:
        try:
            if tree.publish(collection, path, str(_source(roots, path))):
                done.made += 1
            else:
                done.kept += 1
        except VOError as error:
            done.problems.append(str(error))
    for path in list(tree.links(collection)):
        if path not in wanted and tree.withdraw(collection, path):
            done.removed += 1
    tree.flush()
    return done


def _source(roots: Sequence[Path], path: str) -> Path:
    """The file of that path in one of the roots; in the first if it is in none."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise UsageError(f"{path[:200]!r} is not a path below the collection")
    return next((root / path for root in roots if (root / path).is_file()), roots[0] / path)


def _listed(collection: str, lines: Iterable[str]) -> set[str]:
    stripped = (line.removesuffix("\n") for line in lines)
    if (first := next(stripped, "")) != f"{_FIRST}{collection}":
        raise UsageError(
            f"the list begins with {first[:80]!r}: expected {_FIRST + collection!r}, "
            "as 'vo-service data list' writes it"
        )
    paths: set[str] = set()
    for line in stripped:
        if line == _LAST:
            return paths
        paths.add(line)
    raise UsageError(f"the list ends without {_LAST!r}: it was cut; nothing has been changed")
