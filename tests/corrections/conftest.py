"""An archive of its own, with small and strange files whose headers are to be corrected."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from astropy.io import fits

from tests.corrections.support import image, primary, write
from tests.support import settings_at
from vo_service.db.schema import upgrade
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.services.release import release_due
from vo_service.services.setup import initialise
from vo_service.settings import Settings

SPARSE_BLOCKS = 10_416_667  # of 2880 bytes: 30 GB

COLLECTION = """
name: {name}
title: Frames to be corrected
facility: Hilltop
instrument: Camera
require: [FRAMEID]
metadata: {metadata}
obscore:
  dataproduct_type: image
  calib_level: 1
  obs_id: {{keyword: FRAMEID}}
  target_name: {{keyword: OBJECT}}
  s_ra: {{keyword: RA}}
  s_dec: {{keyword: DEC}}
  t_exptime: {{keyword: EXPTIME}}
  t_min: {{keyword: MJD}}
product:
  proposal_id: {{keyword: PROPOSAL}}
release: {{{release}}}
"""


@dataclass(frozen=True)
class Corrigible:
    """An archive whose collection ``mycam`` is public and ``closed`` is not."""

    settings: Settings
    files: Path

    def owner(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.settings.database_url or "") as connection:
            return connection.execute(statement.encode()).fetchall()

    def table(self, name: str, *rows: str) -> Path:
        """A file of corrections."""
        path = self.settings.home / name
        header = "start_frame,end_frame,hdu,keyword,current,updated,datatype,comment"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    def ingest(self, name: str) -> None:
        request = IngestRequest(
            collection=find_collection(self.settings, name),
            paths=[self.files / name],
            processes=0,
        )
        counts = ingest(self.settings, request)
        assert counts.refused == 0
        assert release_due(self.settings, datetime.now(UTC).date()).problems == []


def frame(number: int, **changed: float | str) -> fits.Header:
    values = {
        "FRAMEID": f"CAMA{number:08}", "OBJECT": "M31", "RA": 10.5, "DEC": 41.2,
        "EXPTIME": 30.0, "MJD": 55000.0 + number, "PROPOSAL": "P1", "T_SEEING": 0.0,
    } | changed  # fmt: skip
    return fits.Header(
        [(key, value, f"{key.lower()} of the frame") for key, value in values.items()]
    )


def make_files(directory: Path) -> None:
    """Plain, of several HDUs, tile-compressed, gzip, sparse."""
    directory.mkdir(parents=True)
    for number in (1, 2, 3):
        hdu = primary([])
        hdu.header.extend(frame(number))
        write(directory / f"a{number}.fits", hdu)
    first = fits.PrimaryHDU(header=frame(10))
    science, error = image([("GAIN", 1.0, "")], "SCI"), image([("GAIN", 1.0, "")], "ERR", 1)
    write(directory / "mef.fits", first, science, error)
    data = np.arange(200 * 300, dtype=np.int16).reshape(200, 300)
    tiled = fits.CompImageHDU(data, frame(11), compression_type="RICE_1", tile_shape=(20, 300))
    fits.HDUList([fits.PrimaryHDU(), tiled]).writeto(directory / "tiled.fits", checksum=True)
    hdu = primary([])
    hdu.header.extend(frame(12))
    write(directory / "packed.fits", hdu)
    (directory / "packed.fits.gz").write_bytes(
        gzip.compress((directory / "packed.fits").read_bytes())
    )
    (directory / "packed.fits").unlink()
    header = frame(13)
    for place, (keyword, value) in enumerate(
        [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", SPARSE_BLOCKS * 2880)]
    ):
        header.insert(place, (keyword, value))
    with open(directory / "sparse.fits", "wb") as sparse:
        sparse.write(header.tostring().encode())
        sparse.truncate(2880 * (1 + SPARSE_BLOCKS))
        sparse.seek(-2880, os.SEEK_END)
        sparse.write(b"the last block".ljust(2880, b"."))


@pytest.fixture(scope="module")
def corrigible(database_url: str, place: Path) -> Corrigible:
    home = place / f"corrigible_{uuid4().hex}"
    initialise(home)
    settings = settings_at(database_url, home)
    upgrade(settings)
    made = Corrigible(settings, home / "files")
    settings.collections.mkdir(exist_ok=True)
    for collection, metadata, release in (
        ("mycam", "open", "days: 0"), ("closed", "closed", "days: 36000")
    ):  # fmt: skip
        text = COLLECTION.format(name=collection, metadata=metadata, release=release)
        (settings.collections / f"{collection}.yaml").write_text(text)
    make_files(made.files / "mycam")
    hdu = primary([])
    hdu.header.extend(frame(1, OBJECT="secret"))
    (made.files / "closed").mkdir()
    write(made.files / "closed" / "a1.fits", hdu)
    made.ingest("mycam")
    made.ingest("closed")
    return made
