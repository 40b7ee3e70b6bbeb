"""Do rows, links and files agree? Checksums: computed once, compared on demand.

MISSION A3, A5. Nothing is repaired here; every line says what is wrong and with which file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.products import ProductStore
from vo_service.errors import VOError
from vo_service.ingest.files import md5_of
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
    """What is wrong between rows, links and files, a line each."""
    tree = LinkTree(settings.public)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ProductStore(connection)
        for product in store.public():
            yield from _wrong_with(tree, product.collection, product.path, product.source)
            if read_files and (fault := _checksum_fault(product.source, product.checksums)):
                yield fault
        for collection in store.collections():
            links = tree.links(collection)
            while paths := set(islice(links, _BATCH)):
                for stray in sorted(paths - store.public_paths(collection, list(paths))):
                    yield f"{collection}/{stray}: is linked, but its row is not public"


def _wrong_with(tree: LinkTree, collection: str, path: str, source: str) -> Iterator[str]:
    link = tree.place(collection, path)
    try:
        target = os.readlink(link)
    except OSError:
        yield f"{collection}/{path}: is public, but has no link"
        return
    if target != source:
        yield f"{collection}/{path}: the link leads to {target}, not to {source}"
    if not os.path.isfile(source):
        yield f"{collection}/{path}: the file {source} is gone"


def _checksum_fault(source: str, known: tuple[str | None, str | None]) -> str | None:
    computed, given = known
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
