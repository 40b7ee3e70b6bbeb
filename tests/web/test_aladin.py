"""Aladin itself loads SIA 2, SIA 1, cone search and TAP; HiPS and MOC: tests/hips."""

from __future__ import annotations

import csv
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import pyvo
from PIL import Image as Pillow

from tests.web.aladin import ABSENT, home_site, scripted
from tests.web.conftest import Archive

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)

RA, DEC, RADIUS = 149.38, 69.65, 0.3
QUERY = "SELECT obs_id, s_ra, s_dec FROM ivoa.obscore WHERE instrument_name = 'TriCCS'"


def rows(file: Path) -> list[dict[str, str]]:
    """A table as Aladin exports it: names, a line of dashes, values."""
    first, _, *others = file.read_text().splitlines()
    return list(csv.DictReader([first, *others], delimiter="\t"))


def test_it_loads_searches_of_all_kinds_and_shows_them(archive: Archive, tmp_path: Path) -> None:
    url = archive.url
    loaded = {
        "sia": f"load {url}/sia2/query?POS=" + quote(f"CIRCLE {RA} {DEC} {RADIUS}"),
        "cone": f"load {url}/scs/ivoa.obscore?RA={RA}&DEC={DEC}&SR={RADIUS}",
        "tap": f"load {url}/tap/sync?LANG=ADQL&QUERY=" + quote(QUERY),
        "old": f"get OurImages {RA} +{DEC} 18'",
    }
    with home_site(f"{url}/sia/query") as proxy:
        said = scripted(
            tmp_path, proxy,
            *(f"{name} = {command};sync" for name, command in loaded.items()),
            *(f"export {name} {tmp_path / name}.tsv" for name in loaded),
            "hide tap", f"{RA} +{DEC};zoom 1deg;sync", f"save {tmp_path / 'shown.png'}",
        )  # fmt: skip
    for name in loaded:
        assert (tmp_path / f"{name}.tsv").exists(), said
    found = {name: rows(tmp_path / f"{name}.tsv") for name in loaded}
    images = pyvo.dal.SIA2Service(f"{url}/sia2").search(pos=(RA, DEC, RADIUS))
    assert sorted(row["obs_publisher_did"] for row in found["sia"]) == sorted(
        images["obs_publisher_did"]
    )
    assert len(found["sia"]) == 18
    assert {row["obs_publisher_did"] for row in found["cone"]} <= {
        row["obs_publisher_did"] for row in found["sia"]
    }
    by_tap = pyvo.dal.TAPService(f"{url}/tap").search(QUERY)
    assert sorted(row["obs_id"] for row in found["tap"]) == sorted(by_tap["obs_id"])
    assert len(found["old"]) == 18
    # Where the frames are, something is drawn; east, south and west of them nothing is.
    shown = np.asarray(Pillow.open(tmp_path / "shown.png").convert("RGB")).astype(int)
    coloured = (shown.max(axis=2) - shown.min(axis=2) > 60)[60:450]
    middle = coloured[100:250, 200:320]
    assert middle.sum() > 100
    assert coloured[:, 350:480].sum() == 0
