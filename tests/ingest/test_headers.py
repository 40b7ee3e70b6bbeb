"""The scan of files: what is read, what is skipped, what is refused."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import HeaderError
from vo_service.ingest.headers import first_values, nominal_size, read_headers, read_text_headers
from vo_service.model.observation import HDUHeader


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[HDUHeader, ...]:
    with _opened(path) as descriptor:
        return read_headers(descriptor)


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A primary without data, two images, a table, and a tile-compressed image."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=[[1, 2], [3]])])
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.zeros((10, 7), np.int16), name="SCI"),
            fits.ImageHDU(np.zeros((3, 10, 7), np.float64), name="ERR"),
            table,
            fits.CompImageHDU(np.zeros((50, 40), np.int16), name="PACKED"),
        ]
    )
    path = tmp_path / "several.fits"
    hdus.writeto(path, checksum=True)
    return path


def test_places_and_sizes_of_all_hdus_are_those_of_astropy(several: Path) -> None:
    ours = _read(several)
    with fits.open(several, disable_image_compression=True) as theirs:
        infos = [hdu.fileinfo() for hdu in theirs]
        sizes = [hdu.size for hdu in theirs]
        assert [hdu.name for hdu in ours] == ["" if h.name == "PRIMARY" else h.name for h in theirs]
    assert [hdu.header_offset for hdu in ours] == [info["hdrLoc"] for info in infos]
    assert [hdu.data_offset for hdu in ours] == [info["datLoc"] for info in infos]
    assert [hdu.data_size for hdu in ours] == sizes
    assert [hdu.kind for hdu in ours] == ["PRIMARY", "IMAGE", "IMAGE", "BINTABLE", "BINTABLE"]
    assert nominal_size(ours) == several.stat().st_size


def test_a_gzipped_file_has_the_same_headers_without_places(several: Path) -> None:
    packed = several.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(several.read_bytes()))
    plain, unpacked = _read(several), _read(packed)
    assert [hdu.cards for hdu in unpacked] == [hdu.cards for hdu in plain]
    assert {hdu.data_offset for hdu in unpacked} == {None}


def test_a_gzipped_file_in_two_members_is_read_to_its_end(several: Path) -> None:
    content = several.read_bytes()
    packed = several.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    assert len(_read(packed)) == 5


def test_of_a_gzipped_image_nothing_but_the_header_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "zeros.fits.gz"
    header = _header("BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 288000000", "EXTEND  = T")
    path.write_bytes(gzip.compress(header + bytes(288_000_000), 1))
    start = time.process_time()
    (hdu,) = _read(path)
    assert time.process_time() - start < 0.1
    assert hdu.data_size == 288_000_000


def _sparse(path: Path, shape: tuple[int, ...]) -> int:
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(shape))])
    for axis, length in enumerate(shape, start=1):
        header[f"NAXIS{axis}"] = length
    for number in range(100):
        header[f"KEY{number}"] = number
    content = header.tostring().encode("ascii")
    size = 4 * int(np.prod(shape))
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + -(-size // 2880) * 2880)
    return len(content)


def test_of_a_cube_of_30_gb_nothing_but_the_header_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cube.fits"
    header_size = _sparse(path, (2160, 1280, 2800))
    assert path.stat().st_size > 30e9
    places: list[int] = []
    real = os.pread

    def watched(descriptor: int, length: int, offset: int) -> bytes:
        got = real(descriptor, length, offset)
        places.append(offset + len(got))
        return got

    monkeypatch.setattr(os, "pread", watched)
    start = time.process_time()
    (hdu,) = _read(path)
    assert time.process_time() - start < 0.1
    assert hdu.data_size == 4 * 2160 * 1280 * 2800
    assert max(places) <= header_size


@pytest.mark.parametrize(("cut", "good"), [(0, True), (1, True), (2880, False), (20_000, False)])
def test_a_file_shorter_than_its_data_is_truncated_but_padding_may_lack(
    tmp_path: Path, cut: int, good: bool
) -> None:
    path = tmp_path / "cut.fits"
    fits.PrimaryHDU(np.zeros((100, 100), np.int16)).writeto(path)  # 20000 bytes, padded by 160
    size = path.stat().st_size
    os.truncate(path, size - cut)
    if good:
        assert len(_read(path)) == 1
    else:
        with pytest.raises(HeaderError, match="truncated"):
            _read(path)


@pytest.mark.parametrize("kept", [100, 2880, 5000])
def test_a_gzip_stream_that_breaks_off_is_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.fits.gz"
    noise = np.random.default_rng(1).integers(0, 255, (100, 100)).astype(np.int16)
    fits.PrimaryHDU(noise).writeto(path)
    os.truncate(path, kept)
    with pytest.raises(HeaderError, match="damaged"):
        _read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not FITS at all", "does not begin with SIMPLE"),
        (b"\x1f\x8b", "damaged"),
        (b"SIMPLE  =                    T".ljust(80), "ends within a header"),
        (b"SIMPLE  =                    T".ljust(2880), "ends within a header"),
    ],
)
def test_what_is_no_fits_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    with pytest.raises(HeaderError, match=reason):
        _read(path)


def _header(*cards: str) -> bytes:
    lines = ["SIMPLE  =                    T", *cards, "END"]
    content = "".join(line.ljust(80) for line in lines).encode("ascii")
    return content.ljust(-(-len(content) // 2880) * 2880)


@pytest.mark.parametrize(
    ("cards", "keyword"),
    [
        (("NAXIS   = 0",), "BITPIX"),
        (("BITPIX  = 17", "NAXIS   = 0"), "BITPIX"),
        (("BITPIX  = 8.0", "NAXIS   = 0"), "BITPIX"),
        (("BITPIX  = 8",), "NAXIS"),
        (("BITPIX  = 8", "NAXIS   = 1000"), "NAXIS"),
        (("BITPIX  = 8", "NAXIS   = T"), "NAXIS"),
        (("BITPIX  = 8", "NAXIS   = 1"), "NAXIS1"),
        (("BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = -5"), "NAXIS1"),
        (("BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 'x'"), "NAXIS1"),
    ],
)
def test_a_header_that_hides_its_size_is_refused_by_keyword(
    tmp_path: Path, cards: tuple[str, ...], keyword: str
) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(_header(*cards))
    with pytest.raises(HeaderError) as caught:
        _read(path)
    assert caught.value.keyword == keyword
    assert caught.value.hdu == 0


def test_a_header_without_end_stops_at_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"SIMPLE  =                    T".ljust(2880))
    os.truncate(path, 3 * 10**9)
    with pytest.raises(HeaderError, match="no END"):
        _read(path)


def test_a_size_beyond_all_disks_is_truncation(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    axes = [f"NAXIS{axis}  = 999999999999" for axis in range(1, 10)]
    path.write_bytes(_header("BITPIX  = 64", "NAXIS   = 9", *axes))
    with pytest.raises(HeaderError, match="truncated"):
        _read(path)


def test_text_headers_come_as_lines_or_as_cards_or_as_several() -> None:
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("OBJECT", "M 1")])
    lines = header.tostring(sep="\n", endcard=True, padding=False)
    as_cards = header.tostring(endcard=True, padding=True)
    texts = (
        lines,
        lines.replace("\n", "\r\n"),
        as_cards,
        as_cards + "\n",
        lines.rpartition("\n")[0],
    )
    for text in texts:
        (hdu,) = read_text_headers(text.encode("ascii"))
        assert first_values(hdu.cards)["OBJECT"] == "M 1"
        assert (hdu.header_offset, hdu.data_offset) == (None, None)
    assert len(read_text_headers((lines + "\n" + lines).encode("ascii"))) == 2


@pytest.mark.parametrize("content", [b"", b"\n\n", b"END\n", b"x" * 200 + b"\nEND\n"])
def test_a_text_that_is_no_header_is_refused(content: bytes) -> None:
    with pytest.raises(HeaderError):
        read_text_headers(content)


@given(st.binary(max_size=6000))
def test_random_bytes_raise_nothing_but_header_errors(content: bytes) -> None:
    for start in (b"", _header("BITPIX  = 8", "NAXIS   = 0"), b"\x1f\x8b\x08"):
        descriptor = os.memfd_create("fuzz")
        try:
            os.write(descriptor, start + content)
            read_headers(descriptor)
        except HeaderError:
            pass
        finally:
            os.close(descriptor)
    with suppress(HeaderError):
        read_text_headers(content)
