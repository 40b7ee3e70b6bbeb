"""How long a harvest takes, and how much memory: python -m tests.registry.harvest_measure.

An archive with that many records is served by the real command, another one harvests it.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from tests.registry.measure import fill
from tests.web.conftest import free_port
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.services.harvest import harvest
from vo_service.services.registry import publish_records
from vo_service.services.setup import initialise
from vo_service.settings import Settings


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _name_each(settings: Settings) -> None:
    """Give each document its own identifier; a harvester takes no other."""
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute(
            "UPDATE archive.record SET document = regexp_replace(document, "
            "'<identifier>[^<]*', '<identifier>' || identifier) WHERE title = 'x'"
        )


def main() -> None:
    """Make an archive, fill it, serve it, harvest it twice, print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--page", type=int, default=100, help="records in a page (at most 1000)")
    given = parser.parse_args()
    program = Path(sys.executable).parent / "vo-service"
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        top.chmod(0o755)
        cluster = Cluster(top / "there")
        there = initialise(top / "there", authority="archive.example.org")
        here = initialise(top / "here", authority="here.example")
        clusters = (cluster, Cluster(top / "here"))
        for one in clusters:
            one.start()
        try:
            upgrade(there)
            upgrade(here)
            publish_records(there)
            fill(there, given.records)
            _name_each(there)
            port = free_port()
            environment = os.environ | {
                "VO_HOME": str(there.home), "VO_PORT": str(port), "VO_WORKER_IN_SERVE": "false",
                "VO_REGISTRY_PAGE": str(given.page),
            }  # fmt: skip
            with subprocess.Popen(
                [program, "serve"], env=environment, stdout=subprocess.PIPE, text=True
            ) as server:
                assert server.stdout is not None
                assert server.stdout.readline().startswith("ready")
                marks: list[float] = []
                url = f"http://localhost:{port}/oai"
                for what in ("first", "second"):
                    began, before = time.perf_counter(), _memory()
                    done = harvest(
                        here, url, pause_s=0, full=True, told=lambda _: marks.append(_memory())
                    )
                    took = time.perf_counter() - began
                    middle = marks[len(marks) // 2]
                    print(
                        f"{what}: {done.taken} records ({done.new} new, {done.changed} changed, "
                        f"{done.deleted} deleted, {done.refused} refused) in {done.pages} pages, "
                        f"{took:.1f} s; memory {before:.0f} MB before, {middle:.0f} in the middle, "
                        f"{_memory():.0f} at the end"
                    )
                server.send_signal(signal.SIGINT)
            with psycopg.connect(conninfo(here, Role.READER)) as reader:
                rows = reader.execute("SELECT count(*) FROM rr.resource").fetchone()
                print(f"in rr: {rows and rows[0]}")
        finally:
            for one in clusters:
                one.stop()


if __name__ == "__main__":
    main()
