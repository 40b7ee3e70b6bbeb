"""PostgreSQL clusters for tests: the code under test makes one, all others are copies of it.

They do not wait for the disk (fsync is off): any process of theirs may be killed, the machine
may not. Measurements make their clusters themselves, as an operator does.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from vo_service.db.cluster import Cluster

__all__ = ["lay_cluster"]


def lay_cluster(home: Path) -> Cluster:
    """A cluster in a data directory, as `Cluster.create` makes it; it is not started."""
    cluster = Cluster(home)
    cluster.prepare()
    subprocess.run(("cp", "-a", _pristine().data, cluster.root), check=True)
    return cluster


@cache
def _pristine() -> Cluster:
    """A cluster that is never started; it is there as long as this process."""
    place = Path(tempfile.mkdtemp(prefix="vo-pristine-"))
    place.chmod(0o755)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    cluster = Cluster(place)
    cluster.create()
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as chosen:
        chosen.write("fsync = off\n")
    return cluster
