"""Release: link what may be read by everybody from today on.

The link is made first and the row says so afterwards, in one transaction a batch: a run
that is killed leaves rows that are due, and the next run finds their links in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.products import ProductStore
from vo_service.errors import VOError
from vo_service.settings import Settings

__all__ = ["Released", "release_due"]

_BATCH = 1000


@dataclass(slots=True)
class Released:
    """How many products became public, and those that could not."""

    count: int = 0
    problems: list[str] = field(default_factory=list)


def release_due(settings: Settings, today: date) -> Released:
    """Publish all products whose release date is *today* or earlier.

    A product whose file has vanished stays as it is and is reported.
    """
    tree = LinkTree(settings.public)
    done = Released()
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        after = 0
        while True:
            with connection.transaction():
                last = _release_batch(connection, tree, today, after, done)
            if last is None:
                return done
            after = last


def _release_batch(
    connection: psycopg.Connection[Any], tree: LinkTree, today: date, after: int, done: Released
) -> int | None:
    """Publish the next products after number *after*; the last number, None at the end."""
    store = ProductStore(connection)
    batch = store.due(today, after=after, limit=_BATCH)
    linked: list[int] = []
    for product in batch:
        try:
            tree.publish(product.collection, product.path, product.source)
            linked.append(product.product_id)
        except (VOError, OSError) as error:
            done.problems.append(str(error))
    store.mark_public(linked)
    done.count += len(linked)
    return batch[-1].product_id if batch else None
