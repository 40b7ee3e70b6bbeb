"""Related files, headers and packages of the served demonstration archive, by real clients."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import warnings
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np
import psycopg
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from tests.support import validate
from tests.web.conftest import Archive
from tests.web.test_datalink import findings, links, rows_of, statuses

EXPOSURE = "TMQ00357754"


@pytest.fixture(scope="module")
def chip(archive: Archive) -> str:
    """One chip of the exposure of 84."""
    with psycopg.connect(archive.settings.database_url or "") as connection:
        [(did,)] = connection.execute(
            "SELECT min(did) FROM archive.product WHERE exposure = %s AND path LIKE '%%/s%%'",
            [EXPOSURE],
        ).fetchall()
    return str(did)


def test_an_exposure_is_its_84_chips_and_6_movies_one_by_one_and_as_a_tar(
    archive: Archive, chip: str
) -> None:
    found = pyvo.dal.adhoc.DatalinkResults.from_result_url(
        f"{archive.url}/datalink/links?ID={chip}"
    )
    [this] = found.bysemantics("#this", include_narrower=False)
    siblings = list(found.bysemantics("#coderived", include_narrower=False))
    files = {this["access_url"], *(row["access_url"] for row in siblings)}
    names = [url.rpartition("/")[2] for url in files]
    assert (sum(n[0] == "s" for n in names), sum(n[0] == "n" for n in names)) == (84, 6)
    assert {row["content_qualifier"] for row in siblings} == {"#image", "#cube"}
    [package] = found.bysemantics("#package", include_narrower=False)
    answer = httpx.get(package["access_url"], timeout=60)
    assert answer.headers["Content-Type"] == package["content_type"]
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        packed = {name.rpartition("/")[2] for name in tar.getnames()}
    assert packed >= set(names)


def test_a_cutout_by_the_first_service_is_that_part_of_the_sky(archive: Archive) -> None:
    found = pyvo.dal.TAPService(f"{archive.url}/tap").search(
        "SELECT TOP 1 obs_publisher_did, s_ra, s_dec FROM ivoa.obscore "
        "WHERE obs_collection = 'tomoe' AND dataproduct_type = 'image' ORDER BY t_min"
    )
    circle = (found["s_ra"][0], found["s_dec"][0], 0.02)
    table = next(found.iter_datalinks())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyVO, about the units of parameters
        body = table.get_first_proc().process(circle=circle).read()
    with fits.open(io.BytesIO(body)) as file:
        image = next(hdu for hdu in file if hdu.data is not None)
        middle = WCS(image.header).pixel_to_world(*(np.array(image.data.shape[::-1]) - 1) / 2)
    assert middle.separation(SkyCoord(*circle[:2], unit="deg")).arcsec < 2 * 1.189


def test_headers_as_text_are_those_of_the_file(archive: Archive, chip: str) -> None:
    with httpx.Client(base_url=f"{archive.url}/datalink", timeout=60) as http:
        rows = {row["semantics"]: row for row in rows_of(links(http, chip))}
        text = http.get(rows["#detached-header"]["access_url"])
        assert text.headers["Content-Type"].startswith("text/plain")
        with fits.open(io.BytesIO(http.get(rows["#this"]["access_url"]).content),
                       disable_image_compression=True) as file:  # fmt: skip
            kept = [hdu.header for hdu in file]
    read = [fits.Header.fromtextfile(io.StringIO(part)) for part in text.text.split("\n\n")]
    assert len(read) == len(kept)
    for ours, theirs in zip(read, kept, strict=True):
        for keyword in theirs:
            if keyword not in ("", "COMMENT", "HISTORY"):
                assert ours[keyword] == theirs[keyword], keyword


def test_headers_of_what_is_closed_unknown_or_not_named_are_not_told(
    archive: Archive, chip: str
) -> None:
    with psycopg.connect(archive.settings.database_url or "") as connection:
        [(closed,)] = connection.execute(
            "SELECT min(did) FROM archive.product WHERE state = 'arrived'"
        ).fetchall()
    asked: list[tuple[list[tuple[str, str]], int, str]] = [
        ([("ID", str(closed))], 401, "DefaultFault: "),
        ([("ID", "ivo://no")], 404, "NotFoundFault: "),
        ([], 400, "UsageFault: ID is missing"),
        ([("ID", chip), ("id", chip)], 400, "UsageFault: ID is given more than once"),
        ([("ID", "a\0")], 400, "UsageFault: ID number 1 holds"),
    ]
    for query, status, fault in asked:
        answer = httpx.get(f"{archive.url}/datalink/header", params=urlencode(query))
        assert answer.status_code == status
        [(_, said)] = statuses(answer.content)
        assert said.startswith(fault)
        validate(answer.content)


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
@pytest.mark.parametrize("lint", ["datalinklint", "votlint"])
def test_stilts_finds_nothing_in_an_answer_about_the_exposure(
    archive: Archive, chip: str, lint: str, tmp_path: Path
) -> None:
    answer = httpx.get(f"{archive.url}/datalink/links", params={"ID": [chip, "ivo://no"]})
    validate(answer.content)
    file = tmp_path / "links.vot"
    file.write_bytes(answer.content)
    more = ["report=EWF", "maxrepeat=1000"] if lint == "datalinklint" else []
    done = subprocess.run(
        ("stilts", lint, *more, f"votable={file}"),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert findings(done.stdout) == []
    if lint == "votlint":
        assert (done.stdout, done.stderr) == ("", "")
