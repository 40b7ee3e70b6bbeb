"""The database that is measured: made, filled by a bulk load, and dropped again."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pyarrow import csv

from vo_service.bench.synthetic import (
    COLLECTION,
    HALF_DIAGONAL,
    OBSERVATION_COLUMNS,
    PRODUCT_COLUMNS,
    RELEASE,
    Synthetic,
)
from vo_service.db.bulk import build_indexes, copy_csv, drop_indexes
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.roles import ADMIN
from vo_service.db.schema import upgrade
from vo_service.db.visibility import widen_reach
from vo_service.errors import ConfigError
from vo_service.services.ingest import find_collection
from vo_service.settings import Settings

__all__ = ["Loaded", "drop_database", "fill", "settings_for"]

_PREFIX = "vo_bench_"
_MADE = "Made by vo-service bench"
_COST = re.compile(rf"{_MADE}: copied in ([0-9.]+) s, indexed in ([0-9.]+) s")
_CSV = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="needed")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the load cost, in seconds: COPY of prepared rows, indexes and statistics after it."""

    rows: int
    copy_s: float
    index_s: float


def settings_for(settings: Settings, database_url: str | None) -> Settings:
    """The settings of a database to measure: a new one in the private cluster, or one given.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    if database_url is None:
        if settings.database_url is not None:
            raise ConfigError(
                "database_url is set: name an empty database on that server with --database"
            )
        socket = str(Cluster(settings.home, settings.cluster_user).socket)
        name = f"{_PREFIX}{uuid4().hex[:12]}"
        with psycopg.connect(host=socket, user=ADMIN, dbname="postgres", autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        database_url = make_conninfo(host=socket, user=ADMIN, dbname=name)
    return settings.model_copy(update={"database_url": database_url})


def drop_database(settings: Settings) -> None:
    """Drop a database that `settings_for` made."""
    with psycopg.connect(settings.database_url or "") as connection:
        name = connection.info.dbname
    if not name.startswith(_PREFIX):
        return
    with psycopg.connect(
        make_conninfo(settings.database_url or "", dbname="postgres"), autocommit=True
    ) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def fill(
    settings: Settings, archive: Synthetic, *, progress: Callable[[str, int, int], None]
) -> Loaded | None:
    """Load the synthetic archive as a nightly load never would: without indexes, then with.

    Parameters
    ----------
    settings, archive
        The database, as `settings_for` gives it, and what to load.
    progress
        Called with what is done, how much of it, and of how much.

    Returns
    -------
    Loaded or None
        What the load cost, also where exactly these rows were loaded before; None where that is
        not known any more.

    Raises
    ------
    ConfigError
        If the database holds something else.
    """
    upgrade(settings)
    owner = conninfo(settings, Role.OWNER)
    with psycopg.connect(owner) as connection:
        title = f"Synthetic: {archive.rows} rows of seed {archive.seed}"
        if kept := _kept(connection):
            if kept[0] == title:
                cost = _COST.fullmatch(kept[1])
                return Loaded(archive.rows, float(cost[1]), float(cost[2])) if cost else None
            raise ConfigError(f"the database holds another archive: {kept[0]}")
        like = find_collection(settings, "tomoe")
        ours = {"name": COLLECTION, "title": title, "release": RELEASE}
        collection = like.model_copy(update=ours)
        FrameStore(connection).register(COLLECTION, title, _MADE, collection.model_dump_json())
        for relation in ("archive.observation", "archive.product"):
            drop_indexes(connection, relation)
    copy_s = _copy(owner, archive, progress)
    started = time.perf_counter()
    build_indexes(
        owner,
        at_once=os.cpu_count() or 1,
        done=lambda built, total: progress("indexes", built, total),
    )
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("ANALYZE archive.observation")
        connection.execute("ANALYZE archive.product")
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("VACUUM archive.observation")  # index-only scans, as after a while
    loaded = Loaded(archive.rows, copy_s, time.perf_counter() - started)
    with psycopg.connect(owner) as connection:
        said = f"{_MADE}: copied in {copy_s:.1f} s, indexed in {loaded.index_s:.1f} s"
        connection.execute(
            "UPDATE archive.collection SET description = %s WHERE name = %s", [said, COLLECTION]
        )
    return loaded


def _kept(connection: psycopg.Connection) -> tuple[str, str] | None:
    """Title and description of the synthetic archive that is there whole.

    Raises
    ------
    ConfigError
        If the collections are not ours, or a load was broken off.
    """
    rows = connection.execute("SELECT name, title, description FROM archive.collection").fetchall()
    found = next(((title, said) for name, title, said in rows if name == COLLECTION), None)
    if rows and found is None:
        raise ConfigError("the database holds collections: bench works in an empty one only")
    if connection.execute("SELECT 1 FROM archive.dropped_index").fetchone():
        raise ConfigError("the database holds a load that was broken off: give an empty one")
    return found


def _copy(owner: str, archive: Synthetic, progress: Callable[[str, int, int], None]) -> float:
    """Load all rows, a session for each core, a block a transaction; seconds from first to last."""
    started = time.perf_counter()
    cores = os.cpu_count() or 1
    blocks = archive.blocks()
    done = 0
    with ThreadPoolExecutor(cores) as pool:
        while some := list(islice(blocks, cores)):
            done += sum(pool.map(lambda block: _load(owner, *block), some))
            progress("rows", done, archive.rows)
    with psycopg.connect(owner) as connection:
        widen_reach(connection, HALF_DIAGONAL, closed=False)
        connection.execute(
            "SELECT setval(pg_get_serial_sequence('archive.product', 'product_id'), %s)",
            [archive.rows],
        )
    return time.perf_counter() - started


def _load(owner: str, products: pa.Table, observations: pa.Table) -> int:
    texts = _csv(products), _csv(observations)
    with psycopg.connect(owner) as connection:
        copy_csv(connection, "archive.product", PRODUCT_COLUMNS, [texts[0]])
        copy_csv(connection, "archive.observation", OBSERVATION_COLUMNS, [texts[1]])
    return len(products)


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    csv.write_csv(table, sink, _CSV)
    return sink.getvalue()
