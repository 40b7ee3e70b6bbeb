"""Files with corrected headers in an archive: right bytes, right size, never a mixture."""

from __future__ import annotations

import csv
import io
import os
import tarfile

import httpx
import numpy as np
import psycopg
import pytest
from astropy.io import fits

from tests.bundles.archive import Frame, add_frame
from tests.bundles.conftest import Served
from tests.bundles.test_requests import ask
from vo_service.db.corrections import CorrectionStore
from vo_service.model.correction import Correction, FrameRange

_PLAIN, _WRONG = "corrected/right.fits", "corrected/wrong.fits"


def _frame_bytes() -> bytes:
    hdu = fits.PrimaryHDU(np.arange(5000, dtype=np.int32))
    hdu.header["OBJECT"] = "M31"
    # Full to the last card but END: a longer value makes the header a block longer.
    for number in range(200):
        if (len(hdu.header) + 1) % 36 == 0:
            break
        hdu.header[f"K{number}"] = number
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


def correct(served: Served, current: str, updated: str) -> None:
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        wrong = Correction(
            frames=FrameRange(start=_WRONG, end=_WRONG, digits=0), keyword="OBJECT",
            current=current, updated=updated, datatype="string",
        )  # fmt: skip
        CorrectionStore(connection).add("odd", [wrong], source="test", actor="test")


@pytest.fixture(scope="module")
def frames(served: Served) -> list[Frame]:
    content = _frame_bytes()
    made = [
        Frame(20_000 + n, "odd", path, len(content), 1_500_000_000, md5="0" * 32)
        for n, path in enumerate((_PLAIN, _WRONG))
    ]
    root = served.settings.home / "storage"
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        for frame in made:
            add_frame(connection, served.settings, frame, root)
            (root / frame.name).write_bytes(content)
            os.utime(root / frame.name, (frame.mtime, frame.mtime))
    correct(served, "M31", "a name that is much longer " * 3)
    return made


def test_headers_are_corrected_and_data_are_not(http: httpx.Client, frames: list[Frame]) -> None:
    job = ask(http, ID=[frame.did for frame in frames], HEADER="corrected")
    answer = http.get(f"{job.url}/results/tar")
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        found = {name.partition("/odd/")[2]: tar.extractfile(name) for name in tar.getnames()}
        plain, wrong = found[_PLAIN], found[_WRONG]
        assert plain is not None
        assert wrong is not None
        assert plain.read() == _frame_bytes()
        content = wrong.read()
    assert content == http.get(f"../data/odd/{_WRONG}", params={"header": "corrected"}).content
    with fits.open(io.BytesIO(content)) as hdus:
        assert hdus[0].header["OBJECT"].startswith("a name that is much longer")
        np.testing.assert_array_equal(hdus[0].data, np.arange(5000))
    part = http.get(f"{job.url}/results/tar", headers={"Range": "bytes=2000-40000"})
    assert part.content == answer.content[2000:40001]
    rows = csv.DictReader(io.StringIO(http.get(f"{job.url}/results/manifest").text, newline=""))
    kept = {row["path"]: (row["size"], row["md5"], row["access_url"][-16:]) for row in rows}
    size = str(len(_frame_bytes()))
    assert kept[f"odd/{_PLAIN}"] == (size, "0" * 32, "rrected/right.fits"[-16:])
    assert kept[f"odd/{_WRONG}"] == (str(len(content)), "", "header=corrected")


def test_another_correction_ends_the_archive_that_was_promised(
    http: httpx.Client, served: Served, frames: list[Frame]
) -> None:
    job = ask(http, ID=[frame.did for frame in frames], HEADER="corrected")
    correct(served, ("a name that is much longer " * 3).rstrip(), "M33")
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"{job.url}/results/tar")
    again = ask(http, ID=[frame.did for frame in frames], HEADER="corrected")
    with tarfile.open(fileobj=io.BytesIO(http.get(f"{again.url}/results/tar").content)) as tar:
        (name,) = [name for name in tar.getnames() if name.endswith(_WRONG)]
        content = tar.extractfile(name)
        assert content is not None
        with fits.open(io.BytesIO(content.read())) as hdus:
            assert hdus[0].header["OBJECT"] == "M33"
