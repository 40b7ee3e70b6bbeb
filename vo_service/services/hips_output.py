"""What a HiPS has beside its tiles: pictures, Allsky, Moc.fits, properties; the list of all HiPS.

Source: HiPS 1.0, "Properties file", "MOC", "HiPS list"; keys and values are its words.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import healpy
import numpy as np
from astropy.io import fits
from mocpy import MOC
from PIL import Image as Pillow

from vo_service import __version__
from vo_service.db.hips import Notes, Summary
from vo_service.imaging.grey import Floats, grey
from vo_service.imaging.hips_tiles import (
    ALLSKY_ORDER,
    CELLS,
    TILE,
    allsky,
    pixel_size,
    read_tile,
    tile_path,
    write_picture,
)
from vo_service.imaging.render import STRETCHES
from vo_service.services.hips_places import TILES, hips_names, place_of
from vo_service.settings import Settings

__all__ = ["FORMATS", "finish", "hips_list", "hips_properties", "paint"]

#: Formats of pictures, and how their files end.
FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}

#: Metres up to which a word counts.
_REGIMES = (
    *((1e-11, "Gamma-ray"), (1e-8, "X-ray"), (1e-7, "EUV"), (3e-7, "UV"), (1e-6, "Optical")),
    *((1e-4, "Infrared"), (1e-2, "Millimeter")),
)
#: The first view is a tile of this order.
_VIEW_ORDER = 3
_CELL_DEPTH = CELLS.bit_length() - 1


def paint(tiles: Path, order: int, tile: int, form: str, cuts: str | None) -> None:
    """Make the picture of a tile, or take it away where there is no tile."""
    pixels = read_tile(tiles / tile_path(order, tile, "fits"))
    place = tiles / tile_path(order, tile, FORMATS[form])
    if pixels is None or cuts is None:
        place.unlink(missing_ok=True)
    else:
        write_picture(place, _picture(pixels, cuts), form)


def _picture(pixels: Floats, cuts: str) -> Pillow.Image:
    """Grey, with transparency where there is nothing."""
    low, high = map(float, cuts.split())
    shade = grey(pixels, (low, high), STRETCHES["asinh"])
    there = Pillow.fromarray(np.where(np.isfinite(pixels[::-1]), 255, 0).astype(np.uint8))
    return Pillow.merge("LA", (shade, there))


def finish(
    settings: Settings,
    tiles: Path,
    notes: Notes,
    *,
    name: str,
    order: int,
    form: str,
    about: tuple[str, str],
    summary: Summary,
) -> None:
    """Write Allsky, Moc.fits and properties."""
    cuts = notes.said("cuts")
    level = min(ALLSKY_ORDER, order)
    shown = allsky(tiles, level)
    place = tiles / f"Norder{level}"
    place.mkdir(exist_ok=True)
    fits.PrimaryHDU(shown.astype(">f4")).writeto(place / "draft", overwrite=True)
    (place / "draft").replace(place / "Allsky.fits")
    if cuts is not None:
        write_picture(place / f"Allsky.{FORMATS[form]}", _picture(shown, cuts), form)
    moc = _moc(notes, order)
    content = io.BytesIO()
    moc.serialize("fits", v1_compatible=True).writeto(content)
    _replace(tiles / "Moc.fits", content.getvalue())
    said = _properties(
        settings, notes, moc, name=name, order=order, form=form, about=about, summary=summary,
        size=sum(path.stat().st_size for path in tiles.rglob("Npix*")),
    )  # fmt: skip
    text = "".join(f"{key:<20} = {value}\n" for key, value in said.items())
    _replace(tiles / "properties", text.encode())


def _replace(place: Path, content: bytes) -> None:
    """Write anew: the file of the build before may be the same one."""
    draft = place.with_name(f".{place.name}")
    draft.write_bytes(content)
    draft.replace(place)


def _moc(notes: Notes, order: int) -> MOC:
    cells = np.array([tile * CELLS**2 + cell for tile, cell in notes.covered()], dtype=np.uint64)
    depth = order + _CELL_DEPTH
    if not len(cells):
        return MOC.new_empty(depth)
    return MOC.from_healpix_cells(cells, np.full(len(cells), depth, dtype=np.uint8), depth)


def _properties(
    settings: Settings,
    notes: Notes,
    moc: MOC,
    *,
    name: str,
    order: int,
    form: str,
    about: tuple[str, str],
    summary: Summary,
    size: int,
) -> dict[str, object]:
    title, description = (" ".join(text.split()) for text in about)
    collection = notes.said("collection") or name
    said: dict[str, object] = {
        "creator_did": f"ivo://{settings.authority}/hips/{name}",
        "obs_collection": collection,
        "obs_title": title or name,
        "obs_description": description or None,
        "hips_creator": " ".join(settings.publisher.split()),
        "hips_builder": f"vo-service {__version__}",
        "hips_version": "1.4",
        "hips_creation_date": notes.said("created"),
        "hips_release_date": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "hips_status": "public master clonableOnce",
        "hips_frame": "equatorial",
        "hips_order": order,
        "hips_order_min": 0,
        "hips_tile_width": TILE,
        "hips_tile_format": f"{form} fits",
        "hips_pixel_scale": f"{pixel_size(order):.6g}",
        "hips_pixel_bitpix": -32,
        "hips_pixel_cut": notes.said("cuts"),
        "hips_estsize": -(-size // 1024),
        "dataproduct_type": "image",
        "prov_progenitor": f"{settings.root_url}/tap (ivoa.obscore)",
        "obs_regime": _regime(summary),
        "moc_sky_fraction": f"{moc.sky_fraction:.6g}",
        **_first_view(notes.covered(), order),
    }
    for key in ("t_min", "t_max", "em_min", "em_max"):
        value = getattr(summary, key)
        said[key] = None if value is None else f"{value:.10g}"
    return {key: value for key, value in said.items() if value is not None}


def _regime(summary: Summary) -> str | None:
    """The word for the middle of the wavelengths (VODataService 1.2, "waveband")."""
    if summary.em_min is None or summary.em_max is None:
        return None
    middle = (summary.em_min + summary.em_max) / 2.0
    return next((word for limit, word in _REGIMES if middle < limit), "Radio")


def _first_view(cells: Sequence[tuple[int, int]], order: int) -> dict[str, str]:
    """Where a client looks first: the middle of the tile, 7 degrees wide, that is covered most."""
    if not cells:
        return {}
    level = min(order, _VIEW_ORDER)
    depth = order + _CELL_DEPTH
    numbers = np.array([tile * CELLS**2 + cell for tile, cell in cells], dtype=np.int64)
    parts = numbers >> 2 * (depth - level)
    fullest = np.bincount(parts).argmax()
    middle = np.array(healpy.pix2vec(1 << depth, numbers[parts == fullest], nest=True)).mean(axis=1)
    ra, dec = healpy.vec2ang(middle, lonlat=True)
    return {
        "hips_initial_ra": f"{float(ra[0]):.5f}",
        "hips_initial_dec": f"{float(dec[0]):.5f}",
        "hips_initial_fov": f"{math.degrees(healpy.nside2resol(1 << level)):.4f}",
    }


def hips_properties(settings: Settings, name: str) -> dict[str, str] | None:
    """The properties of a HiPS that is served, with where that is; None where there is none."""
    try:
        text = (place_of(settings, name).current / TILES / "properties").read_text("utf-8")
    except FileNotFoundError:
        return None
    said = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            said[key.strip()] = value.strip()
    return said | {"hips_service_url": f"{settings.root_url}/hips/{name}"}


def hips_list(settings: Settings) -> list[Mapping[str, str]]:
    """The properties of all HiPS that are served."""
    found = (hips_properties(settings, name) for name in hips_names(settings))
    return [said for said in found if said is not None]
