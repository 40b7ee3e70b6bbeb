"""Searches go to streaming replicas that keep up, and to the primary when none does."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.db.frames import frame
from tests.shards.cluster import Machine, machine
from tests.shards.sky import fill
from tests.support import settings_at
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.schema import upgrade
from vo_service.db.stream import Reader
from vo_service.params.tap import TapQuery
from vo_service.services.catalog import CatalogCache
from vo_service.services.replicas import Replicas
from vo_service.services.tap import TapService
from vo_service.settings import Settings
from vo_service.telemetry.meters import REGISTRY

pytestmark = pytest.mark.anyio

COUNT = "SELECT COUNT(*) AS n FROM ivoa.obscore"


@pytest.fixture(scope="module")
def primary(place: Path) -> Iterator[Machine]:
    with machine(place / "primary") as made:
        yield made


@contextmanager
def copied(primary: Machine, home: Path) -> Iterator[Machine]:
    """A streaming replica, by pg_basebackup."""
    cluster = Cluster(home)
    cluster.root.mkdir(parents=True)
    cluster.socket.mkdir(mode=0o700)
    owner = "postgres" if os.geteuid() == 0 else None
    for directory in (cluster.root, cluster.socket):
        if owner:
            shutil.chown(directory, owner)
    with (primary.cluster.data / "pg_hba.conf").open("a") as hba:
        hba.write("local replication vo_admin peer map=vo\n")
    with psycopg.connect(primary.admin, autocommit=True) as admin:
        admin.execute("SELECT pg_reload_conf()")
    command = [
        primary.cluster.program("pg_basebackup"), f"--pgdata={cluster.data}", "-R",
        f"--dbname=host={primary.cluster.socket} user=vo_admin", "--checkpoint=fast",
    ]  # fmt: skip
    prefix = ["runuser", "-u", owner, "--"] if owner else []
    subprocess.run([*prefix, *command], check=True, cwd="/", capture_output=True)
    replica = Machine(cluster)
    cluster.start(memory=256 * 1024**2)
    try:
        yield replica
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def settings(primary: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with primary.database() as url:
        with psycopg.connect(url) as admin:
            admin.execute("CREATE EXTENSION pg_sphere")
        made = settings_at(url, tmp_path_factory.mktemp("home"))
        upgrade(made)
        fill(made, [frame(f"{n}.fits", obs_id=str(n)) for n in range(5)])
        yield made


@pytest.fixture(scope="module")
def replica(primary: Machine, settings: Settings, place: Path) -> Iterator[Machine]:
    with copied(primary, place / "replica") as made:
        yield made


@pytest.fixture
def chosen(settings: Settings, replica: Machine) -> Settings:
    name = conninfo_to_dict(settings.database_url or "")["dbname"]
    url = make_conninfo(replica.admin, dbname=str(name))
    return settings.model_copy(update={"reader_urls": (url,), "replica_lag_s": 4.0})


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await _pause()


async def _pause() -> None:
    await anyio.sleep(0.1)


def paused(replica: Machine, pause: bool) -> None:
    word = "pause" if pause else "resume"
    with psycopg.connect(replica.admin, autocommit=True) as admin:
        admin.execute(f"SELECT pg_wal_replay_{word}()".encode())


def searches(machine: Machine) -> int:
    """Sessions of the reader there."""
    with psycopg.connect(machine.admin) as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%obscore_1%' "
            "AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0


async def count(service: TapService) -> int:
    rows = await service.query(TapQuery(query=COUNT, maxrec=1))
    try:
        [batch] = [batch async for batch in rows.batches()]
    finally:
        await rows.aclose()
    return int(batch.column(0)[0].as_py())


@contextmanager
def tap(settings: Settings, replicas: Replicas) -> Iterator[TapService]:
    dsn = conninfo(settings, Role.READER)
    engine = engine_at(dsn)
    yield TapService(
        Reader(dsn, 2, 10.0), CatalogCache(engine, 10.0), replicas=replicas.telling("http://x/")
    )
    engine.dispose()


def meters(replica: Machine) -> dict[str, float | None]:
    """What /metrics says of it."""
    name = f"{replica.cluster.socket}:5432"
    pool = {"pool": f"replica {name}"}
    return {
        "up": REGISTRY.get_sample_value("vo_replica_up", {"replica": name}),
        "lag": REGISTRY.get_sample_value("vo_replica_lag_seconds", {"replica": name}),
        "size": REGISTRY.get_sample_value("vo_pool_size", pool),
        "used": REGISTRY.get_sample_value("vo_pool_used", pool),
    }


async def test_searches_run_on_a_replica_that_keeps_up(
    chosen: Settings, primary: Machine, replica: Machine
) -> None:
    replicas = Replicas(chosen, 10.0)
    assert replicas.fresh() is None  # nothing is known of it yet
    async with replicas.running():
        await until(lambda: replicas.fresh() is not None)
        with tap(chosen, replicas) as service:
            assert await count(service) == 5
        assert (searches(primary), searches(replica)) == (0, 1)
        replicas.show()
        found = meters(replica)
        assert found["up"] == 1
        assert 0 <= (found["lag"] or 0) <= 10
        assert (found["size"], found["used"]) == (chosen.reader_connections, 0)


async def test_a_replica_that_is_behind_is_not_asked_until_it_has_caught_up(
    chosen: Settings, replica: Machine
) -> None:
    replicas = Replicas(chosen, 10.0)
    async with replicas.running():
        await until(lambda: replicas.fresh() is not None)
        paused(replica, True)
        try:
            fill(chosen, [frame("late.fits", obs_id="late")])
            await until(lambda: replicas.fresh() is None)
            with tap(chosen, replicas) as service:
                assert await count(service) == 6
        finally:
            paused(replica, False)
        await until(lambda: replicas.fresh() is not None)
        with tap(chosen, replicas) as service:
            assert await count(service) == 6


async def test_a_primary_where_nobody_writes_has_fresh_replicas(chosen: Settings) -> None:
    replicas = Replicas(chosen, 10.0)
    async with replicas.running():
        await until(lambda: replicas.fresh() is not None)
        begun = time.monotonic()
        while time.monotonic() < begun + 6:  # more than the lag that is allowed
            assert replicas.fresh() is not None
            await _pause()


async def test_a_replica_that_dies_or_hangs_is_replaced_by_the_primary(
    chosen: Settings, replica: Machine
) -> None:
    replicas = Replicas(chosen, 10.0)
    replicas.show()
    assert (meters(replica)["up"], meters(replica)["lag"]) == (0, math.inf)
    async with replicas.running():
        await until(lambda: replicas.fresh() is not None)
        with tap(chosen, replicas) as service:
            replica.kill()
            assert await count(service) == 6  # nobody knows of it yet
            await until(lambda: replicas.fresh() is None)
            assert await count(service) == 6
        replica.cluster.start(memory=256 * 1024**2)
        await until(lambda: replicas.fresh() is not None)
        with replica.frozen():
            await until(lambda: replicas.fresh() is None)
            assert meters(replica)["up"] == 0
        await until(lambda: replicas.fresh() is not None)


async def test_what_is_no_replica_of_this_database_is_not_asked(
    settings: Settings, server: str
) -> None:
    for url in (settings.database_url or "", server, "host=/nonexistent dbname=x"):
        other = settings.model_copy(update={"reader_urls": (url,)})
        replicas = Replicas(other, 10.0)
        async with replicas.running():
            begun = time.monotonic()
            while time.monotonic() < begun + 2:
                assert replicas.fresh() is None
                await _pause()
