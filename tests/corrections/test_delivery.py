"""Corrected files and lists over HTTP: the served archive, and clients as they are."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table

from tests.corrections.conftest import SPARSE_BLOCKS, Corrigible
from tests.corrections.support import opened
from tests.web.conftest import free_port, serving
from vo_service.services.corrections import import_corrections

SPARSE = 2880 * (1 + SPARSE_BLOCKS)


@pytest.fixture(scope="module")
def client(corrigible: Corrigible) -> Iterator[httpx.Client]:
    table = corrigible.table(
        "web.csv",
        "CAMA00000001,CAMA00000002,,OBJECT,M31,M33,string,",
        "CAMA00000010,,SCI,GAIN,1,2.5,float,",
        "CAMA00000010,,0,EXPTIME,30,31,float,new comment",
        "CAMA00000011,CAMA00000012,,T_SEEING,0,1.25,float,",
        f"CAMA00000013,,,OBJECT,M31,{'x' * 900},string,",
    )
    import_corrections(corrigible.settings, table, collection="mycam")
    closed = corrigible.table("closed.csv", "CAMA00000001,,,OBJECT,secret,hidden,string,")
    import_corrections(corrigible.settings, closed, collection="closed")
    settings = corrigible.settings.model_copy(update={"port": free_port()})
    with (
        serving(settings),
        httpx.Client(base_url=f"http://localhost:{settings.port}", timeout=30) as made,
    ):
        yield made


def get(client: httpx.Client, name: str, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.get(f"/data/mycam/{name}?header=corrected", headers=named)


def saved(answer: httpx.Response, path: Path) -> Path:
    path.write_bytes(answer.content)
    return path


def test_a_corrected_file_is_valid_and_has_its_data(
    client: httpx.Client, corrigible: Corrigible, tmp_path: Path
) -> None:
    answer = get(client, "a1.fits")
    original = (corrigible.files / "mycam" / "a1.fits").read_bytes()
    assert (answer.status_code, len(answer.content)) == (200, len(original))
    assert answer.headers["content-disposition"] == 'attachment; filename="a1.fits"'
    assert answer.headers["content-type"] == "image/fits"
    with opened(saved(answer, tmp_path / "a1.fits")) as hdus:
        assert hdus[0].header["OBJECT"] == "M33"
        assert hdus[0].header.comments["OBJECT"] == "object of the frame"
    assert answer.content[2880:] == original[2880:]
    assert client.get("/data/mycam/a1.fits").content == original
    assert client.get("/data/mycam/a1.fits?header=original").content == original


def test_several_hdus_and_compressed_images_are_corrected(
    client: httpx.Client, tmp_path: Path
) -> None:
    with opened(saved(get(client, "mef.fits"), tmp_path / "mef.fits")) as hdus:
        assert [hdu.header.get("GAIN") for hdu in hdus] == [None, 2.5, 1.0]
        assert hdus[0].header["EXPTIME"] == 31.0
        assert hdus[0].header.comments["EXPTIME"] == "new comment"
    path = saved(get(client, "tiled.fits"), tmp_path / "tiled.fits")
    with opened(path):
        pass
    with fits.open(path) as hdus:
        assert hdus[1].header["T_SEEING"] == 1.25
        assert np.array_equal(hdus[1].data, np.arange(60000, dtype=np.int16).reshape(200, 300))


def test_the_tag_is_its_own_and_that_of_these_corrections(client: httpx.Client) -> None:
    plain, corrected = client.get("/data/mycam/a1.fits"), get(client, "a1.fits")
    assert corrected.headers["etag"].startswith(plain.headers["etag"][:-1] + "-")
    assert get(client, "a1.fits", If_None_Match=corrected.headers["etag"]).status_code == 304
    assert get(client, "a1.fits", If_None_Match=plain.headers["etag"]).status_code == 200
    # A part of the file as it was does not fit to the corrected one.
    part = get(client, "a1.fits", Range="bytes=0-9", If_Range=plain.headers["etag"])
    assert part.status_code == 200
    part = get(client, "a1.fits", Range="bytes=0-9", If_Range=corrected.headers["etag"])
    assert (part.status_code, part.content) == (206, b"SIMPLE  = ")
    # No correction is meant for it: the file as it is.
    assert (
        get(client, "a3.fits").headers["etag"] == client.get("/data/mycam/a3.fits").headers["etag"]
    )


def test_head_tells_the_same(client: httpx.Client) -> None:
    head = client.head("/data/mycam/mef.fits?header=corrected")
    whole = get(client, "mef.fits")
    for answer in (head, whole):
        del answer.headers["date"], answer.headers["x-request-id"]
    assert head.headers == whole.headers
    assert head.content == b""


def test_every_part_is_that_part_of_the_whole(client: httpx.Client) -> None:
    whole = get(client, "mef.fits").content
    seams = [0, 1, 2879, 2880, 2881, 5759, 5760, 8640, len(whole) - 1]
    for first in seams:
        for last in (first, first + 1, first + 2881, len(whole) - 1, len(whole) + 5):
            part = get(client, "mef.fits", Range=f"bytes={first}-{last}")
            assert part.content == whole[first : last + 1], (first, last)
    answer = get(client, "mef.fits", Range="bytes=2870-2890,-5,0-9")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    parts = [part.get_payload(decode=True) for part in message.walk() if isinstance(part, Message)]
    assert parts[1:] == [whole[2870:2891], whole[-5:], whole[:10]]
    beyond = get(client, "mef.fits", Range=f"bytes={len(whole)}-")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"


def test_curl_resumes_over_the_seam(client: httpx.Client, tmp_path: Path) -> None:
    whole = get(client, "mef.fits").content
    for cut in (1000, 2880, 5000):
        part = tmp_path / f"{cut}.fits"
        part.write_bytes(whole[:cut])
        url = str(client.base_url.join("/data/mycam/mef.fits?header=corrected"))
        subprocess.run(["curl", "-sf", "-C", "-", "-o", part, url], check=True, timeout=60)
        assert part.read_bytes() == whole


def test_a_cube_of_30_gb_begins_at_once_and_resumes(client: httpx.Client) -> None:
    head = client.head("/data/mycam/sparse.fits?header=corrected")
    # 900 characters take 14 records, 13 more than before; with END, 26 of a block's 36.
    assert head.headers["content-length"] == str(SPARSE)
    with client.stream("GET", "/data/mycam/sparse.fits?header=corrected") as answer:
        first = next(answer.iter_raw())
    header = fits.Header.fromstring(first[:2880])
    assert header["OBJECT"] == "x" * 900
    digest = hashlib.sha256(first[:2880])
    for start in (2880, SPARSE // 2, SPARSE - 2880):
        part = get(client, "sparse.fits", Range=f"bytes={start}-{start + 2879}")
        assert part.headers["content-range"] == f"bytes {start}-{start + 2879}/{SPARSE}"
        digest.update(part.content)
    end = b"the last block".ljust(2880, b".")
    assert digest.digest() == hashlib.sha256(first[:2880] + bytes(5760) + end).digest()


def test_a_file_compressed_as_a_whole_says_what_to_do(client: httpx.Client) -> None:
    answer = get(client, "packed.fits.gz")
    assert answer.status_code == 400
    assert "compressed as a whole (gzip)" in answer.text
    assert "take the list and a program from /corrections/" in answer.text
    assert client.get("/data/mycam/packed.fits.gz").status_code == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("header=new", "header='new': expected original or corrected"),
        ("header=", "header='': expected original or corrected"),
        ("header=corrected&HEADER=original", "header may be given once"),
    ],
)
def test_what_header_may_say(client: httpx.Client, query: str, said: str) -> None:
    answer = client.get(f"/data/mycam/a1.fits?{query}")
    assert (answer.status_code, answer.text) == (400, said + "\n")


def test_lists_come_in_every_format(client: httpx.Client) -> None:
    answer = client.get("/corrections/mycam")
    table = parse_single_table(io.BytesIO(answer.content)).to_table()
    assert list(table["keyword"]) == ["OBJECT", "GAIN", "EXPTIME", "T_SEEING", "OBJECT"]
    answer = client.get("/corrections/mycam?RESPONSEFORMAT=csv&FRAME=CAMA00000011")
    assert answer.headers["content-type"] == "text/csv;header=present"
    assert answer.text.splitlines() == [
        "start_frame,end_frame,hdu,keyword,current,updated,datatype,comment,reference",
        '"CAMA00000011","CAMA00000012","","T_SEEING","0.0","1.25","float","",""',
    ]
    rows = client.get(
        "/corrections/mycam?RESPONSEFORMAT=json&PATH=a1.fits&ID=ivo://vo-service.example/mycam?mef.fits"
    ).json()["data"]
    assert [row[3] for row in rows] == ["OBJECT", "GAIN", "EXPTIME"]
    for query in ("mycam?FRAME=a3.fits", "nothing", "mycam?FRAME=%27%22--", "mycam?PATH=../x"):
        answer = client.get(f"/corrections/{query}{'&' if '?' in query else '?'}RESPONSEFORMAT=csv")
        assert answer.text.count("\n") == 1, query


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/corrections/mycam?RESPONSEFORMAT=docx", 400),
        ("/corrections/mycam?RESPONSEFORMAT=csv&RESPONSEFORMAT=csv", 400),
        ("/corrections/mycam?FRAME=%00", 404),
        ("/corrections/other.py", 200),
        ("/corrections/a/b", 404),
        ("/corrections/", 200),
    ],
)
def test_what_is_wrong_is_answered_in_words(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_what_is_closed_is_not_told(client: httpx.Client) -> None:
    """Neither by the list nor by a corrected file, of which the first byte is enough."""
    for query in ("", "?FRAME=CAMA00000001", "?PATH=a1.fits"):
        answer = client.get(f"/corrections/closed{query}")
        assert answer.status_code == 200
        assert "secret" not in answer.text
        assert "hidden" not in answer.text
    known = client.get("/data/closed/a1.fits?header=corrected")
    absent = client.get("/data/closed/absent.fits?header=corrected")
    assert known.status_code == absent.status_code == 404
    assert known.text == absent.text.replace("absent.fits", "a1.fits")


def test_the_programs_are_those_of_the_package(client: httpx.Client) -> None:
    programs = Path(__file__).parents[2] / "vo_service" / "programs"
    for name in ("apply_corrections.py", "apply_corrections.c"):
        answer = client.get(f"/corrections/{name}")
        assert answer.content == (programs / name).read_bytes()
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_the_served_program_with_the_served_list_makes_the_corrected_file(
    client: httpx.Client, tmp_path: Path
) -> None:
    program = saved(client.get("/corrections/apply_corrections.py"), tmp_path / "apply.py")
    listed = saved(client.get("/corrections/mycam?RESPONSEFORMAT=csv"), tmp_path / "list.csv")
    names = ("a1.fits", "mef.fits", "tiled.fits")
    files = [saved(client.get(f"/data/mycam/{name}"), tmp_path / name) for name in names]
    subprocess.run([sys.executable, program, listed, *files], check=True, timeout=60)
    for path in files:
        assert path.read_bytes() == get(client, path.name).content


def test_fitsverify_finds_nothing_wrong(client: httpx.Client, tmp_path: Path) -> None:
    try:
        subprocess.run(["fitsverify", "-h"], capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("fitsverify is not installed (script/test does)")
    for name in ("a1.fits", "mef.fits", "tiled.fits"):
        path = saved(get(client, name), tmp_path / name)
        done = subprocess.run(
            ["fitsverify", "-q", path], check=False, capture_output=True, text=True, timeout=60
        )
        assert "verification OK" in done.stdout, done.stdout


def test_a_new_correction_is_seen_by_who_asks_next(
    client: httpx.Client, corrigible: Corrigible
) -> None:
    before = get(client, "a2.fits")
    later = before.headers["last-modified"]
    table = corrigible.table("later.csv", "CAMA00000002,,,EXPTIME,30,60,float,")
    import_corrections(corrigible.settings, table, collection="mycam")
    after = get(client, "a2.fits", If_None_Match=before.headers["etag"])
    assert after.status_code == 200
    assert b"EXPTIME =                 60.0" in after.content
    assert after.headers["last-modified"] >= later
    part = get(client, "a2.fits", Range="bytes=5-", If_Range=before.headers["etag"])
    assert part.status_code == 200
