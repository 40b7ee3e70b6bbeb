"""Work that is not a plain search: uploads, jobs, and files that are taken in."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import httpcore
import numpy as np
import pyarrow as pa
from astropy.io import fits
from pyarrow import parquet

from vo_service.bench.archive import Loaded
from vo_service.bench.client import sync_path
from vo_service.bench.figures import Figure, Target, percentiles
from vo_service.bench.place import Place
from vo_service.demo.plan import tangent_cards
from vo_service.services.ingest import IngestRequest, find_collection, ingest

__all__ = ["bulk", "files", "jobs", "uploads"]

_JOIN = (
    "SELECT TOP 1000 u.n, o.obs_publisher_did FROM TAP_UPLOAD.t AS u JOIN ivoa.obscore AS o "
    "ON DISTANCE(POINT(o.s_ra, o.s_dec), POINT(u.ra, u.dec)) < 5 / 3600.0"
)
_COUNT = _JOIN.replace("TOP 1000 u.n, o.obs_publisher_did", "COUNT(*) AS n")
_UPLOADS = {1000: None, 100_000: 10.0, 1_000_000: 90.0}
_FILES = 5000


def bulk(loaded: Loaded) -> Iterator[Figure]:
    """The load that made the archive."""
    rate = loaded.rows / loaded.copy_s
    yield Figure(
        "load", "rows copied, indexes after", rate, "rows/s", None,
        Target("value", 40_000, at_least=True),
        f"{loaded.copy_s:.0f} s, then {loaded.index_s:.0f} s for indexes and statistics",
    )  # fmt: skip


def uploads(place: Place) -> Iterator[Figure]:
    """All frames within 5" of each of many uploaded positions, counted; the better of two."""
    for count, bound in _UPLOADS.items():
        if count > place.settings.upload_rows_limit:
            continue
        body, content_type = _form(_COUNT, _positions(place, count))
        answers = [place.server.fetch("/tap/sync", body, content_type) for _ in range(2)]
        best = min(answer.whole_s for answer in answers)
        yield Figure(
            "upload", f"join of {count} positions at 5\"", best, "s", None,
            Target("value", bound) if bound else None, f"{len(body) / 1e6:.1f} MB sent",
        )  # fmt: skip


def _positions(place: Place, count: int) -> bytes:
    """A Parquet table of positions, half of them near frames' centres, half anywhere near."""
    ra, dec = np.array(place.positions(count, seed=4)).T
    with io.BytesIO() as sink:
        parquet.write_table(pa.table({"n": np.arange(count), "ra": ra, "dec": dec}), sink)
        return sink.getvalue()


def _form(query: str, table: bytes) -> tuple[bytes, str]:
    """A multipart form with a query and a table of name ``t``."""
    boundary = uuid4().hex
    texts = {"LANG": "ADQL", "QUERY": query, "UPLOAD": "t,param:t"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in texts.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="t"; filename="t.parquet"\r\n'
        "Content-Type: application/vnd.apache.parquet\r\n\r\n"
    ).encode()
    body = b"".join([*parts, head, table, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def jobs(place: Place) -> Iterator[Figure]:
    """A small query as a job, from its creation to COMPLETED, against the same by sync."""
    query = "SELECT TOP 10 obs_id FROM ivoa.obscore"
    url = f"http://{place.server.host}:{place.server.port}"
    form = urlencode({"LANG": "ADQL", "QUERY": query, "PHASE": "RUN"}).encode()
    header = [(b"Content-Type", b"application/x-www-form-urlencoded")]
    times = []
    with httpcore.ConnectionPool() as http:
        for _ in range(20):
            started = time.perf_counter()
            made = http.request("POST", f"{url}/tap/async", headers=header, content=form)
            place_of = dict(made.headers)[b"location"].decode()
            path = place_of[place_of.index("/tap/") :]
            while b"COMPLETED" not in http.request("GET", f"{url}{path}?WAIT=10").content:
                pass
            times.append(time.perf_counter() - started)
    sync = [place.server.fetch(sync_path(query, 10)).whole_s for _ in range(20)]
    middle, late = percentiles(times)
    yield Figure(
        "job", "a small job, p50", middle * 1000, "ms", percentiles(sync)[0] * 1000, None,
        f"p95 {late * 1000:.0f} ms; reference: the same by sync",
    )  # fmt: skip


def files(place: Place) -> Iterator[Figure]:
    """Headers of stacked frames of Tomo-e, read, mapped and stored by ingest."""
    with tempfile.TemporaryDirectory(prefix="vo-bench-") as directory:
        top = Path(directory)
        _write_files(top, place)
        # A name of its own, for a kept database may know the files of another run.
        name = f"files_{uuid4().hex[:8]}"
        collection = find_collection(place.settings, "tomoe").model_copy(update={"name": name})
        started = time.perf_counter()
        counts = ingest(place.settings, IngestRequest(collection=collection, paths=[top]))
        took = time.perf_counter() - started
    if counts.added != _FILES:
        raise RuntimeError(f"{counts.refused} of {_FILES} files were refused")
    yield Figure(
        "ingest", f"headers of {_FILES} files", _FILES / took, "files/s", None,
        Target("value", 500, at_least=True), "with the indexes of the full archive in place",
    )  # fmt: skip


def _write_files(top: Path, place: Place) -> None:
    """Small images with the headers of large ones."""
    night = top / "2019" / "10" / "01"
    night.mkdir(parents=True)
    start = datetime(2019, 10, 1, 12, tzinfo=UTC)
    pixels = np.zeros((8, 8), np.int16)
    for number, (ra, dec) in enumerate(place.positions(_FILES, seed=5)):
        when = start + timedelta(seconds=number)
        header = fits.Header(_cards(number, when))
        header.extend(fits.Header(tangent_cards(ra, dec, (4.5, 4.5), 160.0)))
        name = f"sTMQ120191001{number:08d}11.fits"
        fits.PrimaryHDU(pixels, header).writeto(night / name)


def _cards(number: int, when: datetime) -> list[tuple[str, str | int | float]]:
    return [
        ("TELESCOP", "Kiso Schmidt"),
        ("INSTRUME", "Tomo-e Gozen"),
        ("EXP_ID", number),
        ("DET_ID", 111),
        ("OBJECT", f"field {number % 100}"),
        ("OBSERVER", "bench"),
        ("PROJECT", "bench"),
        ("DATA_TYP", "OBJECT"),
        ("OBS_MOD", "IMAG"),
        ("DATE-OBS", f"{when:%Y-%m-%dT%H:%M:%S.000}"),
        ("EXPTIME", 9.0),
        ("TFRAME", 0.5),
        ("NFRAME", 18),
        ("FILTER", "none"),
        ("RADESYS", "ICRS"),
    ]
