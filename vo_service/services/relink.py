"""The tree of links made anew from the rows: after a restore, or when somebody deleted it.

What a row calls public gets its link; a link that no row speaks for is taken away. Rows do not
change: a file that is gone is told, and stays without a link.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.products import ProductStore
from vo_service.db.publication import PublicationStore
from vo_service.errors import VOError
from vo_service.services.publication import Changed
from vo_service.settings import Settings

__all__ = ["rebuild_links"]


def rebuild_links(settings: Settings) -> Changed:
    """Make and remove links until they are those of the rows; how many, and what could not be.

    Links of data servers in trees of their own are left to them (`vo-service data links`).
    """
    done = Changed()
    tree = LinkTree(settings.public)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ProductStore(connection)
        with PublicationStore(connection).lock():
            for product in store.public():
                if product.tree and Path(product.tree) != settings.public:
                    continue
                try:
                    size = None if product.tree else product.size
                    done.count += tree.publish(
                        product.collection, product.path, product.source, size
                    )
                except (VOError, OSError) as error:
                    done.problems.append(str(error))
            for collection in store.collections():
                for path in list(tree.links(collection)):
                    if not store.public_paths(collection, [path]):
                        done.count += tree.withdraw(collection, path)
            tree.flush()
    return done
