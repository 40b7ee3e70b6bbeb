"""Pictures of files on disk: values, orientation, memory; no server, no database."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from tests.soda.support import opened
from vo_service.errors import UsageError, VOError
from vo_service.imaging.preview import preview_of, reduced, thumbnail_of
from vo_service.ingest.headers import read_headers
from vo_service.ingest.images import images_of


def reduced_file(path: Path, size: int) -> Any:
    source = opened(path)
    headers = read_headers(source.file.fileno())
    try:
        return reduced(source, headers, images_of(headers)[0], size)
    finally:
        source.close()


def picture(path: Path) -> Pillow.Image:
    source = opened(path)
    try:
        return preview_of(source, read_headers(source.file.fileno()))
    finally:
        source.close()


def by_brute_force(data: Any, size: int) -> Any:
    """Means of whole squares from the first pixel on, of what is not NaN."""
    ny, nx = data.shape
    factor = max(1, -(-max(ny, nx) // size))
    down, across = min(factor, ny), min(factor, nx)
    out = np.empty((ny // down, nx // across))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for j in range(out.shape[0]):
            for i in range(out.shape[1]):
                square = data[j * down : (j + 1) * down, i * across : (i + 1) * across]
                out[j, i] = np.nanmean(square)
    return out


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60), st.integers(2, 60), st.integers(4, 30), st.randoms(use_true_random=False)
)
def test_an_image_is_averaged_as_by_brute_force(
    tmp_path_factory: pytest.TempPathFactory, ny: int, nx: int, size: int, random: Any
) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    data = rng.normal(100.0, 5.0, (ny, nx)).astype(np.float32)
    data[rng.uniform(size=data.shape) < 0.1] = np.nan
    path = tmp_path_factory.mktemp("image") / "a.fits"
    fits.PrimaryHDU(data).writeto(path)
    np.testing.assert_allclose(reduced_file(path, size), by_brute_force(data, size), rtol=1e-5)


@pytest.mark.parametrize("compress", [False, True])
def test_scaled_integers_with_blanks_are_shown_as_physical_values(
    tmp_path: Path, compress: bool
) -> None:
    stored = np.arange(40 * 30, dtype=np.int16).reshape(40, 30)
    header = fits.Header({"BSCALE": 2.0, "BZERO": 100.0, "BLANK": 7})
    physical = stored * 2.0 + 100.0
    physical[stored == 7] = np.nan
    path = tmp_path / "a.fits"
    if compress:
        image = fits.CompImageHDU(stored, compression_type="RICE_1")
        image.header["BLANK"] = 7
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
        physical = stored.astype(float)
        physical[stored == 7] = np.nan
    else:
        hdu = fits.PrimaryHDU(stored)
        hdu.writeto(path)
        with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[0].header.update(header)
    np.testing.assert_allclose(reduced_file(path, 10), by_brute_force(physical, 10), rtol=1e-5)


def test_a_cube_is_shown_as_the_mean_of_five_frames_from_first_to_last(tmp_path: Path) -> None:
    data = np.zeros((9, 6, 8), dtype=np.float32)
    data[:] = (np.arange(9) ** 2)[:, None, None]
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    expected = (0 + 4 + 16 + 36 + 64) / 5
    np.testing.assert_allclose(reduced_file(tmp_path / "a.fits", 10), np.full((6, 8), expected))


def test_the_first_row_is_at_the_bottom_and_the_star_where_it_is(tmp_path: Path) -> None:
    data = np.zeros((300, 400), dtype=np.float32)
    data[20:24, 50:54] = 1000.0
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    shown = np.asarray(picture(tmp_path / "a.fits"))
    assert shown.shape == (300, 400)
    rows, columns = np.nonzero(shown > 200)
    assert (rows.min(), rows.max()) == (299 - 23, 299 - 20)
    assert (columns.min(), columns.max()) == (50, 53)


def test_sizes_of_preview_and_thumbnail(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=(1200, 2160))).writeto(tmp_path / "a.fits")
    large = picture(tmp_path / "a.fits")
    assert large.size == (720, 400)
    assert thumbnail_of(large).size == (128, 71)
    fits.PrimaryHDU(np.eye(64)).writeto(tmp_path / "b.fits")
    assert picture(tmp_path / "b.fits").size == (256, 256)


def test_a_spectrum_is_a_plot_whose_line_is_at_its_wavelength(tmp_path: Path) -> None:
    values = np.ones(5000, dtype=np.float32)
    values[3000] = 10.0
    header = fits.Header(
        {"CTYPE1": "WAVE", "CUNIT1": "m", "CRVAL1": 4e-7, "CRPIX1": 1.0, "CDELT1": 1e-10}
    )
    fits.PrimaryHDU(values, header).writeto(tmp_path / "a.fits")
    shown = np.asarray(picture(tmp_path / "a.fits"))
    assert shown.shape == (614, 1024)
    dark = (shown < 128).sum(axis=0)
    tall = np.flatnonzero(dark > 200)  # the sides of the frame, and the line between them
    inner = tall[(tall > tall[0] + 5) & (tall < tall[-1] - 5)]
    place = (inner.mean() - tall[0]) / (tall[-1] - tall[0])
    # The first and last pixel stand 1 % of the range inside of the frame.
    assert place == pytest.approx((3000 / 5000 + 0.01) / 1.02, abs=0.01)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "no image"),
        (np.full((10, 10), np.nan, dtype=np.float32), "blank"),
        (np.zeros(1, dtype=np.float32), "not two pixels"),
    ],
)
def test_what_cannot_be_shown_says_why(tmp_path: Path, data: Any, said: str) -> None:
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    with pytest.raises(UsageError, match=said):
        picture(tmp_path / "a.fits")


def test_a_truncated_file_is_an_error_not_a_picture(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((500, 500), dtype=np.float32)).writeto(tmp_path / "a.fits")
    os.truncate(tmp_path / "a.fits", 100_000)
    with pytest.raises((VOError, OSError)):
        picture(tmp_path / "a.fits")


_MEASURE = """
import resource, sys, time
from pathlib import Path
from tests.previews.test_pictures import picture
small, large = map(Path, sys.argv[1:])
picture(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.monotonic()
size = picture(large).size
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(size[0], size[1], grown // 1024, round(time.monotonic() - began, 2))
"""


@pytest.mark.parametrize("shape", [(5000, 1280, 2160), (86000, 90000)])
def test_memory_is_flat_for_30_gb(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Files with holes: 5000 frames of TriCCS, and one frame of 90 000 pixels a side."""
    small = tmp_path / "small.fits"
    fits.PrimaryHDU(np.eye(3000, dtype=np.int16)).writeto(small)
    large = tmp_path / "large.fits"
    header = fits.PrimaryHDU(np.zeros((1,) * len(shape), dtype=np.int16)).header
    for axis, length in enumerate(reversed(shape), 1):
        header[f"NAXIS{axis}"] = length
    if len(shape) == 2:
        header["BITPIX"] = -32
    content = io.BytesIO()
    content.write(header.tostring().encode())
    large.write_bytes(content.getvalue())
    size = int(np.prod(shape, dtype=np.int64)) * (4 if len(shape) == 2 else 2)
    os.truncate(large, len(content.getvalue()) + -(-size // 2880) * 2880)
    assert size > 27e9
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(small), str(large)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=120,
    )  # fmt: skip
    width, height, grown_mb, _ = map(float, run.stdout.split())
    assert max(width, height) <= 1024
    assert grown_mb < 300
