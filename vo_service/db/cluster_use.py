"""The private cluster while somebody uses it: who comes first starts it, who leaves last stops it.

Who uses it holds a shared lock on a file beside it, which the kernel takes back however a process
ends. Another file says that it was started for those who use it; one that was started to stay
(`vo-service db start`) is left running. What was killed with ``-9`` as the last leaves a cluster
that runs, and that the next one stops.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from vo_service.db.cluster import Cluster

__all__ = ["start_to_stay", "stop_for_all", "used"]


@contextlib.contextmanager
def used(cluster: Cluster, *, stop: bool = False) -> Iterator[None]:
    """Have the cluster run while the block lasts.

    Parameters
    ----------
    cluster
        Made if there is none.
    stop
        Let the last who leaves stop it also if it was started to stay.

    Raises
    ------
    ConfigError, TransientError
        As `Cluster.start`.
    """
    cluster.prepare()
    with (cluster.root / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for one who is just stopping it
        if cluster.start():
            _passing(cluster).touch()
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):  # others are there
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stop or _passing(cluster).exists():
                    stop_for_all(cluster)


def start_to_stay(cluster: Cluster) -> bool:
    """Start the cluster, if it does not run, and let nobody stop it who only leaves."""
    started = cluster.start()
    _passing(cluster).unlink(missing_ok=True)
    return started


def stop_for_all(cluster: Cluster) -> bool:
    """Stop the cluster, whoever uses it; False if it did not run."""
    stopped = cluster.stop()
    _passing(cluster).unlink(missing_ok=True)
    return stopped


def _passing(cluster: Cluster) -> Path:
    return cluster.root / "passing"
