"""The records of this archive in the relational registry, where its own TAP service finds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from lxml import etree

from vo_service.db.relational import RelationalStore
from vo_service.registry.relational import map_record

__all__ = ["mirror_own_records"]


def mirror_own_records(connection: psycopg.Connection[Any], changed: Iterable[str]) -> None:
    """Make the relational registry hold what is published, in the caller's transaction.

    *changed* are identifiers of records that were; others are written if they are not there.
    """
    store = RelationalStore(connection)
    store.remove(store.own_to_remove())
    # A record of ours may have any number of tables.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    for ivoid, document in store.own_to_put(ivoid.lower() for ivoid in changed):
        store.put([(ivoid, map_record(etree.fromstring(document.encode(), parser)).rows)])
