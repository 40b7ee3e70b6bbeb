"""The private PostgreSQL under a process that runs for long: if it dies, it is started again.

Somebody who stops it (`vo-service db stop`) wants it stopped: only a server that left its pid file
behind has died. Any number of processes may look after one; they take turns.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from vo_service.cli.context import database
from vo_service.db.cluster import Cluster
from vo_service.db.connect import private_cluster
from vo_service.errors import VOError
from vo_service.settings import Settings

__all__ = ["database_kept_up"]

_log = logging.getLogger(__name__)

_LOOK_S = 2.0


@contextlib.contextmanager
def database_kept_up(settings: Settings, *, look_s: float = _LOOK_S) -> Iterator[None]:
    """As `database`, and a private cluster that dies meanwhile is started again."""
    with database(settings):
        cluster = private_cluster(settings)
        if cluster is None:
            yield
            return
        over = threading.Event()
        keeper = threading.Thread(target=_keep_up, args=(cluster, over, look_s), daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()


def _keep_up(cluster: Cluster, over: threading.Event, look_s: float) -> None:
    while not over.wait(look_s):
        if not cluster.died():
            continue
        _log.error("PostgreSQL has died and is started again (its log is %s)", cluster.log)
        try:
            cluster.start()
        except (VOError, OSError) as error:
            _log.error("PostgreSQL cannot be started, and is tried again: %s", error)
