"""How fast a partition moves, and a collection out of one, and how long searches wait meanwhile.

Run as ``python -m tests.shards.measure``. Two PostgreSQL servers of this machine; synthetic rows
with footprints, all in one partition, half of them of a second collection; cones asked without a
pause by two sessions. Argument: rows (200 000).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from tests.shards import sky
from tests.shards.cluster import machine
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.settings import Settings

ROWS = """
INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id,
    obs_publisher_did, s_ra, s_dec, s_fov, s_region, t_min, position, region)
SELECT n, 2, CASE WHEN n & 1 = 0 THEN 'c' ELSE 'd' END, 'obs' || n, 'ivo://x/c?' || n, ra, dec,
    0.6, 'POLYGON ICRS ...', 58000 + n / 1e4,
    spoint(radians(ra), radians(dec)),
    (SELECT spoly(spoint(radians(ra + x), radians(dec + y)) ORDER BY i)
     FROM (VALUES (1, -.2, -.2), (2, .2, -.2), (3, .2, .2), (4, -.2, .2)) v(i, x, y))
FROM (SELECT n, 31 + 28 * random() AS ra, degrees(asin(1.98 * random() - 0.99)) AS dec
      FROM generate_series(1, %s) n) AS t
"""
CONE = (
    "SELECT count(*) FROM archive.obscore WHERE s_ra BETWEEN 44 AND 46 AND "
    "position <@ scircle(spoint(radians(45), radians(10)), radians(1))"
)


def main() -> None:
    """Print what was measured."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vo-measure-")))
        place.chmod(0o755)
        centre = stack.enter_context(machine(place / "centre"))
        node = stack.enter_context(machine(place / "north"))
        url = centre.fresh()
        bounds = tuple(float(ra) for ra in range(0, 361, 30))
        settings = settings_at(url, place / "home", partition_bounds=bounds)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE EXTENSION pg_sphere")
            upgrade(settings)
            admin.execute(
                "INSERT INTO archive.collection (name, title, definition) VALUES ('d', 'D', '{}')"
            )
            admin.execute(ROWS, (rows,))
            admin.execute("VACUUM ANALYZE archive.observation")
        sky.add(settings, "north", node.fresh())
        print(f"{rows} rows; cones at rest: {_asked(settings, partial(time.sleep, 3))}")
        for what, work in (
            ("all to north", partial(sky.move, settings, "north", "30:60")),
            ("all to centre", partial(sky.move, settings, "centre", "30:60")),
            ("a collection to north", partial(sky.place, settings, "north", "d")),
            ("a collection to centre", partial(sky.place, settings, "centre", "d")),
        ):
            begun = time.monotonic()
            waits = _asked(settings, work)
            taken = time.monotonic() - begun
            print(f"{what}: {taken:.1f} s, {rows / taken:,.0f} rows/s; cones meanwhile: {waits}")
            print(f"  and there: {_asked(settings, partial(time.sleep, 3))}")


def _asked(settings: Settings, work: Callable[[], object]) -> str:
    """Median and longest time of cones while *work* is done."""
    stop, times = threading.Event(), list[float]()

    def ask() -> None:
        with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
            while not stop.is_set():
                begun = time.monotonic()
                connection.execute(CONE.encode())
                times.append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    times.sort()
    return f"median {1000 * times[len(times) // 2]:.1f} ms, longest {1000 * times[-1]:.0f} ms"


if __name__ == "__main__":
    main()
