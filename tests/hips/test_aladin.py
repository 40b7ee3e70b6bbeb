"""Aladin itself (Debian: aladin, xvfb) checks and shows a HiPS that is served, and reads a MOC."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.previews.frames import make_archive, take_in, wcs_cards, write
from tests.web.conftest import free_port, serving
from vo_service.services.coverage import refresh_coverage
from vo_service.services.hips import HipsRecipe, build_hips
from vo_service.services.hips_places import place_of
from vo_service.settings import Settings

_JAR = Path("/usr/share/java/aladin.jar")

pytestmark = pytest.mark.skipif(
    not (_JAR.exists() and shutil.which("java") and shutil.which("xvfb-run")),
    reason="Aladin is not here: apt-get install aladin xvfb",
)


@pytest.fixture(scope="module")
def home(database_url: str, place: Path) -> Settings:
    """One frame of 1.5 x 1.5 degrees, bright in the west, brighter in a spot in the north."""
    settings = make_archive(
        database_url, place / "aladin", port=free_port(), previews=False, worker_in_serve=False
    )
    data = np.zeros((300, 300), dtype=np.float32)
    data += np.random.default_rng(2).normal(0, 1, data.shape).astype(np.float32)
    data[:, 200:] += 40.0
    write(settings, "a.fits", data, wcs_cards(60.0, 20.0, data.shape, 0.005))
    take_in(settings)
    build_hips(settings, "drawn", recipe=HipsRecipe(order=5))
    refresh_coverage(settings)
    return settings


def aladin(place: Path, *words: str) -> str:
    command = ("java", f"-Duser.home={place}", "-jar", str(_JAR), *words)
    run = subprocess.run(
        ["xvfb-run", "-a", *command], capture_output=True, text=True, timeout=120, check=False
    )
    return run.stdout + run.stderr


def scripted(place: Path, script: str) -> str:
    quiet = ("-local", "-nogui", "-noreleasetest", "-nosamp", "-nolog")
    return aladin(place, *quiet, f"-script={script};quit")


def test_hipsgen_finds_it_compatible_with_hips_1(home: Settings, tmp_path: Path) -> None:
    tiles = place_of(home, "drawn").current / "tiles"
    said = aladin(tmp_path, "-hipsgen", "LINT", f"out={tiles}/")
    assert "is IVOA HiPS 1.0 compatible" in said, said
    assert '"Moc.fits" ok' in said
    assert "ERROR" not in said


def test_it_shows_the_sky_as_the_frame_has_it(home: Settings, tmp_path: Path) -> None:
    picture = tmp_path / "shown.png"
    with serving(home):
        url = f"http://localhost:{home.port}/hips/drawn"
        view = "60.0 +20.0;zoom 1deg;sync;pause 5;sync"  # tiles come one after the other
        said = scripted(tmp_path, f"load {url};sync;{view};save {picture}")
    assert picture.exists(), said
    shown = np.asarray(Pillow.open(picture).convert("L")).astype(float)
    # North is up and west is right.
    middle = shown.shape[1] // 2
    west = shown[100:400, middle + 160 : middle + 220].mean()
    east = shown[100:400, middle - 220 : middle - 100].mean()
    assert west > east + 30


def test_it_reads_the_moc(home: Settings, tmp_path: Path) -> None:
    with serving(home):
        moc = httpx.get(f"http://localhost:{home.port}/moc/drawn.fits").content
    (tmp_path / "drawn.fits").write_bytes(moc)
    (tmp_path / "other.fits").write_bytes(moc[2880:])
    good, bad = (
        scripted(tmp_path, f"load {tmp_path / name};sync") for name in ("drawn.fits", "other.fits")
    )
    assert "not recognized" not in good, good
    assert "not recognized" in bad, bad
