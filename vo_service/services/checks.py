"""Do rows, links and files agree? Checksums: computed once, compared on demand.

MISSION A3, A5. Nothing is repaired here; every line says what is wrong and with which file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.products import ProductStore, Public
from vo_service.db.publication import PublicationStore
from vo_service.db.visibility import misplaced
from vo_service.errors import VOError
from vo_service.ingest.files import md5_of
from vo_service.services.alarm import AlarmKind, alarm_of_problems
from vo_service.settings import Settings

__all__ = ["compute_md5", "find_problems"]

_BATCH = 1000


def compute_md5(settings: Settings, tell: Callable[[str], None]) -> int:
    """Compute and store the MD5 of files that have none; each is stored at once.

    Returns
    -------
    int
        How many were computed. Files that cannot be read are told and passed over.
    """
    done = 0
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = ProductStore(connection)
        after = 0
        while batch := store.without_md5(after, _BATCH):
            for product in batch:
                after = product.product_id
                try:
                    store.set_md5(product.product_id, md5_of(Path(product.source)))
                    done += 1
                except OSError as error:
                    tell(f"{product.source}: cannot be read: {error.strerror}")
    return done


def find_problems(settings: Settings, *, read_files: bool = False) -> Iterator[str]:
    """What is wrong between rows, links and files, a line each.

    Commands that publish or withdraw meanwhile do no harm: what looks wrong is looked at again
    while none of them is in the middle of it. At the end there is an alarm if there was a line.
    """
    links: list[str] = []
    sums: list[str] = []
    for kind, problem in _problems(settings, read_files=read_files):
        (sums if kind is AlarmKind.CHECKSUM else links).append(problem)
        yield problem
    alarm_of_problems(settings, AlarmKind.LINKS, "check of links", links)
    alarm_of_problems(settings, AlarmKind.CHECKSUM, "check of files", sums)


def _problems(settings: Settings, *, read_files: bool) -> Iterator[tuple[AlarmKind, str]]:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ProductStore(connection)
        publication = PublicationStore(connection)
        for product in store.public():
            faults = list(_wrong_with(settings, product))
            if faults:
                with publication.lock(shared=True):
                    still = store.public_at(product.collection, product.path)
                    faults = list(_wrong_with(settings, still)) if still else []
            yield from ((AlarmKind.LINKS, said) for said in faults)
            if read_files and (fault := _checksum_fault(product)):
                yield AlarmKind.CHECKSUM, fault
        for collection in store.collections():
            tree = LinkTree(settings.public)
            for stray in _strays(tree, store, publication, collection):
                yield AlarmKind.LINKS, stray
        for collection, path in misplaced(connection):
            said = "the public may know more or less of it than its state says: changed by hand?"
            yield AlarmKind.LINKS, f"{collection}/{path}: {said}"


def _strays(
    tree: LinkTree, store: ProductStore, publication: PublicationStore, collection: str
) -> Iterator[str]:
    links = tree.links(collection)
    while paths := set(islice(links, _BATCH)):
        strays = sorted(paths - store.public_paths(collection, list(paths)))
        if strays:
            with publication.lock(shared=True):
                there = [path for path in strays if os.path.islink(tree.place(collection, path))]
                public = store.public_paths(collection, there)
            for stray in there:
                if stray not in public:
                    yield f"{collection}/{stray}: is linked, but its row is not public"
    for draft in tree.drafts(collection):
        yield f"{draft}: was left by a command that died; delete it"


def _wrong_with(settings: Settings, product: Public) -> Iterator[str]:
    tree = LinkTree(Path(product.tree) if product.tree else settings.public)
    place, source = f"{product.collection}/{product.path}", product.source
    try:
        target = os.readlink(tree.place(product.collection, product.path))
    except OSError:
        yield f"{place}: is public, but has no link"
        return
    if target != source:
        yield f"{place}: the link leads to {target}, not to {source}"
    if product.tree:
        return  # the link counts at the data server, where the file is
    try:
        status = os.stat(source)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        yield f"{place}: the file {source} " + (
            "is gone" if gone else f"cannot be reached: {error.strerror}"
        )
        return
    if status.st_size != product.size:
        yield (
            f"{place}: the file {source} has {status.st_size} bytes, not {product.size} as when "
            "it was ingested; it is not served until it is ingested again"
        )
    elif datetime.fromtimestamp(status.st_mtime, UTC) != product.modified:
        yield f"{place}: the file {source} was written to since it was ingested; ingest it again"


def _checksum_fault(product: Public) -> str | None:
    source, computed, given = product.source, product.md5, product.md5_given
    if computed and given and computed != given:
        return f"{source}: the MD5 that came with it is {given}, at arrival it was {computed}"
    expected = computed or given
    if expected is None:
        return None
    try:
        found = md5_of(Path(source))
    except (OSError, VOError) as error:
        return f"{source}: cannot be read: {error}"
    return None if found == expected else f"{source}: MD5 is {found}, expected {expected}"
