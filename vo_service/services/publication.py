"""Publication: links, rows and states of products change together or not at all.

A batch goes in three steps under one lock: the intents are committed to the journal, the links
are made or removed, the states follow and the intents go. `/data/` serves a file only if its
state is public and the link is there, so nothing is served in between. A run that dies, at
whatever moment, leaves intents behind; every batch begins by carrying those out, and so do
``serve`` and ``worker`` at their start (`recover`). Source: MISSION A3, A4.

The lock is held for a batch, not for a run: a withdrawal need not wait for a long release.
"""

from __future__ import annotations

import errno
import getpass
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.publication import Change, Intent, PublicationStore
from vo_service.errors import TransientError, VOError
from vo_service.settings import Settings

__all__ = [
    "Changed",
    "change_states",
    "close_again",
    "finish",
    "operator",
    "publish",
    "recover",
    "withdraw",
]

_log = logging.getLogger(__name__)

_BATCH = 500

#: Faults of the storage as a whole: the next link would fail for the same reason.
_TREE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE}


@dataclass(slots=True)
class Changed:
    """How many products changed their state, and what stood in the way of others."""

    count: int = 0
    problems: list[str] = field(default_factory=list)


def operator() -> str:
    """Who works at this command: login name and machine, for ``archive.state_change``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        name = str(os.geteuid())
    return f"{name}@{socket.gethostname()}"


def publish(settings: Settings, product_ids: Iterable[int], *, rule: str, actor: str) -> Changed:
    """Let everybody read the files of products that have arrived.

    Products in another state, old versions and those without a file here are passed over; one
    whose file has vanished stays as it is and is a problem.

    Parameters
    ----------
    settings
        The archive.
    product_ids
        Read as the work goes on, a batch at a time.
    rule, actor
        By which rule, and who ran it; kept in ``archive.state_change``.

    Raises
    ------
    TransientError
        If the tree of links cannot be written at all (full, read-only), or another command
        holds the lock for very long; what was done before stays, the rest is as it was.
    """
    change = Change(before=("arrived",), after="public", rule=rule, actor=actor)
    return change_states(settings, product_ids, change)


def close_again(
    settings: Settings, product_ids: Iterable[int], *, rule: str, actor: str
) -> Changed:
    """Make public products proprietary again, as if they had only arrived. As `publish`."""
    change = Change(before=("public",), after="arrived", rule=rule, actor=actor)
    return change_states(settings, product_ids, change)


def withdraw(
    settings: Settings,
    product_ids: Iterable[int],
    *,
    rule: str,
    actor: str,
    reason: str,
    done: Callable[[int], None] = lambda _: None,
) -> Changed:
    """Take products back, released or not; *done* is told how many so far. As `publish`."""
    change = Change(
        before=("arrived", "public"), after="withdrawn", rule=rule, actor=actor, reason=reason
    )
    return change_states(settings, product_ids, change, done=done)


def recover(settings: Settings) -> Changed:
    """Carry out what a run that died left in the journal; quick where nothing is left."""
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = PublicationStore(connection)
        if not store.intents(1):
            return Changed()
        with store.lock():
            return _carry_out(connection, store, _Trees(settings.public))


def change_states(
    settings: Settings,
    product_ids: Iterable[int],
    change: Change,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> Changed:
    """Change the state of products, links and rows with it, batch by batch. As `publish`."""
    total = Changed()
    trees = _Trees(settings.public)
    numbers: Iterator[int] = iter(product_ids)
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = PublicationStore(connection)
        while batch := list(islice(numbers, _BATCH)):
            with store.lock():
                total.problems += _carry_out(connection, store, trees).problems
                store.intend(batch, change)
                outcome = _carry_out(connection, store, trees)
            total.count += outcome.count
            total.problems += outcome.problems
            done(total.count)
    return total


def finish(settings: Settings, connection: psycopg.Connection[Any]) -> None:
    """Carry out the intents that an ingest has committed with its rows; problems are logged."""
    store = PublicationStore(connection)
    if store.intents(1):
        with store.lock():
            for problem in _carry_out(connection, store, _Trees(settings.public)).problems:
                _log.warning("%s", problem)


class _Trees:
    """The trees of links: ours, and those of data servers that are mounted here."""

    def __init__(self, public: Path) -> None:
        self._public = public
        self._trees: dict[Path, LinkTree] = {}

    def __getitem__(self, intent: Intent) -> LinkTree:
        place = Path(intent.tree) if intent.tree else self._public
        return self._trees.setdefault(place, LinkTree(place))

    def flush(self) -> None:
        """As `LinkTree.flush`, for all of them."""
        for tree in self._trees.values():
            tree.flush()


def _carry_out(
    connection: psycopg.Connection[Any], store: PublicationStore, trees: _Trees
) -> Changed:
    """Do what the journal says, all of it; call it with the lock held."""
    outcome = Changed()
    while intents := store.intents(_BATCH):
        done: list[Intent] = []
        fault: OSError | None = None
        for intent in intents:
            try:
                _link(trees, intent)
                done.append(intent)
            except VOError as error:
                outcome.problems.append(str(error))
            except OSError as error:
                outcome.problems.append(
                    f"{intent.collection}/{intent.path}: the link cannot be changed: "
                    f"{error.strerror}"
                )
                if error.errno in _TREE_FAULTS:
                    fault = error
                    break
        trees.flush()
        with connection.transaction():
            outcome.count += store.complete(done)
            store.forget([intent.product_id for intent in intents])
        if fault is not None:
            raise TransientError(
                f"the tree of links cannot be written now ({fault.strerror}); what was done "
                "before stays, the rest is as it was: make room and run this again"
            ) from fault
    return outcome


def _link(trees: _Trees, intent: Intent) -> None:
    """Make the link what it must be before the state may change.

    Where a new version came meanwhile, what it is does not matter any more. A data server whose
    tree is not mounted here makes its links itself.
    """
    if intent.elsewhere and intent.tree is None:
        return
    tree = trees[intent]
    replaced = intent.state != intent.old_state
    if intent.new_state != "public" or intent.source is None or replaced:
        tree.withdraw(intent.collection, intent.path)
    else:
        size = None if intent.elsewhere else intent.size
        tree.publish(intent.collection, intent.path, intent.source, size)
