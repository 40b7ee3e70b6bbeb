"""How long a page of ListRecords takes, and how much memory: python -m tests.registry.measure.

Records are put beside those of a database that the caller names; the pages are asked of the
service itself, without HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from tests.registry.facts import collection, facts
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.params.oai import parse_harvest
from vo_service.registry.records import build_records
from vo_service.services.oai import OaiService
from vo_service.services.setup import initialise
from vo_service.settings import Settings

_TOKEN = re.compile(rb"<oai:resumptionToken[^>]*>([^<]+)<")


def fill(settings: Settings, count: int) -> None:
    """*count* records like that of a collection, ten to a second."""
    record = list(build_records(facts(collection())))[-1]
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        connection.execute(
            "INSERT INTO archive.record (ivoid, identifier, title, sets, document, simple, digest,"
            " created, updated) SELECT i, i, 'x', %s, %s, %s, '', t, t FROM ("
            "SELECT 'ivo://archive.example.org/c' || n AS i, "
            "timestamptz '2020-01-01Z' + n / 10 * interval '1 s' AS t "
            "FROM generate_series(1, %s) AS n) AS made",
            (list(record.sets), record.document.decode(), record.simple.decode(), count),
        )
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as connection:
        connection.execute("ANALYZE archive.record")


async def harvest(settings: Settings, **asked: str) -> tuple[list[float], int]:
    """Seconds of each page of a whole harvest, and the records in them."""
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        conninfo(settings, Role.DOOR), min_size=1, open=False
    )
    times, records = [], 0
    async with pool:
        service = OaiService(settings, pool)
        arguments = {"verb": "ListRecords", "metadataPrefix": "ivo_vor", **asked}
        while True:
            began = time.perf_counter()
            answer = await service.answer(parse_harvest(list(arguments.items())))
            times.append(time.perf_counter() - began)
            records += answer.count(b"<oai:record>")
            token = _TOKEN.search(answer)
            if token is None:
                return times, records
            arguments = {"verb": "ListRecords", "resumptionToken": token[1].decode()}


def main() -> None:
    """Make an archive, fill it, harvest all of it and one set, print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        Path(directory).chmod(0o755)
        settings = initialise(home, authority="archive.example.org")
        cluster = Cluster(home)
        cluster.start()
        try:
            upgrade(settings)
            fill(settings, count)
            for asked in ({}, {"set": "collection:tomoe"}, {"from": "2020-01-01T01:00:00Z"}):
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                times, records = asyncio.run(harvest(settings, **asked))
                after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                print(
                    f"{asked or 'all'}: {records} records, {len(times)} pages; median "
                    f"{statistics.median(times) * 1e3:.1f} ms, slowest {max(times) * 1e3:.1f} ms; "
                    f"peak memory {before / 1024:.0f} -> {after / 1024:.0f} MB"
                )
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
