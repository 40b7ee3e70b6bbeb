"""A little archive of raw frames and darks, and what was made of them, in real FITS files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy.io import fits

from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.db.stream import Reader
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.datalink import LinksQuery
from vo_service.services.datalink import LinkService
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.services.release import release_due
from vo_service.services.setup import initialise
from vo_service.settings import Settings

__all__ = ["Lab", "made"]

ROOT = "https://h"

RAW = """
name: raw
title: Raw frames
facility: Hilltop
instrument: Camera
metadata: closed
did: "ivo://lab/{collection}?{path}"
obscore: {dataproduct_type: image, calib_level: 1, obs_id: {keyword: FRAMEID}, t_min: 58000}
product: {proposal_id: {keyword: PROPOSAL}}
release:
  months: 1200
  exceptions: [{proposals: CAL, days: 0}]
"""
REDUCED = """
name: reduced
title: Reduced frames
facility: Hilltop
instrument: Camera
did: "ivo://lab/{collection}?{path}"
obscore: {dataproduct_type: image, calib_level: 2, obs_id: {keyword: EXPOSURE}, t_min: 58000}
provenance:
  run: {keyword: RUN}
  software: {constant: pipe}
  version: {keyword: [GITHASH, CODEVER]}
  time: {keyword: DATE}
  used:
    progenitor: {keyword: RAW*, collection: raw}
    dark: {keyword: DARK, collection: raw}
    calibration: {keyword: CALIB}
release: {days: 0}
"""


@dataclass(frozen=True)
class Lab:
    """An archive with the collections ``raw`` (closed but for calibration) and ``reduced``."""

    settings: Settings

    def write(self, collection: str, name: str, **cards: Any) -> Path:
        """A FITS file with these keywords."""
        path = self.settings.home / "files" / collection / f"{name}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = fits.Header([(key.replace("__", "-"), value) for key, value in cards.items()])
        fits.PrimaryHDU(np.zeros((4, 4), np.int16), header).writeto(path, overwrite=True)
        return path

    def ingest(self, *collections: str) -> list[str]:
        """Take in what was written, release it; reasons of refusals."""
        reasons: list[str] = []
        for name in collections:
            request = IngestRequest(
                collection=find_collection(self.settings, name),
                paths=[self.settings.home / "files" / name],
                processes=0,
            )
            ingest(self.settings, request, refused=lambda r: reasons.append(r.reason))
        release_due(self.settings, datetime.now(UTC).date())
        return reasons

    def table(self, *lines: str) -> Path:
        """A CSV file."""
        path = self.settings.home / "table.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    def query(self, statement: str, role: Role = Role.READER) -> list[tuple[Any, ...]]:
        """Rows, as one who queries the published tables sees them."""
        dsn = conninfo(self.settings, role, **{"vo.data_url": f"{ROOT}/data/"})
        with psycopg.connect(dsn) as connection:
            return connection.execute(statement.encode()).fetchall()

    async def links(
        self, *ids: str, visitor: Visitor = ANYBODY, maxrec: int = 100_000
    ) -> list[dict[str, Any]]:
        """The rows of {links}."""
        async with self._service() as service:
            rows = await service.links(LinksQuery(ids=ids, maxrec=maxrec), visitor)
            names: Sequence[str] = [field.name for field in rows.fields]
            found = [
                dict(zip(names, row.values(), strict=True))
                async for batch in rows.batches()
                for row in batch.rename_columns([str(n) for n in range(len(names))]).to_pylist()
            ]
            await rows.aclose()
            return found

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[LinkService]:
        dsn = conninfo(self.settings, Role.DOOR, **{"vo.data_url": f"{ROOT}/data/"})
        reader = Reader(dsn, size=1, limit_s=30.0)
        try:
            yield LinkService(reader, ROOT)
        finally:
            await reader.aclose()


def made(url: str, home: Path) -> Lab:
    """An archive with two raw frames, a dark (public), and one exposure of two chips."""
    initialise(home, authority="lab")
    lab = Lab(settings_at(url, home))
    upgrade(lab.settings)
    lab.settings.collections.mkdir(parents=True, exist_ok=True)
    for name, text in (("raw", RAW), ("reduced", REDUCED)):
        (lab.settings.collections / f"{name}.yaml").write_text(text)
    lab.write("raw", "R1", FRAMEID="R1", PROPOSAL="P1")
    lab.write("raw", "R2", FRAMEID="R2", PROPOSAL="P1")
    lab.write("raw", "D1", FRAMEID="D1", PROPOSAL="CAL")
    chip = {"EXPOSURE": "E1", "RUN": "night-7", "GITHASH": "3f9c2ab", "DATE": "2020-01-02T03:04:05"}
    lab.write("reduced", "A1", **chip, RAW1="R1.fits", RAW2="/data0/R2.fits", DARK="D1.fits")
    lab.write("reduced", "A2", **chip, RAW1="R2", DARK="D1.fits", CALIB="A1.fits;LOST.fits")
    assert lab.ingest("raw", "reduced") == []
    return lab
