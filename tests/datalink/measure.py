"""How long {links} takes where there are many products: a command of its own, not a test.

    python -m tests.datalink.measure --products 1000000 --ids 10000

makes a private PostgreSQL in a temporary directory, fills it with synthetic products (exposures
of 84 chips, each chip made of two others of its night, one master dark for all), serves it, and
prints times and memory of requests by POST, and the plan of the statement.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from tests.bundles.measure import peak_mb
from tests.web.conftest import free_port, serving
from vo_service.cli.context import stopping_on_sigterm
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo
from vo_service.db.datalink import select_links
from vo_service.db.schema import upgrade
from vo_service.db.stream import render
from vo_service.services.setup import initialise
from vo_service.settings import Settings

_FILL = """
INSERT INTO archive.product (collection, path, did, source, size, modified, media_type, state,
                             night, frame_id, exposure, dataproduct_type, headers)
SELECT 'c', n / 84 || '/F' || n || '.fits', 'ivo://x/c?' || n, '/f/' || n, 8000000 + n, now(),
       'image/fits', 'public', date '2020-01-01' + n / 100000, 'F' || n, 'E' || n / 84, 'image',
       jsonb_build_array(jsonb_build_object('cards', repeat(md5(n::text), 80)))
FROM generate_series(%s + 1, %s) AS n
"""
_USED = """
INSERT INTO archive.derivation (product_id, role, kind, collection, name, imported)
SELECT product_id, role, 'frame', 'c', name, false FROM archive.product,
LATERAL (VALUES ('progenitor', 'F' || product_id / 2), ('dark', 'F1')) AS used (role, name)
"""
_STEP = 50_000


def fill(settings: Settings, products: int, corrections: int) -> None:
    """So many public products, and corrections of some that are asked for rarely."""
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO archive.collection (name, title, definition) VALUES ('c', '', %s)",
            (json.dumps({"release": {"months": 24}}),),
        )
        for start in range(0, products, _STEP):
            connection.execute(_FILL, (start, min(start + _STEP, products)))
        connection.execute(_USED)
        connection.execute(
            "INSERT INTO archive.correction (collection, start_frame, end_frame, digits, keyword, "
            "current, updated, datatype, source, imported_by) SELECT 'c', 'F' || n * 7, "
            "'F' || n * 7, 0, 'A', '1', '2', 'int', '', '' FROM generate_series(1, %s) AS n",
            (corrections,),
        )
        # As if pictures had been made of all.
        connection.execute("UPDATE archive.preview SET made = now()")
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        for table in ("preview", "product", "derivation", "correction", "collection"):
            owner.execute(f"VACUUM ANALYZE archive.{table}".encode())


def measure(settings: Settings, pid: int, products: int, count: int) -> None:
    """Print times and the server's memory for 1, 50, *count* and twice as many IDs."""
    dice = random.Random(8)
    with httpx.Client(base_url=f"{settings.root_url}/datalink", timeout=600) as http:
        for asked in (1, 1, 50, count, count, count, 2 * count):
            ids = [f"ivo://x/c?{dice.randint(1, products)}" for _ in range(asked)]
            started = time.perf_counter()
            rows = size = 0
            with http.stream("POST", "/links", data={"ID": ids}) as answer:
                for part in answer.iter_bytes(1 << 20):
                    rows, size = rows + part.count(b"<TR>"), size + len(part)
            print(
                f"{asked:>6} IDs: {time.perf_counter() - started:6.3f} s, {rows} rows, "
                f"{size / 1e6:.1f} MB; the server's memory at most {peak_mb(pid)} MB",
                flush=True,
            )
        started = time.perf_counter()
        http.post("/links", data={"ID": "ivo://x/c?1"})
        print(f"the dark of all: {time.perf_counter() - started:.3f} s")
    statement = render(select_links(ids[:count], 10**7, root_url="http://h"))
    with psycopg.connect(conninfo(settings, Role.DOOR, **{"vo.data_url": "x"})) as door:
        plan = door.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING off) {statement}".encode())
        print("\n".join(line for (line,) in plan))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--ids", type=int, default=10_000)
    parser.add_argument("--corrections", type=int, default=100)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-measure-"))
    place.chmod(0o755)
    initialise(place)
    cluster = Cluster(place)
    settings = Settings(home=place, port=free_port())
    with stopping_on_sigterm():
        try:
            cluster.start()
            upgrade(settings)
            fill(settings, arguments.products, arguments.corrections)
            with serving(settings) as process:
                measure(settings, process.pid, arguments.products, arguments.ids)
        finally:
            cluster.stop()
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
