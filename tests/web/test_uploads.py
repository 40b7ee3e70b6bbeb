"""Uploads through HTTP, with the clients that astronomers use."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
import pyvo
from astropy.io.votable import parse_single_table
from astropy.table import Table
from lxml import etree

from tests.support import validate
from tests.web.conftest import Archive


@pytest.fixture(scope="module")
def tap(archive: Archive) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(f"{archive.url}/tap")


@pytest.fixture(scope="module")
def stars() -> Table:
    """Near the Tomo-e frames of seed 003, and far from all frames."""
    return Table({"name": ["near", "far"], "ra": [149.38, 300.0], "dec": [69.65, -80.0]})


JOIN = (
    "SELECT u.name, COUNT(*) AS n FROM TAP_UPLOAD.stars AS u JOIN ivoa.obscore AS o "
    "ON 1 = INTERSECTS(CIRCLE(u.ra, u.dec, 15 / 3600.), o.s_region) GROUP BY u.name"
)


def cone(tap: pyvo.dal.TAPService) -> int:
    """The same question without an upload."""
    return int(
        tap.search(
            "SELECT COUNT(*) AS n FROM ivoa.obscore "
            "WHERE 1 = INTERSECTS(CIRCLE(149.38, 69.65, 15 / 3600.), s_region)"
        )["n"][0]
    )


def relations(archive: Archive) -> int:
    with psycopg.connect(archive.settings.database_url or "") as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'tap_upload'::regnamespace"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_pyvo_joins_an_upload_sync_and_async(
    archive: Archive, tap: pyvo.dal.TAPService, stars: Table
) -> None:
    expected = cone(tap)
    assert expected > 0
    for ask in (tap.search, tap.run_async):
        found = ask(JOIN, uploads={"stars": stars}).to_table()
        assert [tuple(row) for row in found] == [("near", expected)]
    assert relations(archive) == 0


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
@pytest.mark.parametrize("sync", ["true", "false"])
def test_stilts_uploads_a_table(
    archive: Archive, stars: Table, tap: pyvo.dal.TAPService, sync: str, tmp_path: Path
) -> None:
    file = tmp_path / "stars.fits"
    stars.write(file)
    done = subprocess.run(
        ("stilts", "tapquery", f"tapurl={archive.url}/tap", f"sync={sync}", "nupload=1",
         f"upload1={file}", "upname1=stars", f"adql={JOIN}", "ofmt=csv"),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["name,n", f"near,{cone(tap)}"]


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_taplint_finds_nothing_wrong_with_uploads(archive: Archive) -> None:
    done = subprocess.run(
        ("stilts", "taplint", f"tapurl={archive.url}/tap", "stages=UPL", "report=EWF"),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Totals: Errors: 0; Warnings: 0; Failures: 0" in done.stdout, done.stdout


def post(archive: Archive, upload: str, content: bytes | str, **more: str) -> httpx.Response:
    fields = {"LANG": "ADQL", "QUERY": "SELECT * FROM TAP_UPLOAD.t", "UPLOAD": upload, **more}
    files = {"p": ("name.x", content)} if isinstance(content, bytes) else {"p": (None, content)}
    return httpx.post(f"{archive.url}/tap/sync", data=fields, files=files, timeout=60)


def message(answer: httpx.Response) -> str:
    """What an error document says."""
    info = etree.fromstring(answer.content).find(".//{*}INFO[@name='QUERY_STATUS']")
    assert info is not None
    assert info.get("value") == "ERROR"
    return info.text or ""


def test_a_part_may_come_with_a_file_name_or_as_plain_field(archive: Archive) -> None:
    for content in (b"a,b\n1,x\n", "a,b\n1,x\n"):
        answer = post(archive, "t,param:p", content)
        assert answer.status_code == 200
        table = parse_single_table(io.BytesIO(answer.content)).to_table()
        assert [tuple(row) for row in table] == [(1, "x")]


def test_every_format_gives_the_same_rows(archive: Archive, tmp_path: Path) -> None:
    table = Table({"i": np.arange(5), "x": np.linspace(0, 1, 5), "s": list("abcde")})
    table.write(tmp_path / "t.fits")
    table.write(tmp_path / "t.ecsv")
    table.write(tmp_path / "t.csv")
    table.write(tmp_path / "t.vot", format="votable")
    for name in ("t.fits", "t.ecsv", "t.csv", "t.vot"):
        answer = post(archive, "t,param:p", (tmp_path / name).read_bytes())
        found = parse_single_table(io.BytesIO(answer.content)).to_table()
        assert [tuple(row) for row in found] == [tuple(row) for row in table], name


@pytest.mark.parametrize(
    ("upload", "content", "status", "said"),
    [
        ("t,param:q", b"a\n1\n", 400, "no part 'q'"),
        ("t", b"a\n1\n", 400, "expected name,uri"),
        ("t,param:p", b"<VOTABLE>", 400, "upload t: the document is not well-formed"),
        ("t,param:p", b"\0\0\0", 400, "upload t: the format of the file is not known"),
        ("u,param:p", b"a\n1\n", 400, "no table TAP_UPLOAD.t"),
        ("t,http://127.0.0.1/", b"", 400, "expected a public one"),
        ("t,param:p", b"a\n" + b"1\n" * 1_000_001, 413, "more than 1000000 rows"),
    ],
)
def test_what_is_wrong_is_told_in_a_votable(
    archive: Archive, upload: str, content: bytes, status: int, said: str
) -> None:
    answer = post(archive, upload, content)
    assert (answer.status_code, said in message(answer)) == (status, True), message(answer)
    assert relations(archive) == 0


def test_a_body_that_is_too_large_is_refused_while_it_arrives(archive: Archive) -> None:
    piece = b"x" * 1_000_000

    def body() -> object:
        yield b"--b\r\nContent-Disposition: form-data; name=p; filename=f\r\n\r\n"
        for _ in range(300):
            yield piece

    try:
        answer = httpx.post(
            f"{archive.url}/tap/sync", content=body(),  # type: ignore[arg-type]  # a stream
            headers={"Content-Type": "multipart/form-data; boundary=b"}, timeout=60,
        )  # fmt: skip
    except httpx.WriteError:
        return  # the server closed the connection before all was sent
    assert answer.status_code == 413


def test_a_broken_form_is_told(archive: Archive) -> None:
    answer = httpx.post(
        f"{archive.url}/tap/sync", content=b"--b\r\nnonsense\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )  # fmt: skip
    assert answer.status_code == 400
    assert message(answer)


def test_capabilities_tell_the_methods_and_the_limit(archive: Archive) -> None:
    document = httpx.get(f"{archive.url}/tap/capabilities").content
    validate(document)
    root = etree.fromstring(document)
    methods = {e.get("ivo-id", "").rpartition("#")[2] for e in root.iter("uploadMethod")}
    assert methods == {"upload-inline", "upload-http", "upload-https"}
    (limit,) = root.iter("uploadLimit")
    assert [(e.tag, e.get("unit"), e.text) for e in limit] == [
        ("default", "row", "1000000"),
        ("hard", "row", "1000000"),
    ]
