"""Jobs of SODA about lists of positions, and results in one file, of the served archive."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from lxml import etree

from tests.web.conftest import Archive
from tests.web.test_soda import CUBE, DEC, RA, UWS, original, sync

OTHER = CUBE.replace("231.fits", "232.fits")
ROWS = [("a", RA, DEC), ("b", RA + 0.01, DEC - 0.004), ("beside", 10.0, 10.0)]
STARS = "name,ra,dec\n" + "".join(f"{n},{ra!r},{dec!r}\n" for n, ra, dec in ROWS)


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{archive.url}/soda", timeout=60) as client:
        yield client


def run(http: httpx.Client, positions: bytes | None = None, **asked: Any) -> str:
    """The address of a job that has ended."""
    fields = {"PHASE": "RUN", **asked}
    if positions is None:
        made = http.post("/async", data=fields)
    else:
        files = {"p": ("stars.csv", positions)}
        made = http.post("/async", data={"UPLOAD": "stars,param:p", **fields}, files=files)
    assert made.status_code == 303, made.text
    job = str(made.headers["Location"])
    deadline = time.monotonic() + 60
    while http.get(f"{job}/phase").text in ("PENDING", "QUEUED", "EXECUTING"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return job


def results(http: httpx.Client, job: str) -> list[tuple[str | None, str | None]]:
    assert http.get(f"{job}/phase").text == "COMPLETED", http.get(f"{job}/error").text
    root = etree.fromstring(http.get(f"{job}/results").content)
    return [(r.get("id"), r.get("mime-type")) for r in root.findall("uws:result", UWS)]


def circle(number: int, radius: float = 10 / 3600) -> str:
    return f"{ROWS[number][1]!r} {ROWS[number][2]!r} {radius!r}"


def test_each_row_of_a_list_has_a_result_as_if_it_were_asked_for_alone(http: httpx.Client) -> None:
    job = run(http, STARS.encode(), ID=CUBE)
    assert results(http, job) == [
        ("cutout-1", "application/fits"), ("cutout-2", "application/fits"),
        ("cutout-3", "text/plain"),
    ]  # fmt: skip
    for number in (0, 1):
        stamp = http.get(f"{job}/results/cutout-{number + 1}").content
        alone = sync(http, CIRCLE=circle(number)).content
        ours, theirs = (fits.open(io.BytesIO(content)) for content in (stamp, alone))
        np.testing.assert_array_equal(ours[-1].data, theirs[-1].data)
        assert f"row {number + 1} ({ROWS[number][0]})" in str(ours[-1].header["HISTORY"])


def test_a_list_comes_as_votable_with_radii_and_gives_one_file(
    archive: Archive, http: httpx.Client
) -> None:
    table = Table(rows=[(*row, 0.002) for row in ROWS], names=["id", "ra", "dec", "radius"])
    content = io.BytesIO()
    table.write(content, format="votable")
    job = run(http, content.getvalue(), ID=[CUBE, OTHER], RESPONSEFORMAT="mef")
    assert results(http, job) == [("result", "application/fits")]
    hdus = fits.open(io.BytesIO(http.get(f"{job}/results/result").content))
    hdus.verify("exception")
    assert hdus[0].data is None
    assert [hdu.header["CUTOUT"] for hdu in hdus[1:]] == [1, 2, 4, 5]
    alone = fits.open(io.BytesIO(sync(http, CIRCLE=circle(1, 0.002)).content))
    np.testing.assert_array_equal(hdus[2].data, alone[-1].data)


def test_stamps_along_the_time_axis_hold_every_frame_at_its_time(
    archive: Archive, http: httpx.Client
) -> None:
    job = run(http, STARS.encode(), ID=CUBE, RADIUS="0.0005", RESPONSEFORMAT="tar")
    whole = original(archive)
    with tarfile.open(fileobj=io.BytesIO(http.get(f"{job}/results/result").content)) as stamps:
        members = stamps.getmembers()
        assert [member.name[:13] for member in members] == ["cutouts/00001", "cutouts/00002"]
        for member in members:
            file = stamps.extractfile(member)
            assert file is not None
            hdus = fits.open(io.BytesIO(file.read()), do_not_scale_image_data=True)
            stamp = next(hdu for hdu in hdus if hdu.data is not None)
            x, y = (int(-stamp.header[f"LTV{axis}"]) for axis in (1, 2))
            frames, height, width = stamp.data.shape
            assert frames == whole.data.shape[0]
            np.testing.assert_array_equal(stamp.data, whole.data[:, y : y + height, x : x + width])
            for keyword in ("CTYPE3", "CRVAL3", "CRPIX3", "CDELT3"):
                assert stamp.header.get(keyword) == whole.header.get(keyword)


def test_one_file_of_nothing_is_a_text_that_says_so(http: httpx.Client) -> None:
    job = run(http, b"ra,dec\n10,10\n", ID=[CUBE, OTHER], RESPONSEFORMAT="mef")
    assert results(http, job) == [("result", "text/plain")]
    assert "no pixels" in http.get(f"{job}/results/result").text


def test_circles_of_one_dataset_go_into_one_file_as_by_sync(http: httpx.Client) -> None:
    circles = [circle(0), circle(2), circle(1)]
    job = run(http, ID=CUBE, CIRCLE=circles, RESPONSEFORMAT="mef")
    by_sync = http.post("/sync", data={"ID": CUBE, "CIRCLE": circles, "RESPONSEFORMAT": "mef"})
    assert http.get(f"{job}/results/result").content == by_sync.content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"x,y\n1,2\n", "no columns of positions"),
        (b"ra,dec\n", "upload stars: has no rows"),
        (b"ra,dec\n1,2\n1,99\n", "row 2, dec: 99"),
        (b"ra,dec\n" + b"1,2\n" * 1001, "upload stars: has more than 1000 rows"),
        (b"ra,dec\n" + b"1,2\n" * 600, "1200 cutouts: expected at most 1000"),
        (b"<VOTABLE><x>", "upload stars"),
        (b"\x1f\x8b\x08\x00broken", "upload stars"),
    ],
)
def test_a_list_that_cannot_be_used_fails_the_job_with_the_reason(
    http: httpx.Client, content: bytes, said: str
) -> None:
    job = run(http, content, ID=[CUBE, OTHER])
    assert http.get(f"{job}/phase").text == "ERROR"
    assert said in http.get(f"{job}/error").text


def test_a_list_without_its_part_and_one_for_sync_are_refused(http: httpx.Client) -> None:
    job = run(http, ID=CUBE, UPLOAD="stars,param:absent")
    assert "the request has no part 'absent'" in http.get(f"{job}/error").text
    answer = http.post("/sync", data={"ID": CUBE, "UPLOAD": "stars,param:p"},
                       files={"p": ("stars.csv", STARS)})  # fmt: skip
    assert answer.status_code == 400
    assert answer.text.startswith("UsageError: UPLOAD: a list of positions is cut by a job")


def test_a_list_is_not_fetched_from_inside_the_network(
    archive: Archive, http: httpx.Client
) -> None:
    job = run(http, ID=CUBE, UPLOAD=f"stars,{archive.url}/tap/availability")
    assert http.get(f"{job}/phase").text == "ERROR"
    assert "upload stars" in http.get(f"{job}/error").text
