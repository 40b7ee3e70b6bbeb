"""RESPONSEFORMAT over HTTP: every format served, named, and broken off when it must be."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pyarrow as pa
import pytest
import uvicorn
from astropy.io import fits
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.formats.results import field
from tests.web.conftest import Archive
from vo_service.errors import TransientError
from vo_service.formats.output import FORMATS, output_format
from vo_service.model.table import Rows
from vo_service.web.compression import Compressed
from vo_service.web.exchange import TableResponse

QUERY = "SELECT TOP 7 * FROM ivoa.obscore ORDER BY obs_publisher_did"


def ask(archive: Archive, name: str, query: str = QUERY, **more: str) -> httpx.Response:
    pairs = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": name, **more}
    return httpx.post(f"{archive.url}/tap/sync", data=pairs, timeout=60)


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.aliases[-1])
def test_every_format_is_served_under_all_its_names(archive: Archive, known: object) -> None:
    found = [k for k in FORMATS if k is known]
    for name in (found[0].media_type, *found[0].aliases):
        response = ask(archive, name)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == output_format(name)[1]
        assert response.headers["Content-Disposition"].endswith(f'"result.{found[0].suffix}"')
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.content


def test_answers_of_two_kinds_hold_the_same(archive: Archive) -> None:
    names = ask(archive, "json").json()
    places = [c["name"] for c in names["metadata"]]
    ids = [row[places.index("obs_publisher_did")] for row in names["data"]]
    assert len(ids) == 7
    table = fits.getdata(io.BytesIO(ask(archive, "fits").content), 1)
    assert table["obs_publisher_did"].tolist() == ids
    arrow = pa.ipc.open_stream(ask(archive, "arrow").content).read_all()
    assert arrow["obs_publisher_did"].to_pylist() == ids


def test_every_format_takes_geometry_times_and_truth_from_postgresql(archive: Archive) -> None:
    query = (
        "SELECT TOP 3 POINT(s_ra, s_dec) AS p, CIRCLE(s_ra, s_dec, 1) AS c, s_region, t_min, "
        "calib_level, access_estsize, COUNT(*) AS n, AVG(s_ra) AS ra FROM ivoa.obscore "
        "GROUP BY s_ra, s_dec, s_region, t_min, calib_level, access_estsize"
    )
    for known in FORMATS:
        response = ask(archive, known.media_type, query)
        assert response.status_code == 200, response.text
    read = ask(archive, "json", query).json()
    assert read["status"] == {"value": "OK"}
    assert len(read["data"]) == 3


def test_an_overflow_is_told(archive: Archive) -> None:
    assert ask(archive, "json", MAXREC="3").json()["status"]["value"] == "OVERFLOW"
    header = fits.getheader(io.BytesIO(ask(archive, "fits", MAXREC="3").content), 1)
    assert (header["QSTATUS"], header["NAXIS2"]) == ("OVERFLOW", 3)


def test_an_error_is_a_votable_in_every_format(archive: Archive) -> None:
    response = ask(archive, "csv", "SELECT")
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/x-votable+xml"
    assert "Content-Disposition" not in response.headers


@pytest.fixture(scope="module")
def failing() -> Iterator[str]:
    """A server whose result fails after its first rows; its address."""

    async def source() -> AsyncIterator[pa.RecordBatch]:
        yield pa.record_batch({"n": range(100)})
        raise TransientError("PostgreSQL went away")

    async def answer(request: Request) -> Response:
        rows = Rows((field("n", "int"),), source())
        written, media_type = output_format(request.query_params["format"])
        return TableResponse(rows, written.write(rows, []), media_type)

    app = Compressed(Starlette(routes=[Route("/", answer)]))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("name", ["csv", "tsv"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_late_failure_without_a_place_to_tell_it_cuts_the_connection(
    failing: str, name: str, coding: str
) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        httpx.get(failing, params={"format": name}, headers={"Accept-Encoding": coding})


def test_a_late_failure_is_told_where_it_can_be(failing: str) -> None:
    response = httpx.get(failing, params={"format": "json"})
    assert response.json()["status"]["value"] == "ERROR"
    assert len(response.json()["data"]) == 100
