"""How long a request takes, and how much memory: run by hand, nothing is asserted.

python -m tests.bundles.measure [--members 100000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from tests.bundles.archive import Frame, fill, large_frames
from tests.bundles.test_requests import ask
from tests.conftest import fresh_database
from tests.jobs.archive import start
from tests.support import ended
from tests.web.conftest import free_port
from vo_service.db.cluster import Cluster
from vo_service.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=0, help="small files of a second request")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-bundles-"))
    place.chmod(0o755)
    cluster = Cluster(place / "server")
    cluster.start()
    try:
        server = make_conninfo(host=str(cluster.socket), dbname="postgres", user="vo_admin")
        with fresh_database(server) as url:
            settings = fill(url, place / "home", port=free_port())
            if asked.members:
                add_small(settings, asked.members)
            process = start(settings, "serve")
            try:
                measure(settings, process.pid, asked.members)
            finally:
                ended(process)
    finally:
        cluster.stop()
        shutil.rmtree(place, ignore_errors=True)


def add_small(settings: Settings, members: int) -> None:
    """So many sparse files of 2880 bytes, public."""
    root, public = settings.home / "storage" / "odd", settings.public / "odd"
    assert settings.database_url
    with psycopg.connect(settings.database_url) as connection:
        for first in range(0, members, 1000):
            directory = f"many/{first:06d}"
            (root / directory).mkdir(parents=True)
            (public / directory).mkdir(parents=True)
            for number in range(first, min(first + 1000, members)):
                file = root / directory / f"{number:06d}.fits"
                with file.open("wb") as out:
                    out.truncate(2880)
                os.utime(file, (1_500_000_000, 1_500_000_000))
                (public / directory / file.name).symlink_to(file)
        connection.execute(
            "INSERT INTO archive.product (product_id, collection, path, did, source, size, "
            "modified, media_type, state, headers) OVERRIDING SYSTEM VALUE "
            "SELECT 1000000 + n, 'odd', path, 'ivo://many/' || n, %s || '/' || path, 2880, "
            "to_timestamp(1500000000), 'image/fits', 'public', '[]' "
            "FROM (SELECT n, format('many/%%s/%%s.fits', to_char(n / 1000 * 1000, 'FM000000'), "
            "to_char(n, 'FM000000')) AS path FROM generate_series(0, %s) AS n) made",
            (str(root), members - 1),
        )


def measure(settings: Settings, pid: int, members: int) -> None:
    """Tell the times from a request to the first byte of its results, and the memory."""
    base = f"http://localhost:{settings.port}/bundles"
    with httpx.Client(base_url=base, timeout=600) as http:
        ids = "\n".join(frame.did for frame in large_frames())
        frame: Frame = large_frames()[0]
        ask(http, ID=frame.did)  # what is made once
        for name in ("urls", "tar"):
            times = [first_byte(http, ids, name) for _ in range(5)]
            shown = ", ".join(f"{seconds * 1000:.0f}" for seconds in times)
            print(f"486 frames, 2.64 TB: request to first byte of {name}: {shown} ms")
        print(f"memory: {peak_mb(pid)} MB at most")
        if members:
            many = "\n".join(f"ivo://many/{n}" for n in range(members))
            began = time.perf_counter()
            job = ask(http, ID=many)
            print(f"{members} files: made in {time.perf_counter() - began:.1f} s")
            url = f"{job.url}/results/tar"
            size = int(http.head(url).headers["content-length"])
            began = time.perf_counter()
            for step in range(20):
                place = size * step // 20
                http.get(url, headers={"Range": f"bytes={place}-{place + 999}"})
            print(f"a range of it: {(time.perf_counter() - began) * 50:.0f} ms")
            began = time.perf_counter()
            with http.stream("GET", url) as answer:
                got = sum(len(part) for part in answer.iter_bytes(1 << 20))
            assert got == size
            seconds = time.perf_counter() - began
            print(f"all of it: {size} bytes in {seconds:.1f} s, {members / seconds:.0f} files/s")
            print(f"memory: {peak_mb(pid)} MB at most")


def first_byte(http: httpx.Client, ids: str, name: str) -> float:
    """Seconds from handing in a request until its result begins to arrive."""
    began = time.perf_counter()
    job = ask(http, ID=ids)
    with http.stream("GET", f"{job.url}/results/{name}") as answer:
        next(answer.iter_bytes(1))
        return time.perf_counter() - began


def peak_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
