"""Geometry of tiles, and their pixels against reproject, which knows nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy_healpix
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, ICRS, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from reproject import reproject_interp
from reproject.hips import reproject_to_hips

from tests.previews.frames import wcs_cards
from tests.soda.support import opened
from vo_service.imaging.hips import SkyFrame, pixel_scale, tile_of
from vo_service.imaging.hips_tiles import (
    TILE,
    allsky,
    cells_of,
    children,
    halved,
    order_for,
    pixel_size,
    read_tile,
    tile_directions,
    tile_path,
    write_tile,
)
from vo_service.ingest.headers import read_headers

ORDER = 5  # pixels of 12.9 arcsec


def frame(path: Path, data: Any, cards: dict[str, Any], **more: Any) -> SkyFrame:
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(path, overwrite=True)
    source = opened(path)
    return SkyFrame(source, read_headers(source.file.fileno()), **more)


def smooth(ny: int, nx: int) -> Any:
    """A picture without symmetry, smooth enough to be compared between two interpolations."""
    y, x = np.mgrid[:ny, :nx]
    return (100 + 0.1 * x + 0.05 * y + 20 * np.sin(x / 40.0) * np.cos(y / 25.0)).astype(np.float32)


def tiles_at(ra: float, dec: float, radius: float) -> list[int]:
    healpix = astropy_healpix.HEALPix(2**ORDER, order="nested", frame=ICRS())
    found = healpix.cone_search_skycoord(SkyCoord(ra, dec, unit="deg"), radius * u.deg)
    return sorted(int(tile) for tile in found)


@pytest.mark.parametrize("tile", [0, 4000, 12 * 4**ORDER - 1])
def test_directions_are_those_of_astropy_healpix(tile: int) -> None:
    found = tile_directions(ORDER, tile).reshape(TILE, TILE, 3)
    healpix = astropy_healpix.HEALPix(2 ** (ORDER + 9), order="nested", frame=ICRS())
    for x, y in ((0, 0), (511, 0), (0, 511), (37, 200), (511, 511)):
        number = sum((x >> b & 1) << 2 * b | (y >> b & 1) << 2 * b + 1 for b in range(9))
        expected = healpix.healpix_to_skycoord(tile * 4**9 + number).cartesian.xyz.value
        np.testing.assert_allclose(found[511 - x, y], expected, atol=1e-12)


@pytest.mark.parametrize(("ra", "dec"), [(60.0, 0.3), (0.02, 30.0), (200.0, -55.0), (350.0, 80.0)])
def test_tiles_are_those_that_reproject_makes(tmp_path: Path, ra: float, dec: float) -> None:
    data = smooth(700, 900)
    cards = wcs_cards(ra, dec, data.shape, 0.0035)
    ours = frame(tmp_path / "a.fits", data, cards)
    other = tmp_path / "other"
    reproject_to_hips(
        (data, WCS(fits.Header(cards))), coord_system_out="equatorial", level=ORDER,
        reproject_function=reproject_interp, output_directory=str(other), threads=False,
    )  # fmt: skip
    theirs = {
        int(path.stem.removeprefix("Npix")): path
        for path in (other / f"Norder{ORDER}").rglob("Npix*.fits")
    }
    compared = 0
    for tile in tiles_at(ra, dec, 4.0):
        made = tile_of(ORDER, tile, [ours], 1)
        if made is None:
            assert tile not in theirs or not np.isfinite(fits.getdata(theirs[tile])).any()
            continue
        expected = fits.getdata(theirs[tile])
        both = np.isfinite(made) & np.isfinite(expected)
        compared += int(both.sum())
        np.testing.assert_allclose(made[both], expected[both], atol=0.05)
        # Only along the edge of the frame do two ways of rounding differ.
        assert (np.isfinite(made) != np.isfinite(expected)).sum() < 2000
    assert compared > 300_000


def test_a_star_is_at_its_place(tmp_path: Path) -> None:
    data = np.zeros((300, 400), dtype=np.float32)
    cards = wcs_cards(60.0, 0.3, data.shape, 0.0035)
    star = SkyCoord(60.25, 0.45, unit="deg")
    x, y = (int(i) for i in np.round(WCS(fits.Header(cards)).world_to_pixel(star)))
    data[y - 1 : y + 2, x - 1 : x + 2] = [[0, 1, 0], [1, 5, 1], [0, 1, 0]]
    healpix = astropy_healpix.HEALPix(2 ** (ORDER + 9), order="nested", frame=ICRS())
    number = int(healpix.skycoord_to_healpix(star))
    made = tile_of(ORDER, number >> 18, [frame(tmp_path / "a.fits", data, cards)], 1)
    assert made is not None
    row, column = np.unravel_index(np.nanargmax(made), made.shape)
    px = sum((number >> 2 * b & 1) << b for b in range(9))
    py = sum((number >> 2 * b + 1 & 1) << b for b in range(9))
    assert abs(511 - px - row) <= 1
    assert abs(py - column) <= 1


@pytest.mark.parametrize("system", ["FK5", "FK4", "GALACTIC"])
def test_frames_in_other_systems_lie_where_astropy_puts_them(tmp_path: Path, system: str) -> None:
    data = smooth(300, 300)
    cards = wcs_cards(120.0, 20.0, data.shape, 0.0035)
    centre = SkyCoord(120.0, 20.0, unit="deg")
    if system == "GALACTIC":
        del cards["RADESYS"]
        cards |= {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}
        icrs = SkyCoord(120.0, 20.0, unit="deg", frame="galactic").icrs
    elif system == "FK4":
        cards |= {"RADESYS": "FK4", "EQUINOX": 1950.0}
        icrs = SkyCoord(120.0, 20.0, unit="deg", frame=FK4(equinox=Time("B1950"))).icrs
    else:
        cards |= {"RADESYS": "FK5", "EQUINOX": 1975.0}
        icrs = SkyCoord(120.0, 20.0, unit="deg", frame="fk5", equinox="J1975").icrs
    assert centre
    vector = icrs.cartesian.xyz.value[None]
    [(image, sky)] = frame(tmp_path / "a.fits", data, cards).images
    np.testing.assert_allclose(sky.pixels(vector), [[150.5, 150.5]], atol=1e-4)
    assert image.shape == (300, 300)


def test_of_several_frames_the_mean_is_taken_and_blank_pixels_do_not_count(tmp_path: Path) -> None:
    cards = wcs_cards(60.0, 0.3, (200, 200), 0.0035)
    first = np.full((200, 200), 1.0, dtype=np.float32)
    second = np.full((200, 200), 3.0, dtype=np.float32)
    second[:, :100] = np.nan
    frames = [frame(tmp_path / f"{n}.fits", d, cards) for n, d in enumerate((first, second))]
    [tile] = {
        tile for tile in tiles_at(60.0, 0.3, 0.3) if tile_of(ORDER, tile, frames, 9) is not None
    } & {int(astropy_healpix.lonlat_to_healpix(60 * u.deg, 0.3 * u.deg, 2**ORDER, order="nested"))}
    made = tile_of(ORDER, tile, frames, 9)
    assert made is not None
    assert set(np.round(made[np.isfinite(made)], 3)) == {1.0, 2.0}
    only_first = tile_of(ORDER, tile, frames, 1)
    assert only_first is not None
    assert np.nanmax(only_first) <= 2.0


def test_the_sky_of_a_frame_can_be_subtracted(tmp_path: Path) -> None:
    cards = wcs_cards(60.0, 0.3, (200, 200), 0.0035)
    data = np.full((200, 200), 500.0, dtype=np.float32)
    data[100, 100] = 900.0
    one = frame(tmp_path / "a.fits", data, cards, subtract_sky=True)
    values = np.concatenate([tile.ravel() for n in tiles_at(60.0, 0.3, 1.0)
                             if (tile := tile_of(ORDER, n, [one], 1)) is not None])  # fmt: skip
    assert np.nanmedian(values) == pytest.approx(0.0, abs=1e-3)
    assert np.nanmax(values) > 100


def test_a_parent_shows_its_children_where_they_are(tmp_path: Path) -> None:
    """Four children, each of its own value: the parent has it where HEALPix puts the child."""
    parent = np.zeros((TILE, TILE), dtype=np.float32)
    for child, rows, columns in children(77):
        parent[rows, columns] = halved(np.full((TILE, TILE), child, dtype=np.float32))
    directions = tile_directions(2, 77).reshape(TILE, TILE, 3)
    longitude = np.degrees(np.arctan2(directions[..., 1], directions[..., 0]))
    latitude = np.degrees(np.arcsin(directions[..., 2]))
    expected = astropy_healpix.lonlat_to_healpix(
        longitude * u.deg, latitude * u.deg, 2**3, order="nested"
    )
    np.testing.assert_array_equal(parent, expected)


def test_cells_are_those_that_have_a_pixel() -> None:
    tile = np.full((TILE, TILE), np.nan, dtype=np.float32)
    assert cells_of(tile) == []
    tile[200, 300] = 1.0
    x, y = (511 - 200) // 64, 300 // 64
    assert cells_of(tile) == [
        sum((x >> b & 1) << 2 * b | (y >> b & 1) << 2 * b + 1 for b in range(3))
    ]
    assert cells_of(np.zeros((TILE, TILE), dtype=np.float32)) == list(range(64))


def test_allsky_has_the_tiles_in_rows_from_the_top_left(tmp_path: Path) -> None:
    for tile in (0, 26, 27, 767):
        place = tmp_path / tile_path(3, tile, "fits")
        write_tile(place, np.full((TILE, TILE), tile, dtype=np.float32), 3, tile)
    shown = allsky(tmp_path, 3)[::-1]  # as a picture: the first row is the highest
    assert shown.shape == (29 * 64, 27 * 64)
    assert (shown[0, 0], shown[0, -1], shown[64, 0]) == (0, 26, 27)
    assert shown[28 * 64, (767 % 27) * 64] == 767
    assert np.isnan(shown[0, 64])
    assert read_tile(tmp_path / tile_path(3, 1, "fits")) is None


def test_the_order_follows_from_the_pixels(tmp_path: Path) -> None:
    # HiPS 1.0: tiles of order 9 have pixels of 0.8 arcsec.
    assert pixel_size(9) * 3600 == pytest.approx(0.805, abs=0.001)
    assert order_for(1.189 / 3600) == 9
    assert order_for(0.7 / 3600) == 10
    made = frame(tmp_path / "a.fits", smooth(50, 60), wcs_cards(10, 70, (50, 60), 0.0035))
    assert pixel_scale(made.headers) == pytest.approx(0.0035, rel=1e-4)
