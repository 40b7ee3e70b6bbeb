"""Cutouts of a served archive of frames that were drawn: packed, corrected, changed, damaged."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table

from tests.previews.frames import make_archive, take_in, wcs_cards, write
from tests.web.conftest import free_port, serving
from vo_service.services.corrections import import_corrections
from vo_service.settings import Settings

DATA = np.arange(60 * 80, dtype=np.int16).reshape(60, 80)
NAMES = ("plain.fits", "packed.fits.gz", "large.fits.gz", "changed.fits", "short.fits.gz")


def did(settings: Settings, name: str) -> str:
    return f"ivo://{settings.authority}/drawn?{name}"


@pytest.fixture(scope="module")
def drawn(database_url: str, place: Path) -> Iterator[Settings]:
    """Frames of 80 x 60 pixels of 1 arcmin about (60, 20); *large* has 2 MB unpacked."""
    settings = make_archive(
        database_url, place / "cut", port=free_port(), previews=False, worker_in_serve=False
    )
    with (settings.home / "settings.toml").open("a") as file:
        file.write("\nunpack_limit = 1_000_000\npreviews = false\nworker_in_serve = false\n")
    store = settings.home / "store"
    for name in NAMES:
        data = np.zeros((1000, 1000), np.int16) if name.startswith("large") else DATA
        plain = name.removesuffix(".gz")
        write(settings, plain, data, wcs_cards(60.0, 20.0, data.shape, 1 / 60, QUALITY=0))
        if plain != name:
            (store / name).write_bytes(gzip.compress((store / plain).read_bytes()))
            (store / plain).unlink()
    take_in(settings)
    table = settings.home / "corrections.csv"
    table.write_text(
        "start_frame,end_frame,hdu,keyword,current,updated,datatype,comment\n"
        + "".join(f"{name},,,QUALITY,0,3,int,looked at again\n" for name in NAMES[:2])
        + "plain.fits,,,CRVAL1,60,61,float,\n"
    )
    import_corrections(settings, table, collection="drawn")
    with (store / "changed.fits").open("ab") as file:
        file.write(bytes(2880))
    # The same size and time, other bytes.
    path = store / "short.fits.gz"
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content[:200] + bytes(len(content) - 200))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with serving(settings):
        yield settings


def cut(settings: Settings, name: str, **asked: str) -> httpx.Response:
    pairs = {"ID": did(settings, name), **asked}
    return httpx.get(f"{settings.root_url}/soda/sync", params=pairs, timeout=30)


def image(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    (hdu,) = fits.open(io.BytesIO(answer.content))
    hdu.verify("exception")
    return hdu


def test_a_packed_file_gives_the_cutout_of_the_plain_one(drawn: Settings) -> None:
    for asked in ({"PIXEL": "[11:30,21:25]"}, {"CIRCLE": "60 20 0.1"}):
        packed, plain = (
            image(cut(drawn, name, **asked)) for name in ("packed.fits.gz", "plain.fits")
        )
        np.testing.assert_array_equal(packed.data, plain.data)
        assert packed.header["CRPIX1"] == plain.header["CRPIX1"]
    np.testing.assert_array_equal(
        image(cut(drawn, "packed.fits.gz", PIXEL="[11:30,21:25]")).data, DATA[20:25, 10:30]
    )
    picture = cut(drawn, "packed.fits.gz", RESPONSEFORMAT="png")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")


def test_a_packed_file_can_be_fetched_in_parts(drawn: Settings) -> None:
    whole = cut(drawn, "packed.fits.gz", PIXEL="[11:30,*]")
    address, headers = (
        whole.request.url,
        {"Range": "bytes=2900-2999", "If-Range": whole.headers["etag"]},
    )
    part = httpx.get(address, headers=headers)
    assert (part.status_code, part.content) == (206, whole.content[2900:3000])


def test_datalink_offers_cutouts_of_packed_files_too(drawn: Settings) -> None:
    answer = httpx.get(
        f"{drawn.root_url}/datalink/links", params={"ID": did(drawn, "packed.fits.gz")}
    )
    assert b"#cutout" in answer.content
    assert b'name="HEADER"' in answer.content


def test_a_packed_file_over_the_limit_is_refused_before_it_is_unpacked(drawn: Settings) -> None:
    answer = cut(drawn, "large.fits.gz", PIXEL="[1:2,1:2]")
    assert answer.status_code == 413
    assert answer.text.startswith("UsageError: ")
    assert "has 2004480 bytes when unpacked: expected at most 1000000" in answer.text


def test_a_cutout_can_have_the_corrected_header_and_its_wcs(drawn: Settings) -> None:
    asked = {"PIXEL": "[11:30,21:25]"}
    before = image(cut(drawn, "plain.fits", **asked))
    after = image(cut(drawn, "plain.fits", **asked, header="corrected"))
    np.testing.assert_array_equal(after.data, before.data)
    assert (before.header["QUALITY"], before.header["CRVAL1"]) == (0, 60.0)
    assert (after.header["QUALITY"], after.header["CRVAL1"]) == (3, 61.0)
    assert after.header.comments["QUALITY"] == "looked at again"
    assert "corrections of the archive" in str(after.header["HISTORY"])
    # What lies at a place is that of the corrected WCS.
    at = {"CIRCLE": "61 20 0.05"}
    assert cut(drawn, "plain.fits", **at).status_code == 204
    assert image(cut(drawn, "plain.fits", **at, HEADER="corrected")).header["LTV1"] < -30


def test_corrected_and_original_cutouts_are_not_taken_for_each_other(drawn: Settings) -> None:
    tags = [
        cut(drawn, "plain.fits", PIXEL="[1:9,1:9]", HEADER=header).headers["etag"]
        for header in ("original", "corrected", "corrected")
    ]
    assert tags[0] != tags[1] == tags[2]


def test_a_packed_file_is_corrected_as_well(drawn: Settings) -> None:
    made = image(cut(drawn, "packed.fits.gz", PIXEL="[1:9,1:9]", HEADER="corrected"))
    assert made.header["QUALITY"] == 3


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("changed.fits", 503, "ServiceUnavailable: changed.fits: is not now the file"),
        ("short.fits.gz", 400, "UsageError: short.fits.gz: its gzip stream is damaged"),
        ("none.fits", 404, "UsageError: ID: nothing here has the identifier"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_told(
    drawn: Settings, name: str, status: int, said: str
) -> None:
    answer = cut(drawn, name, PIXEL="[1:9,1:9]")
    assert answer.status_code == status
    assert answer.text.startswith(said)
    assert answer.headers["content-type"].startswith("text/plain")


def test_links_of_packed_files_lead_to_a_table(drawn: Settings) -> None:
    answer = httpx.get(
        f"{drawn.root_url}/datalink/links", params={"ID": [did(drawn, name) for name in NAMES]}
    )
    rows = parse_single_table(io.BytesIO(answer.content)).to_table()
    assert list(rows["semantics"]).count("#cutout") == len(NAMES)
