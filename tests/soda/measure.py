"""What cutouts of a cube of 30 GB cost over HTTP: a command of its own, not a test.

    python -m tests.soda.measure --repeat 20

makes a private PostgreSQL and a sparse cube of TriCCS' size (2160 x 1280 x 5400 pixels of 2
bytes) in a temporary directory, serves it, and prints times (ms, client's, on a kept connection),
bytes that the server's process read, and its memory.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from astropy.io import fits

from tests.bundles.measure import peak_mb
from tests.previews.frames import make_archive, take_in, wcs_cards
from tests.web.conftest import free_port, serving
from vo_service.cli.context import stopping_on_sigterm
from vo_service.db.cluster import Cluster
from vo_service.services.setup import initialise

SHAPE = (5400, 1280, 2160)
RA, DEC, SCALE = 325.678446, 43.586074, 0.35 / 3600
_STEP_S = 0.5


def write_cube(path: Path) -> None:
    """A cube with a time axis of frames of half a second, all of its pixels 0 and not on disk."""
    header = fits.Header()
    header.update(
        SIMPLE=True, BITPIX=16, NAXIS=3, NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], NAXIS3=SHAPE[0],
        BZERO=32768.0, BSCALE=1.0, OBJECT="cube", INSTRUME="drawn", PROP="p1",
    )  # fmt: skip
    header.update(wcs_cards(RA, DEC, SHAPE[1:], SCALE))
    header.update(
        CTYPE3="TIME", CUNIT3="s", CRPIX3=0.5, CRVAL3=0.0, CDELT3=_STEP_S, MJDREF=51910.5
    )  # fmt: skip
    header["DATE-OBS"] = "2001-01-01T12:00:00"
    with path.open("wb") as file:
        head = header.tostring().encode()
        file.write(head)
        file.truncate(len(head) + -(-2 * SHAPE[0] * SHAPE[1] * SHAPE[2] // 2880) * 2880)


def read_bytes(pid: int) -> int:
    """Bytes that a process has read by system calls, of files and connections."""
    words = Path(f"/proc/{pid}/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


def measure(url: str, did: str, pid: int, repeat: int) -> None:
    """Print the figures."""
    with httpx.Client(base_url=f"{url}/soda", timeout=600) as http:
        middle = (51910.5 + 3000.25 * _STEP_S / 86400, 51910.5 + 3000.75 * _STEP_S / 86400)
        asked = {
            "256 x 256 of one frame, by CIRCLE and TIME": {
                "CIRCLE": f"{RA} {DEC} {127.9 * SCALE}", "TIME": f"{middle[0]!r} {middle[1]!r}",
            },
            **{
                f"64 x 64 of {count} frames": {"PIXEL": f"[1000:1063,600:663,2001:{2000 + count}]"}
                for count in (1, 10, 100, 1000)
            },
            "all of 100 frames": {"PIXEL": "[*,*,2001:2100]"},
        }  # fmt: skip
        for name, parameters in asked.items():
            times = []
            size = 0
            http.get("/sync", params={"ID": did, **parameters})
            before = read_bytes(pid)
            number = 3 if "all of" in name else repeat
            for _ in range(number):
                started = time.perf_counter()
                answer = http.get("/sync", params={"ID": did, **parameters})
                times.append(1000 * (time.perf_counter() - started))
                size = len(answer.content)
            read = (read_bytes(pid) - before) / number
            print(
                f"{name}: p50 {statistics.median(times):.1f} ms, least {min(times):.1f}; "
                f"{size} bytes sent, {read:.0f} read; memory at most {peak_mb(pid)} MB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-measure-"))
    place.chmod(0o755)
    initialise(place)
    cluster = Cluster(place)
    with stopping_on_sigterm():
        try:
            cluster.start()
            settings = make_archive(None, place, port=free_port(), previews=False)
            write_cube(settings.home / "store" / "cube.fits")
            take_in(settings)
            did = f"ivo://{settings.authority}/drawn?cube.fits"
            with serving(settings) as process:
                measure(settings.root_url, did, process.pid, arguments.repeat)
        finally:
            cluster.stop()
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
