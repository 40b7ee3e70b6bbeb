"""Where figures are taken: the served synthetic archive, its database, and what both are asked.

The database is asked the very SQL that the service runs, by PostgreSQL's own programs and by
prepared statements.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from vo_service.adql import translate
from vo_service.bench.client import Server
from vo_service.bench.synthetic import Synthetic
from vo_service.db.catalog import read_catalog
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo, engine
from vo_service.db.stream import render
from vo_service.model.table import Catalog
from vo_service.settings import Settings

__all__ = ["Place", "served"]

_STOP_S = 30
_PARTITION = re.compile(r"observation_(?:ra_[0-9_]+|no_position)")


@dataclass(frozen=True)
class Place:
    """A served archive; *process* is the number of the server's process, or of their parent."""

    settings: Settings
    archive: Synthetic
    server: Server
    process: int

    @cached_property
    def catalog(self) -> Catalog:
        """What may be queried."""
        made = engine(self.settings, Role.READER)
        with made.connect() as connection:
            catalog = read_catalog(connection)
        made.dispose()
        return catalog

    @cached_property
    def dsn(self) -> str:
        """The service's own connection, without its time limit."""
        url = f"{self.settings.root_url}/data/"
        return conninfo(self.settings, Role.READER, **{"vo.data_url": url})

    def sql(self, query: str, limit: int) -> str:
        """The SQL that the service runs for an ADQL query with MAXREC one less than *limit*."""
        return render(translate(query, self.catalog, limit).select)

    def copy(self, query: str, limit: int) -> float:
        """Seconds that ``psql`` takes for a COPY of the same rows to nowhere."""
        statement = f"COPY ({self.sql(query, limit)}) TO STDOUT (FORMAT binary)"
        started = time.perf_counter()
        self.run("psql", "-qXc", statement)
        return time.perf_counter() - started

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs says, connected as the service is."""
        command = [Cluster(self.settings.home).program(program)]
        # pgbench takes the connection as its last word, psql as its first.
        done = subprocess.run(
            [*command, *arguments, self.dsn],
            stdout=subprocess.PIPE if program != "psql" else subprocess.DEVNULL,
            stderr=subprocess.PIPE, check=False, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return done.stdout or ""

    def memory(self, kind: str = "VmRSS") -> float:
        """Resident memory of the server (VmHWM: its highest so far), MB."""
        for line in Path(f"/proc/{self.process}/status").read_text("ascii").splitlines():
            if line.startswith(kind):
                return float(line.split()[1]) / 1000
        return float("nan")

    def partitions(self, query: str) -> tuple[int, int]:
        """How many partitions a query reads, and how many there are."""
        with psycopg.connect(self.dsn) as connection:
            plan = connection.execute(f"EXPLAIN {self.sql(query, 10)}".encode()).fetchall()
            count = connection.execute(
                "SELECT count(*) FROM pg_inherits WHERE inhparent = 'archive.observation'::regclass"
            ).fetchone()
        words = {word for (line,) in plan for word in line.split()}
        return len(set(filter(_PARTITION.fullmatch, words))), count[0] if count else 0

    def positions(self, count: int, *, seed: int) -> list[tuple[float, float]]:
        """Places in the sky where frames are: near the centres of fields, in random order."""
        rng = np.random.default_rng([self.archive.seed, 2, seed])
        fields = self.archive.fields
        chosen = fields[rng.integers(len(fields), size=count)]
        chosen = chosen + np.radians(2.0) * rng.normal(size=(count, 3))
        chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
        ra = np.degrees(np.arctan2(chosen[:, 1], chosen[:, 0])) % 360
        return list(zip(ra.tolist(), np.degrees(np.arcsin(chosen[:, 2])).tolist(), strict=True))


def timed(
    connection: psycopg.Connection[Any], statement: str, values: Sequence[Any] | None = None
) -> float:
    """Seconds for all rows of a statement, prepared where it has *values*."""
    started = time.perf_counter()
    connection.execute(statement.encode(), values, prepare=values is not None).fetchall()
    return time.perf_counter() - started


@contextmanager
def served(
    settings: Settings, archive: Synthetic, *, jobs: bool, processes: int = 1
) -> Iterator[Place]:
    """`vo-service serve` in processes of its own, on a free port of this machine.

    Its worker runs for *jobs* alone: what else a worker does of itself would be measured too.
    """
    worker = "true" if jobs else "false"
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_DATABASE_URL": settings.database_url or "",
        "VO_HOST": "127.0.0.1",
        "VO_PORT": "0",
        "VO_BASE_URL": "",
        "VO_SYNC_LIMIT_S": "3600",
        "VO_CLIENT_REQUESTS_PER_S": "0",  # all clients come from one address here
        "VO_CLIENT_QUERIES": "64",
        "VO_WORKER_IN_SERVE": worker,
        "VO_PROCESSES": str(processes),
        "VO_LOG_LEVEL": "error",
        "VO_MAXREC_LIMIT": str(max(archive.rows, settings.maxrec_limit)),
    }
    command = (sys.executable, "-c", "from vo_service.cli import main; main()", "serve")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("ready: "):
                raise RuntimeError(f"the server did not start: {line}")
            port = int(line.rstrip("/\n").rpartition(":")[2])
            here = settings.model_copy(update={"port": port, "base_url": ""})
            yield Place(here, archive, Server("127.0.0.1", port), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()  # what was measured counts, however the server ended
