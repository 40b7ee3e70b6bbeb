"""A collection of frames that a test draws itself, ingested as any other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy.io import fits

from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.model.collection import load_collection
from vo_service.services.ingest import IngestRequest, ingest
from vo_service.services.release import release_due
from vo_service.services.setup import initialise
from vo_service.settings import Settings

__all__ = ["COLLECTION", "make_archive", "product_id", "take_in", "wcs_cards", "write"]

#: A frame is public 365 days after its night: those of 2001 are, those of 2999 are not.
COLLECTION = """
name: drawn
title: Frames that a test draws
facility: none
instrument: drawn
release: {days: 365}
metadata: METADATA
obscore:
  dataproduct_type: image
  calib_level: 2
  obs_id: {keyword: OBJECT}
  s_ra: wcs
  s_dec: wcs
  s_fov: wcs
  s_region: wcs
  t_min: {expression: "mjd({DATE-OBS})"}
  t_max: {expression: "t_min + 0.01"}
product:
  proposal_id: {keyword: PROP}
"""


def make_archive(url: str | None, home: Path, *, metadata: str = "open", **chosen: Any) -> Settings:
    """An empty archive that knows the collection ``drawn``."""
    initialise(home)
    settings = Settings(home=home, database_url=url, **chosen)
    upgrade(settings)
    settings.collections.mkdir(exist_ok=True)
    (settings.collections / "drawn.yaml").write_text(COLLECTION.replace("METADATA", metadata))
    (home / "store").mkdir(exist_ok=True)
    return settings


def wcs_cards(
    ra: float, dec: float, shape: tuple[int, int], scale: float, **more: Any
) -> dict[str, Any]:
    """North up, east left; *scale* in degrees, *shape* as in ``data.shape``."""
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": (shape[1] + 1) / 2, "CRPIX2": (shape[0] + 1) / 2,
        "CDELT1": -scale, "CDELT2": scale, "RADESYS": "ICRS", **more,
    }  # fmt: skip


def write(
    settings: Settings,
    name: str,
    data: Any,
    cards: dict[str, Any] | None = None,
    *,
    night: str = "2001-01-01",
    compress: bool = False,
) -> Path:
    """Write a frame into the store; it is not ingested yet."""
    header = fits.Header()
    header["OBJECT"], header["INSTRUME"], header["PROP"] = name, "drawn", "p1"
    header["DATE-OBS"] = f"{night}T12:00:00"
    for key, value in (cards or {}).items():
        header[key] = value
    path = settings.home / "store" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        image = fits.CompImageHDU(data, header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, overwrite=True)
    else:
        fits.PrimaryHDU(np.asarray(data), header).writeto(path, overwrite=True)
    return path


def take_in(settings: Settings) -> None:
    """Ingest the store and release what is due."""
    collection = load_collection(settings.collections / "drawn.yaml")
    request = IngestRequest(
        collection=collection, paths=[settings.home / "store"], processes=0,
        file=str(settings.collections / "drawn.yaml"),
    )  # fmt: skip
    refused: list[Any] = []
    ingest(settings, request, refused=refused.append)
    assert refused == []
    assert release_due(settings, datetime.now(UTC).date()).problems == []


def product_id(settings: Settings, path: str) -> int:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        rows = connection.execute(
            "SELECT product_id FROM archive.product WHERE path = %s AND current", (path,)
        )
        return int(next(rows)[0])
