"""What is read of a cube of 27.6 GB (sparse): the bytes wanted, and little else."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.soda.support import cutout, read_all
from vo_service.web.files import OpenFile

SHAPE = (5000, 1280, 2160)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TriCCS cube; a few of its pixels are not zero."""
    header = fits.Header()
    header.update(
        SIMPLE=True, BITPIX=16, NAXIS=3, NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], NAXIS3=SHAPE[0],
        BZERO=32768.0, BSCALE=1.0, CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=325.678446,
        CRVAL2=43.586074, CRPIX1=1080.5, CRPIX2=640.5, CD1_1=-0.35 / 3600, CD2_2=0.35 / 3600,
        CTYPE3="TIME", CUNIT3="s", CRPIX3=0.5, CRVAL3=0.0, CD3_3=0.5, MJDREF=59527.5,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("cube") / "cube.fits"
    head = header.tostring().encode()
    with path.open("wb") as file:
        file.write(head)
        size = len(head) + 2 * int(np.prod(SHAPE))
        file.truncate(-(-size // 2880) * 2880)
        for frame, y, x in ((3000, 640, 1080), (3000, 512, 952), (4999, 1279, 2159)):
            file.seek(len(head) + 2 * ((frame * SHAPE[1] + y) * SHAPE[2] + x))
            file.write(b"\x12\x34")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each read of a file, from its opening on."""
    counts: list[int] = []
    original = os.pread

    def counted(descriptor: int, count: int, position: int) -> bytes:
        part = original(descriptor, count, position)
        counts.append(len(part))
        return part

    monkeypatch.setattr(os, "pread", counted)
    assert OpenFile.read_now is not None  # it reads by os.pread
    return counts


def test_256_by_256_pixels_of_one_frame_take_less_than_two_megabytes(
    cube: Path, reads: list[int]
) -> None:
    assert cube.stat().st_size > 27e9
    made = cutout(cube, CIRCLE="325.678446 43.586074 0.012444", TIME="59527.51736112 59527.517366")
    assert made is not None
    content = read_all(made)
    assert 2 * 256 * 256 < sum(reads) < 2_000_000
    image = fits.HDUList.fromstring(content)[0]
    assert image.data.shape == (1, 256, 256)
    places = np.argwhere(image.data != 32768)
    assert places.tolist() == [[0, 0, 0], [0, 128, 128]]
    assert image.header["CRPIX1"] == 1080.5 - 952


@pytest.mark.parametrize("frames", [10, 100, 1000])
def test_many_frames_of_64_by_64_pixels_read_what_they_give(
    cube: Path, reads: list[int], frames: int
) -> None:
    made = cutout(cube, PIXEL=f"[1000:1063,600:663,4001:{4000 + frames}]")
    assert made is not None
    content = read_all(made)
    wanted = frames * 64 * 64 * 2
    assert len(content) < wanted + 4 * 2880
    assert sum(reads) - wanted < 20_000  # headers, whose ends are looked for at ingest too


def test_the_memory_of_a_large_cutout_is_that_of_one_piece(cube: Path) -> None:
    made = cutout(cube, PIXEL="[1:2160,1:1280,2001:2100]")
    assert made is not None
    assert made.size > 500e6
    tracemalloc.start()
    position = 0
    while position < made.size:
        position += len(made.read_now(position, 1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    made.close()
    assert peak < 8_000_000
