"""Cutouts of real files of all kinds, compared with astropy's own reading of the originals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.soda.support import cut, cutout, opened, read_all
from vo_service.errors import TransientError, UsageError
from vo_service.imaging.cutout import pixels_of
from vo_service.imaging.select import Coverage
from vo_service.imaging.stored import StoredPixels
from vo_service.ingest.headers import read_headers
from vo_service.ingest.images import images_of

CUBE = Coverage(s_ra=150.0, s_dec=2.0, s_fov=0.1, t_min=59000.0, t_max=59000.001)


def header(**more: Any) -> fits.Header:
    made = fits.Header()
    made.update(
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=150.0, CRVAL2=2.0, CRPIX1=50.5, CRPIX2=40.5,
        CD1_1=-1e-3, CD1_2=2e-4, CD2_1=2e-4, CD2_2=1e-3, RADESYS="ICRS",
    )  # fmt: skip
    made.update(**more)
    return made


def counting(shape: tuple[int, ...], dtype: str = "int16") -> NDArray[Any]:
    return (np.arange(np.prod(shape)) % 30_000).reshape(shape).astype(dtype)


def written(path: Path, *hdus: Any) -> Path:
    fits.HDUList(list(hdus)).writeto(path, overwrite=True, checksum=True)
    return path


def first_image(hdus: Any) -> Any:
    return next(hdu for hdu in hdus if hdu.header["NAXIS"] > 0)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return written(tmp_path / "a.fits", fits.PrimaryHDU(counting((80, 100)), header()))


def test_a_section_holds_the_pixels_of_astropys_slice(plain: Path) -> None:
    made = cut(plain, PIXEL="[11:30,21:25]")
    assert [type(hdu).__name__ for hdu in made] == ["PrimaryHDU"]
    np.testing.assert_array_equal(made[0].data, fits.getdata(plain)[20:25, 10:30])
    assert (made[0].header["CRPIX1"], made[0].header["CRPIX2"]) == (40.5, 20.5)
    assert (made[0].header["LTV1"], made[0].header["LTV2"]) == (-10.0, -20.0)
    assert "CHECKSUM" not in made[0].header
    assert "DATASUM" not in made[0].header
    assert "[11:30,21:25] of HDU 0" in str(made[0].header["HISTORY"])


def test_a_section_is_clipped_and_one_beside_the_image_is_nothing(plain: Path) -> None:
    made = cut(plain, PIXEL="[91:500,*]")
    np.testing.assert_array_equal(made[0].data, fits.getdata(plain)[:, 90:])
    assert cut(plain, PIXEL="[101:500,*]") is None


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    width=st.sampled_from([1, 2, 8]),
    data=st.data(),
)
def test_stored_pixels_are_those_of_a_slice_in_pieces_of_any_size(
    shape: tuple[int, ...], width: int, data: st.DataObject
) -> None:
    box = []
    for length in shape:
        start = data.draw(st.integers(0, length - 1))
        box.append((start, data.draw(st.integers(start + 1, length))))
    pixels = counting(shape[::-1], f">i{width}" if width > 1 else "u1")
    stored = bytes(7) + pixels.tobytes()
    chunk = data.draw(st.integers(1, 200))
    reader = StoredPixels(lambda at, n: stored[at : at + n], 7, shape, width, tuple(box))
    expected = pixels[tuple(slice(*bounds) for bounds in reversed(box))].tobytes()
    assert reader.size == len(expected)
    content = b""
    while len(content) < reader.size:
        part = reader.read(len(content), chunk)
        assert 0 < len(part) <= chunk
        content += part
    assert content == expected
    start = data.draw(st.integers(0, reader.size - 1))
    assert expected[start:].startswith(reader.read(start, chunk))


def wcs_headers() -> st.SearchStrategy[fits.Header]:
    """Celestial headers of many kinds for images of 100 x 80 pixels."""
    sip = {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 3,
        "A_2_0": 2e-5, "A_0_2": -1e-5, "A_1_1": 3e-6, "A_3_0": 1e-8, "B_0_2": 1e-5,
        "B_2_0": 2e-6, "B_1_2": -1e-8,
    }  # fmt: skip
    tpv = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"} | {
        f"PV{axis}_{term}": value
        for axis in (1, 2)
        for term, value in ((0, 1e-5), (1, 1.001), (2, 1e-4), (4, 2e-3), (6, 1e-3), (10, 0.3))
    }
    pc = {
        "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8, "CDELT1": -1e-3, "CDELT2": 1e-3,
    }  # fmt: skip
    zpn = {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 40.0}
    kinds: tuple[dict[str, Any], ...] = ({}, sip, tpv, pc, zpn, {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR"}, {"RADESYS": "FK5", "EQUINOX": 1975.0}, {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"})  # fmt: skip  # noqa: E501 - one list
    places = st.sampled_from([(150.0, 2.0), (0.0, -60.0), (359.99, 89.99), (12.0, -90.0)])
    references = st.sampled_from([(50.5, 40.5), (-3000.25, 1000.75), (0.0, 0.0), (1e5, -1e5)])

    def made(kind: dict[str, Any], place: Any, reference: Any) -> fits.Header:
        result = header(CRVAL1=place[0], CRVAL2=place[1], CRPIX1=reference[0], CRPIX2=reference[1])
        if "PC1_1" in kind:
            for keyword in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                del result[keyword]
        result.update(kind)
        # Far from its reference a projection may have no sky; a finer scale keeps it near.
        if abs(reference[0]) > 1e4:
            for keyword in list(result["CD?_?"]) + list(result["CDELT?"]):
                result[keyword] = result[keyword] * 1e-4
        return result

    return st.builds(made, st.sampled_from(kinds), places, references)


@hypothesis_settings(max_examples=60, deadline=None)
@given(head=wcs_headers(), x=st.integers(0, 98), y=st.integers(0, 78))
def test_the_wcs_of_a_cutout_is_that_of_the_original_to_a_billionth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, head: fits.Header, x: int, y: int
) -> None:
    path = tmp_path_factory.mktemp("wcs") / "a.fits"
    written(path, fits.PrimaryHDU(counting((80, 100)), head))
    made = cut(path, PIXEL=f"[{x + 1}:100,{y + 1}:80]")
    ours, theirs = WCS(made[0].header), WCS(fits.getheader(path))
    pixels = np.array([[0.0, 0.0], [0.5, 0.25], [99.0 - x, 0.0], [99.0 - x, 79.0 - y]])
    original = pixels + np.array([x, y])
    for axis, moved in ((1, x), (2, y)):
        assert made[0].header[f"CRPIX{axis}"] == pytest.approx(
            head[f"CRPIX{axis}"] - moved, abs=1e-9
        )
    cards = fits.getheader(path).cards
    changed = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CRPIX", "CHECKSUM", "DATASUM")
    kept = {card.image for card in cards if not card.keyword.startswith(changed)}
    assert kept <= {card.image for card in made[0].header.cards}
    sky = np.radians(ours.all_pix2world(pixels, 0) - theirs.all_pix2world(original, 0))
    good = np.isfinite(sky).all(axis=1)
    # Angles have 16 digits of 360 degrees: 1e-13 of a radian is more than they can tell.
    dec = np.radians(theirs.all_pix2world(original, 0)[good, 1])
    assert np.abs(np.sin(sky[good, 0] / 2) * np.cos(dec)).max(initial=0) < 1e-13
    assert np.abs(sky[good, 1]).max(initial=0) < 1e-13


def test_a_missing_crpix_counts_as_zero_and_alternate_coordinates_move_too(tmp_path: Path) -> None:
    head = header(CTYPE1A="LINEAR", CRPIX1A=10.0, CRVAL1A=5.0, CDELT1A=2.0, CTYPE2A="LINEAR",
                  CRVAL2A=1.0, CDELT2A=1.0)  # fmt: skip
    del head["CRPIX2"]
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counting((80, 100)), head))
    made = cut(path, PIXEL="[11:20,21:30]")[0].header
    assert (made["CRPIX1"], made["CRPIX2"]) == (40.5, -20.0)
    assert (made["CRPIX1A"], made["CRPIX2A"]) == (0.0, -20.0)


@pytest.mark.parametrize(
    "kind", ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64"]
)
def test_stored_values_scaling_and_blanks_are_left_as_they_are(tmp_path: Path, kind: str) -> None:
    hdu = fits.PrimaryHDU(counting((80, 100), kind), header())
    if kind.startswith("int"):
        hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 100.0, 7
    if kind.startswith("float"):
        hdu.data[30, 20] = np.nan
    path = written(tmp_path / "a.fits", hdu)
    made = cut(path, PIXEL="[11:30,21:45]")[0]
    stored = fits.getdata(path, do_not_scale_image_data=True)
    np.testing.assert_array_equal(made.data, stored[20:45, 10:30])
    for keyword in ("BSCALE", "BZERO", "BLANK"):
        assert made.header.get(keyword) == fits.getheader(path).get(keyword)


def cube_header() -> fits.Header:
    """Ten frames of 10 s from MJD 59000.0 (UTC)."""
    return header(
        CTYPE3="TIME", CUNIT3="s", CRPIX3=0.5, CRVAL3=0.0, CDELT3=10.0, CD3_3=10.0,
        MJDREF=59000.0, TIMESYS="UTC",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("time", "frames"),
    [
        ("59000.0 59000.00011574", (0, 1)),  # 0 .. 10 s
        ("59000.00011575 59000.0002", (1, 2)),  # 10.0008 .. 17.28 s
        ("59000.00017 59000.0004", (1, 4)),  # 14.7 .. 34.6 s
        ("-Inf 59000.0003", (0, 3)),  # .. 25.9 s
        ("59000.001 +Inf", (8, 10)),  # 86.4 s ..
        ("59000.0005 59000.0005", (4, 5)),  # 43.2 s
        ("-Inf +Inf", (0, 10)),
        ("59001 59002", None),
        ("58999 58999.9999", None),
    ],
)
def test_time_selects_the_frames_that_reach_into_it(
    tmp_path: Path, time: str, frames: tuple[int, int] | None
) -> None:
    data = counting((10, 20, 30))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(data, cube_header()))
    made = cut(path, CUBE, TIME=time)
    if frames is None:
        assert made is None
        return
    np.testing.assert_array_equal(made[0].data, data[slice(*frames)])
    head = made[0].header
    # The edge of the first frame keeps its time.
    assert (0.5 - head["CRPIX3"]) * head["CD3_3"] == pytest.approx(10.0 * frames[0], abs=1e-9)


def test_a_cube_without_a_time_axis_has_the_times_of_obscore(tmp_path: Path) -> None:
    data = counting((10, 20, 30))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(data, header()))
    known = Coverage(t_min=59000.0, t_max=59000.5, t_xel=10, t_resolution=8.64)  # 1e-4 d
    made = cut(path, known, TIME="59000.00031 59000.00049")
    np.testing.assert_array_equal(made[0].data, data[3:5])
    whole = cut(path, Coverage(t_min=59000.0, t_max=59001.0), TIME="59000.5 59000.6")
    assert whole[0].data.shape == data.shape
    assert cut(path, Coverage(t_min=59000.0, t_max=59001.0), TIME="59002 59003") is None
    with pytest.raises(UsageError, match="does not tell its time"):
        cut(path, TIME="59002 59003")


def test_band_selects_pixels_of_a_spectrum_and_all_or_nothing_of_an_image(tmp_path: Path) -> None:
    head = fits.Header()
    head.update(CTYPE1="WAVE", CUNIT1="nm", CRPIX1=1.0, CRVAL1=400.5, CDELT1=1.0)
    data = counting((4, 100))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(data, head))
    # Pixel n (from 0) reaches from 400 + n to 401 + n nm.
    made = cut(path, BAND="410.5e-9 412.5e-9")
    np.testing.assert_array_equal(made[0].data, data[:, 10:13])
    assert cut(path, BAND="500.5e-9 501e-9") is None
    image = written(tmp_path / "b.fits", fits.PrimaryHDU(data, header()))
    known = Coverage(em_min=4e-7, em_max=5.5e-7)
    assert cut(image, known, BAND="5e-7 6e-7")[0].data.shape == data.shape
    assert cut(image, known, BAND="6e-7 7e-7") is None


def test_a_falling_frequency_axis_is_cut_by_wavelength(tmp_path: Path) -> None:
    head = fits.Header()
    head.update(CTYPE1="FREQ", CUNIT1="Hz", CRPIX1=1.0, CRVAL1=1e9, CDELT1=1e7)
    data = counting((1, 50))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(data, head))
    c = 299792458.0
    made = cut(path, BAND=f"{c / 1.204e9!r} {c / 1.196e9!r}")  # pixel 20 is 1.195 .. 1.205 GHz
    np.testing.assert_array_equal(made[0].data, data[:, 20:21])


def test_pol_selects_planes(tmp_path: Path) -> None:
    head = header(CTYPE3="STOKES", CRPIX3=1.0, CRVAL3=1.0, CDELT3=1.0, CD3_3=1.0)
    data = counting((4, 6, 8))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(data, head))
    assert cut(path, POL="V")[0].data.shape == (1, 6, 8)
    np.testing.assert_array_equal(cut(path, POL=["Q", "U"])[0].data, data[1:3])
    assert cut(path, POL="RR") is None
    assert cut(path, POL=["I"], PIXEL="[*,*,2:4]") is None


def mosaic(tmp_path: Path) -> Path:
    """A primary HDU without data, two chips side by side, a table."""
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = ("M 31", "inherited")
    chips = []
    for number, reference in ((1, 50.5), (2, -60.0)):
        chip = fits.ImageHDU(counting((80, 100)) + number, header(CRPIX1=reference))
        chip.name = f"CHIP{number}"
        chips.append(chip)
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    return written(tmp_path / "m.fits", primary, *chips, table)


def test_of_a_mosaic_the_chips_that_are_hit_come_behind_the_primary_header(tmp_path: Path) -> None:
    path = mosaic(tmp_path)
    made = cut(path, CIRCLE="150 2 0.005")
    assert [hdu.name for hdu in made] == ["PRIMARY", "CHIP1"]
    assert made[0].header["OBJECT"] == "M 31"
    assert made[0].data is None
    one = cut(path, PIXEL="[CHIP2][1:3,1:2]")
    np.testing.assert_array_equal(one[1].data, counting((80, 100))[:2, :3] + 2)
    both = cut(path, POS="RANGE 0 360 -90 90")
    assert [hdu.name for hdu in both] == ["PRIMARY", "CHIP1", "CHIP2"]
    with pytest.raises(UsageError, match="HDU 3 is no image"):
        cut(path, PIXEL="[3][1:3]")


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("tile", [(1, 100), (16, 16), (33, 40)])
def test_a_tile_compressed_image_comes_out_plain_with_the_same_values(
    tmp_path: Path, kind: str, tile: tuple[int, int]
) -> None:
    if kind == "HCOMPRESS_1" and tile[0] == 1:
        pytest.skip("HCOMPRESS has no tiles of one row")
    data = counting((80, 100), "int16")
    image = fits.CompImageHDU(data, header(), compression_type=kind, tile_shape=tile)
    path = written(tmp_path / "c.fits", fits.PrimaryHDU(), image)
    made = cut(path, PIXEL="[11:57,21:75]")
    assert [type(hdu).__name__ for hdu in made] == ["PrimaryHDU", "ImageHDU"]
    np.testing.assert_array_equal(made[1].data, data[20:75, 10:57])
    assert made[1].header["CRPIX1"] == 40.5
    left = {key for key in made[1].header if key.startswith(("Z", "TFORM", "TTYPE"))}
    assert left == set()


def test_lossy_floats_come_out_as_astropy_reads_them_and_so_does_unsigned(tmp_path: Path) -> None:
    floats = np.random.default_rng(1).normal(100, 5, (80, 100)).astype("float32")
    floats[30, 30] = np.nan
    lossy = fits.CompImageHDU(floats, header(), quantize_method=1, dither_seed=5)
    unsigned = fits.CompImageHDU(counting((80, 100), "uint16"), header(), tile_shape=(7, 100))
    path = written(tmp_path / "c.fits", fits.PrimaryHDU(), lossy, unsigned)
    made = cut(path, CIRCLE="150 2 0.02")
    with fits.open(path) as hdus:
        x, y = (int(-made[1].header[f"LTV{axis}"]) for axis in (1, 2))
        part = (slice(y, y + made[1].shape[0]), slice(x, x + made[1].shape[1]))
        np.testing.assert_array_equal(made[1].data, hdus[1].data[part])
        np.testing.assert_array_equal(made[2].data, hdus[2].data[part].astype(int) - 32768)
        assert np.isnan(made[1].data).sum() == 1


def test_a_compressed_cube_is_cut_in_all_axes_and_read_from_any_byte(tmp_path: Path) -> None:
    data = counting((5, 60, 70))
    image = fits.CompImageHDU(data, cube_header(), tile_shape=(1, 7, 70))
    path = written(tmp_path / "c.fits", fits.PrimaryHDU(), image)
    made = cutout(path, PIXEL="[5:64,9:50,2:4]")
    assert made is not None
    whole = read_all(made, 1000)
    again = cutout(path, PIXEL="[5:64,9:50,2:4]")
    assert again is not None
    assert read_all(again) == whole
    third = cutout(path, PIXEL="[5:64,9:50,2:4]")
    assert third is not None
    for start in range(third.size - 1, 0, -3001):
        assert whole[start:].startswith(third.read_now(start, 500))
    third.close()
    expected = data[1:4, 8:50, 4:64]
    np.testing.assert_array_equal(fits.HDUList.fromstring(whole)[1].data, expected)


def test_several_stencils_give_an_extension_each_with_its_number(plain: Path) -> None:
    made = cut(plain, CIRCLE=["150 2 0.003", "10 10 0.1", "150.02 2 0.003"])
    assert [hdu.header.get("CUTOUT") for hdu in made] == [None, 1, 3]
    assert [type(hdu).__name__ for hdu in made] == ["PrimaryHDU", "ImageHDU", "ImageHDU"]
    assert made[0].header["NAXIS"] == 0


def test_an_image_without_sky_is_selected_whole_by_the_position_of_obscore(tmp_path: Path) -> None:
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counting((8, 9))))
    slit = Coverage(s_ra=10.0, s_dec=20.0, s_fov=0.02)
    assert cut(path, slit, CIRCLE="10 20.5 0.495")[0].data.shape == (8, 9)
    assert cut(path, slit, CIRCLE="10 20.5 0.485") is None
    with pytest.raises(UsageError, match="no position"):
        cut(path, CIRCLE="10 20 1")


def test_long_strings_and_hierarch_cards_are_copied_as_they_are(tmp_path: Path) -> None:
    head = header()
    head["LONGKEY"] = "x" * 150
    head["HIERARCH ESO INS TEMP"] = 1.5
    head["BIG"] = 1.0000000000000002
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counting((80, 100)), head))
    made = cut(path, PIXEL="[2:3,2:3]")[0].header
    assert made["LONGKEY"] == "x" * 150
    assert made["ESO INS TEMP"] == 1.5
    assert made.cards["BIG"].image == fits.getheader(path).cards["BIG"].image


def test_a_file_that_is_shorter_than_its_headers_say_is_refused(plain: Path) -> None:
    source = opened(plain)
    headers = read_headers(source.file.fileno())
    source.close()
    with plain.open("r+b") as file:
        file.truncate(2880 + 5000)
    short = opened(plain)
    (image,) = images_of(headers)
    with pytest.raises(TransientError, match="changed since it was ingested"):
        pixels_of(short, headers, image, ((0, 10), (0, 10)))
    short.close()


def test_a_file_that_changes_while_it_is_read_breaks_off(plain: Path) -> None:
    made = cutout(plain, PIXEL="[1:100,1:80]")
    assert made is not None
    made.read_now(0, 5000)
    with plain.open("r+b") as file:
        file.seek(3000)
        file.write(b"xx")
    os.utime(plain, ns=(1, 1))
    with pytest.raises(OSError, match="changed"):
        made.read_now(5000, 5000)
    made.close()


def test_damaged_tiles_break_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 1000, (80, 100)).astype("int16")
    image = fits.CompImageHDU(noise, header(), compression_type="GZIP_1")
    path = written(tmp_path / "c.fits", fits.PrimaryHDU(), image)
    with path.open("r+b") as file:
        file.seek(-4000, os.SEEK_END)
        file.write(b"\xff" * 1000)
    made = cutout(path, PIXEL="[1:100,1:80]")
    assert made is not None
    with pytest.raises(OSError, match="cannot be unpacked"):
        read_all(made)
    made.close()


def test_an_image_with_an_axis_of_no_length_is_no_image(tmp_path: Path) -> None:
    empty = fits.ImageHDU(np.zeros((0, 5), "int16"))
    path = written(tmp_path / "e.fits", fits.PrimaryHDU(counting((8, 9)), header()), empty)
    assert [hdu.data.shape for hdu in cut(path, PIXEL="[*,*]")] == [(8, 9)]


def test_a_broken_wcs_is_told_and_pixels_can_still_be_cut(tmp_path: Path) -> None:
    head = header(CTYPE1="RA---TAN", CTYPE2="DEC--SIN")
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counting((8, 9)), head))
    with pytest.raises(UsageError, match="no usable celestial coordinates"):
        cut(path, CIRCLE="150 2 1")
    assert cut(path, PIXEL="[1:3,1:2]")[0].data.shape == (2, 3)


def test_a_table_of_coordinates_goes_along_and_still_holds(tmp_path: Path) -> None:
    waves = np.linspace(4e-7, 5e-7, 50) ** 1.01
    table = fits.BinTableHDU.from_columns(
        [fits.Column("WAVELENGTH", "50D", dim="(1,50)", array=waves[None, :, None])], name="WCS-TAB"
    )
    head = fits.Header()
    head.update(
        CTYPE1="WAVE-TAB", CUNIT1="m", CRPIX1=1.0, CRVAL1=1.0, CDELT1=1.0, PS1_0="WCS-TAB",
        PS1_1="WAVELENGTH", PV1_1=1, PV1_2=1, PV1_3=1,
    )  # fmt: skip
    other = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="OTHER")
    path = written(tmp_path / "t.fits", fits.PrimaryHDU(counting((1, 50)), head), other, table)
    made = cut(path, PIXEL="[11:20,*]")
    assert [hdu.name for hdu in made] == ["PRIMARY", "WCS-TAB"]
    original = fits.open(path)
    ours = WCS(made[0].header, made).wcs_pix2world([[0, 0], [9, 0]], 0)[:, 0]
    np.testing.assert_allclose(ours, [waves[10], waves[19]], rtol=1e-14)
    np.testing.assert_array_equal(
        ours, WCS(original[0].header, original).wcs_pix2world([[10, 0], [19, 0]], 0)[:, 0]
    )


def test_distortions_in_tables_are_left_out(tmp_path: Path) -> None:
    head = header(CPDIS1="LOOKUP", D2IMDIS1="LOOKUP")
    head.append(fits.Card("DP1.EXTVER", 1.0))
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counting((8, 9)), head))
    made = cut(path, PIXEL="[2:3,2:3]")[0].header
    assert [key for key in made if key.startswith(("CPDIS", "D2IM", "DP1"))] == []
    assert WCS(made).naxis == 2
