"""HiPS of an archive: built, resumed after kill -9, grown, mended, served."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from astropy import units as u
from astropy.io import fits
from mocpy import MOC
from PIL import Image as Pillow

from tests.hips.test_tiles import smooth
from tests.previews.frames import make_archive, product_id, take_in, wcs_cards, write
from tests.web.conftest import free_port, serving
from vo_service.db.connect import Role, conninfo
from vo_service.errors import ConfigError, NotFoundError, TransientError
from vo_service.imaging.hips_tiles import read_tile, tile_directions
from vo_service.services.hips import HipsRecipe, build_hips, mend_hips, remove_hips
from vo_service.services.hips_places import hips_names, place_of
from vo_service.services.publication import withdraw
from vo_service.settings import Settings

ORDER = 4
_SHAPE = (300, 400)

#: Two frames that overlap, and one far away: names and centres.
FIELDS = {"one": (60.0, 10.0), "two": (60.5, 10.0), "far": (200.0, -30.0)}
_RECIPE = HipsRecipe(order=ORDER)


def draw(settings: Settings, name: str, ra: float, dec: float, **more: Any) -> None:
    data = smooth(*_SHAPE) + 100.0 * len(name)
    write(settings, f"{name}.fits", data, wcs_cards(ra, dec, _SHAPE, 0.005), **more)


@pytest.fixture
def home(own_database_url: str, place: Path, request: pytest.FixtureRequest) -> Settings:
    home = place / f"hips-{abs(hash(request.node.nodeid))}"
    settings = make_archive(
        own_database_url, home, port=free_port(), previews=False, worker_in_serve=False
    )
    for name, (ra, dec) in FIELDS.items():
        draw(settings, name, ra, dec)
    draw(settings, "closed", 100.0, 50.0, night="2999-01-01")
    take_in(settings)
    return settings


def tiles(settings: Settings, name: str = "drawn") -> dict[str, Path]:
    """Files of what is served, by their paths."""
    root = place_of(settings, name).current / "tiles"
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}


def content(settings: Settings) -> dict[str, bytes]:
    return {
        name: path.read_bytes() for name, path in tiles(settings).items() if name != "properties"
    }


def value_at(settings: Settings, ra: float, dec: float) -> float:
    """The value of the pixel of the deepest tile that holds a position; NaN where none is."""
    vector = np.array(
        [np.cos(np.radians(dec)) * np.cos(np.radians(ra)),
         np.cos(np.radians(dec)) * np.sin(np.radians(ra)), np.sin(np.radians(dec))]
    )  # fmt: skip
    moc = MOC.from_lonlat(lon=[ra] * u.deg, lat=[dec] * u.deg, max_norder=ORDER)
    [tile] = (int(number) for number in moc.flatten())
    root = place_of(settings, "drawn").current / "tiles"
    made = read_tile(root / f"Norder{ORDER}/Dir0/Npix{tile}.fits")
    if made is None:
        return float("nan")
    nearest = int((tile_directions(ORDER, tile) @ vector).argmax())
    return float(made.ravel()[nearest])


def test_a_build_shows_public_frames_and_no_others(home: Settings) -> None:
    stages: list[tuple[str, int]] = []
    counted: list[int] = []
    built = build_hips(
        home, "drawn", recipe=_RECIPE,
        stage=lambda *said: stages.append(said), done=lambda: counted.append(1),
    )  # fmt: skip
    assert (built.published, built.frames, built.problems) == (True, 3, [])
    assert [name for name, _ in stages] == ["tile", "parent", "picture"]
    assert len(counted) > built.tiles
    # The value at a frame's centre (pixel 200, 150 from 1) is that of its middle.
    middle = smooth(*_SHAPE)[149:151, 199:201].mean()
    assert value_at(home, *FIELDS["far"]) == pytest.approx(middle + 300, abs=0.3)
    assert np.isnan(value_at(home, 100.0, 50.0))
    for order in range(ORDER + 1):
        assert any(name.startswith(f"Norder{order}/Dir0/Npix") for name in tiles(home))
    for name in [name for name in tiles(home) if name.endswith(".png") and "Npix" in name]:
        made = read_tile(tiles(home)[name.replace(".png", ".fits")])
        picture = np.asarray(Pillow.open(tiles(home)[name]))
        assert made is not None
        np.testing.assert_array_equal(picture[..., 1] == 255, np.isfinite(made[::-1]))
    assert Pillow.open(tiles(home)["Norder3/Allsky.png"]).size == (27 * 64, 29 * 64)


def test_moc_fits_covers_the_frames_and_little_more(home: Settings) -> None:
    build_hips(home, "drawn", recipe=_RECIPE)
    moc = MOC.from_fits(str(tiles(home)["Moc.fits"]))
    assert moc.max_order <= ORDER + 3
    ra, dec = (np.array(column) for column in zip(*FIELDS.values(), strict=True))
    assert moc.contains_lonlat(ra * u.deg, dec * u.deg).all()
    assert not moc.contains_lonlat([100.0, 130.0] * u.deg, [50.0, 10.0] * u.deg).any()
    area = (2.0 * 1.5 * 3 - 1.5 * 1.5) / 41252.96
    assert area < moc.sky_fraction < 2.2 * area  # cells of 0.46 degrees


def test_the_properties_have_every_key_that_is_required(home: Settings) -> None:
    build_hips(home, "drawn", recipe=_RECIPE)
    said = {
        key.strip(): value.strip()
        for key, _, value in (
            line.partition("=") for line in tiles(home)["properties"].read_text().splitlines()
        )
    }
    expected = {
        "creator_did": "ivo://vo-service.example/hips/drawn",
        "obs_title": "Frames that a test draws",
        "dataproduct_type": "image",
        "hips_version": "1.4",
        "hips_status": "public master clonableOnce",
        "hips_tile_format": "png fits",
        "hips_order": "4",
        "hips_frame": "equatorial",
        "hips_tile_width": "512",
    }
    assert {key: said[key] for key in expected} == expected
    assert len(said["hips_release_date"]) == len("2026-01-01T00:00Z")
    low, high = map(float, said["hips_pixel_cut"].split())
    assert 300 < low < high < 600
    # The first view is in the middle of the two frames that overlap.
    assert float(said["hips_initial_ra"]) == pytest.approx(60.25, abs=0.3)
    assert float(said["hips_initial_dec"]) == pytest.approx(10.0, abs=0.3)
    assert float(said["t_min"]) == pytest.approx(51910.5)


def test_a_second_build_changes_nothing(home: Settings) -> None:
    build_hips(home, "drawn", recipe=_RECIPE)
    before = {name: path.stat().st_ino for name, path in tiles(home).items()}
    built = build_hips(home, "drawn")
    assert (built.published, built.tiles) == (False, 0)
    assert {name: path.stat().st_ino for name, path in tiles(home).items()} == before


_KILLED = """
import os, signal, sys
from pathlib import Path
from vo_service.services.hips import HipsRecipe, build_hips
from vo_service.settings import load_settings
left = int(sys.argv[2])
def done():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
build_hips(load_settings(Path(sys.argv[1])), "drawn", recipe=HipsRecipe(order=4), done=done)
"""


def test_a_killed_build_goes_on_where_it_was(home: Settings) -> None:
    whole = build_hips(home, "drawn", recipe=_RECIPE)
    expected = content(home)
    remove_hips(home, "drawn")
    (home.home / "settings.toml").write_text(f'database_url = "{home.database_url}"\n')
    for steps in (2, 9, 5):
        run = subprocess.run(
            [sys.executable, "-c", _KILLED, str(home.home), str(steps)],
            check=False, cwd=Path(__file__).parents[2], timeout=120,
        )  # fmt: skip
        assert run.returncode == -signal.SIGKILL
        assert hips_names(home) == []  # nothing half is ever served
    built = build_hips(home, "drawn", recipe=_RECIPE)
    assert built.published
    assert built.tiles < whole.tiles
    assert content(home) == expected
    assert sorted(path.name for path in place_of(home, "drawn").directory.iterdir()) == [
        ".lock", "build-1", "current",
    ]  # fmt: skip


def test_a_new_night_makes_only_its_tiles_again(home: Settings) -> None:
    build_hips(home, "drawn", recipe=_RECIPE)
    before = {name: path.stat().st_ino for name, path in tiles(home).items()}
    bytes_before = content(home)
    draw(home, "next", 60.4, 11.0, night="2001-01-02")
    take_in(home)
    built = build_hips(home, "drawn")
    assert 0 < built.tiles <= 4
    after = {name: path.stat().st_ino for name, path in tiles(home).items()}
    far = [name for name in before if name.startswith("Norder4/") and
           int(name.split("Npix")[1].split(".")[0]) > 2048]  # fmt: skip
    assert far
    assert all(before[name] == after[name] for name in far)
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    # What is served now is as if all had been built at once.
    grown = content(home)
    cuts = [line for line in tiles(home)["properties"].read_text().splitlines() if "cut" in line]
    assert cuts
    build_hips(home, "drawn", recipe=_RECIPE, again=True)
    fresh = content(home)
    assert {n: c for n, c in fresh.items() if n.endswith(".fits")} == {
        n: c for n, c in grown.items() if n.endswith(".fits")
    }
    assert bytes_before.keys() <= grown.keys()


def test_a_withdrawn_frame_leaves_the_tiles(home: Settings) -> None:
    build_hips(home, "drawn", recipe=_RECIPE)
    assert mend_hips(home, "drawn") is None
    overlap = (60.25, 10.0)
    both = value_at(home, *overlap)
    withdraw(home, [product_id(home, "two.fits")], rule="t", actor="t", reason="t")
    mended = mend_hips(home, "drawn")
    assert mended is not None
    assert mended.published
    assert np.isnan(value_at(home, 61.3, 10.0))
    assert value_at(home, *overlap) != both
    withdraw(home, [product_id(home, "far.fits")], rule="t", actor="t", reason="t")
    mend_hips(home, "drawn")
    assert np.isnan(value_at(home, *FIELDS["far"]))
    far = [name for name in tiles(home) if name.startswith("Norder4/") and "Npix2" in name]
    assert far == []
    moc = MOC.from_fits(str(tiles(home)["Moc.fits"]))
    assert not moc.contains_lonlat([200.0] * u.deg, [-30.0] * u.deg).any()


def test_a_frame_that_cannot_be_read_is_told_and_the_others_are_shown(home: Settings) -> None:
    (home.home / "store" / "one.fits").unlink()
    built = build_hips(home, "drawn", recipe=_RECIPE)
    assert built.published
    assert len(built.problems) == 1
    assert built.problems[0].startswith("drawn/one.fits: ")
    assert np.isfinite(value_at(home, *FIELDS["far"]))


def test_what_cannot_be_built_says_why_and_leaves_nothing(home: Settings) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        build_hips(home, "nothing")
    with pytest.raises(ConfigError, match="name"):
        build_hips(home, "drawn", "../x")
    with pytest.raises(ConfigError, match="gif"):
        build_hips(home, "drawn", recipe=HipsRecipe(form="gif"))
    with pytest.raises(NotFoundError, match="no public image"):
        build_hips(home, "drawn", "other", HipsRecipe(instrument="none"))
    assert hips_names(home) == []
    build_hips(home, "drawn", recipe=_RECIPE)
    with pytest.raises(ConfigError, match="--again"):
        build_hips(home, "drawn", recipe=HipsRecipe(order=5))
    with place_of(home, "drawn").locked(), pytest.raises(TransientError, match="another build"):
        build_hips(home, "drawn")
    with pytest.raises(NotFoundError):
        remove_hips(home, "nothing")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_pictures_in_other_formats(home: Settings, form: str) -> None:
    build_hips(home, "drawn", recipe=HipsRecipe(order=3, form=form))
    ending = {"jpeg": "jpg", "webp": "webp"}[form]
    pictures = [path for name, path in tiles(home).items() if name.endswith(f".{ending}")]
    assert len(pictures) > 4
    assert {Pillow.open(path).format for path in pictures} == {form.upper()}


def test_a_hips_is_served_with_its_list(home: Settings) -> None:
    with serving(home):
        root = f"http://localhost:{home.port}/hips"
        assert httpx.get(f"{root}/hipslist").text == ""
        build_hips(home, "drawn", recipe=_RECIPE)
        [record] = httpx.get(f"{root}/hipslist").text.strip().split("\n\n")
        said = {
            key.strip(): value.strip()
            for key, _, value in (line.partition("=") for line in record.splitlines())
        }
        for key in ("creator_did", "hips_release_date", "hips_service_url", "hips_status"):
            assert said[key]
        base = said["hips_service_url"]
        assert base == f"{root}/drawn"
        anywhere = {"Origin": "http://elsewhere.example"}
        for name, path in tiles(home).items():
            answer = httpx.get(f"{base}/{name}", headers=anywhere)
            assert answer.status_code == 200
            assert answer.content == path.read_bytes()
            assert answer.headers["access-control-allow-origin"] == "*"
        etag = {"If-None-Match": answer.headers["etag"]}
        assert httpx.get(f"{base}/{name}", headers=etag).status_code == 304
        assert httpx.get(f"{base}/Moc.fits").headers["content-type"] == "application/fits"
        assert "drawn" in httpx.get(f"{root}/").text
        for name in (
            "../drawn/notes.sqlite", "notes.sqlite", "..%2fnotes.sqlite", "Norder4/Dir0/Npix1.fits",
            "Norder4", ".lock", "Norder4/Dir0/../../../notes.sqlite", "properties%00",
        ):  # fmt: skip
            assert httpx.get(f"{base}/{name}").status_code == 404, name
        assert httpx.get(base).headers["location"] == f"{base}/properties"


def test_closed_rows_are_never_looked_at(own_database_url: str, place: Path) -> None:
    settings = make_archive(own_database_url, place / "hips-closed", metadata="closed")
    draw(settings, "closed", 100.0, 50.0, night="2999-01-01")
    take_in(settings)
    with pytest.raises(NotFoundError):
        build_hips(settings, "drawn")
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        assert connection.execute("SELECT count(*) FROM archive.observation").fetchone() == (0,)


def test_tiles_are_fits_that_others_read(home: Settings) -> None:
    build_hips(home, "drawn", recipe=HipsRecipe(order=3))
    for name, path in tiles(home).items():
        if name.endswith(".fits") and "Npix" in name:
            with fits.open(path) as hdus:
                hdus.verify("exception")
                assert hdus[0].header["BITPIX"] == -32
                assert hdus[0].data.shape == (512, 512)
