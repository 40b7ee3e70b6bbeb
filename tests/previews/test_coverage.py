"""MOCs of collections against brute force over footprints, fresh after each kind of change."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import healpy
import httpx
import numpy as np
import psycopg
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from mocpy import MOC, STMOC

from tests.previews.frames import make_archive, product_id, take_in, wcs_cards, write
from tests.web.conftest import free_port, serving
from vo_service.db.connect import Role, conninfo
from vo_service.imaging.shapes import distance_from, unit_vectors
from vo_service.model.region import Point, Polygon
from vo_service.services import coverage as module
from vo_service.services.coverage import coverage, moc_of_footprints, refresh_coverage, written_moc
from vo_service.services.publication import withdraw
from vo_service.settings import Settings

#: Centres of frames of 0.3 x 0.2 degrees, or 3 x 2 at the pole: over 0h, near a pole, elsewhere.
FIELDS = {"a": (359.95, 10.0), "b": (120.0, -45.0), "c": (200.0, 89.7), "d": (120.1, -45.05)}

#: Half the diagonal of cells of order 12 and 10, and a bit, in degrees.
_NEAR_12, _NEAR_10 = 0.02, 0.08


@pytest.fixture
def home(own_database_url: str, place: Path, request: pytest.FixtureRequest) -> Settings:
    home = place / f"coverage-{abs(hash(request.node.nodeid))}"
    settings = make_archive(
        own_database_url, home, port=free_port(), previews=False, worker_in_serve=False
    )
    for name, (ra, dec) in FIELDS.items():
        draw(settings, name, ra, dec, night=f"2001-01-0{'abcd'.index(name) + 1}")
    take_in(settings)
    return settings


def draw(settings: Settings, name: str, ra: float, dec: float, night: str) -> None:
    data = np.zeros((20, 30), dtype=np.int16)
    write(settings, f"{name}.fits", data, wcs_cards(ra, dec, data.shape, 0.01), night=night)


def footprints(settings: Settings) -> list[Any]:
    """Functions that give the distance to each footprint that is open, in degrees."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        texts = connection.execute("SELECT s_region FROM archive.observation").fetchall()
    shapes = []
    for (text,) in texts:
        numbers = [float(word) for word in text.split()[2:]]
        vertices = tuple(Point(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
        shapes.append(distance_from(Polygon(vertices)))
    return shapes


def agrees(settings: Settings, text: str, near: float = _NEAR_12) -> None:
    """What lies in a footprint is in the MOC, what lies away from all is not."""
    moc = MOC.from_string(text)
    rng = np.random.default_rng(3)
    around = [
        (ra + rng.normal(0, 0.4, 3000) / np.cos(np.radians(dec)), dec + rng.normal(0, 0.3, 3000))
        for ra, dec in FIELDS.values()
    ]
    ra = np.concatenate([r for r, _ in around]) % 360.0
    dec = np.clip(np.concatenate([d for _, d in around]), -90, 90)
    distances = np.min(
        [np.full(len(ra), 9.0), *(shape(unit_vectors(ra, dec)) for shape in footprints(settings))],
        axis=0,
    )
    there = moc.contains_lonlat(ra * u.deg, dec * u.deg)
    assert there[distances < 0].all()
    assert not there[distances > near].any()


def kept(settings: Settings, collection: str = "drawn") -> Any:
    found = coverage(settings, collection)
    assert found is not None
    return found


def test_a_collection_is_covered_where_its_footprints_are(home: Settings) -> None:
    assert coverage(home, "drawn") is None
    assert refresh_coverage(home) == 4
    agrees(home, kept(home).space)
    assert kept(home, "all").space == kept(home).space
    area = 4 * 0.3 * 0.2 / 41252.96  # 4 frames; two share a third or so
    assert 0.6 * area < MOC.from_string(kept(home).space).sky_fraction < 1.3 * area
    assert refresh_coverage(home) == 0


def test_what_comes_is_added_and_what_goes_is_taken_out(home: Settings) -> None:
    refresh_coverage(home)
    draw(home, "e", 300.0, 0.0, night="2001-01-02")
    take_in(home)
    assert refresh_coverage(home) == 1
    with_e = MOC.from_string(kept(home).space)
    assert with_e.contains_lonlat([300.0] * u.deg, [0.0] * u.deg).all()
    agrees(home, with_e.difference(moc_around(300.0, 0.0)).to_string("ascii"))

    withdraw(home, [product_id(home, "e.fits")], rule="t", actor="t", reason="t")
    assert refresh_coverage(home) == 1
    agrees(home, kept(home).space)
    for name in FIELDS:
        withdraw(home, [product_id(home, f"{name}.fits")], rule="t", actor="t", reason="t")
    assert refresh_coverage(home) == 4
    assert MOC.from_string(kept(home).space).empty()


def moc_around(ra: float, dec: float) -> MOC:
    return MOC.from_cone(lon=ra * u.deg, lat=dec * u.deg, radius=1 * u.deg, max_depth=12)


def test_increments_give_what_a_computation_from_the_start_gives(home: Settings) -> None:
    for number in range(6):
        draw(home, f"more{number}", 40.0 + number / 8, 5.0, night="2001-02-01")
        take_in(home)
        refresh_coverage(home)
    by_increments = kept(home)
    with psycopg.connect(conninfo(home, Role.OWNER)) as owner:
        owner.execute("DELETE FROM archive.coverage_day")
        owner.execute(
            "INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id) "
            "SELECT DISTINCT 'drawn', archive.day_of(t_min), true, 0, 0 FROM archive.observation"
        )
    refresh_coverage(home)
    assert MOC.from_string(kept(home).space) == MOC.from_string(by_increments.space)
    assert STMOC.from_string(kept(home).space_time) == STMOC.from_string(by_increments.space_time)


def test_times_are_those_of_the_frames(home: Settings) -> None:
    refresh_coverage(home)
    both = STMOC.from_string(kept(home).space_time)
    for name, (ra, dec) in FIELDS.items():
        start = Time(f"2001-01-0{'abcd'.index(name) + 1}T12:00:00", scale="utc")
        # Cells are 18 minutes long, and the frame lasts 14.4.
        for minutes, expected in ((7, True), (-19, False), (34, False), (24 * 60, False)):
            moment = start + minutes * u.min
            found = both.contains(
                Time([moment]), [ra] * u.deg, [dec] * u.deg
            )[0]  # fmt: skip
            if name != "b" or minutes < 1000:
                assert found == expected, (name, minutes)


def test_a_frame_that_nobody_may_know_of_is_in_no_moc(own_database_url: str, place: Path) -> None:
    settings = make_archive(own_database_url, place / "coverage-closed", metadata="closed")
    draw(settings, "open", 10.0, 10.0, night="2001-01-01")
    draw(settings, "closed", 50.0, 10.0, night="2999-01-01")
    take_in(settings)
    refresh_coverage(settings)
    moc = MOC.from_string(kept(settings).space)
    assert moc.contains_lonlat([10.0, 50.0] * u.deg, [10.0, 10.0] * u.deg).tolist() == [True, False]


def test_frames_of_before_the_upgrade_are_covered_too(home: Settings) -> None:
    """What the upgrade writes into the list of changes is what a first look needs."""
    with psycopg.connect(conninfo(home, Role.OWNER)) as owner:
        owner.execute("TRUNCATE archive.coverage_change, archive.coverage_day, archive.coverage")
        owner.execute(
            "INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id) "
            "SELECT p.collection, archive.day_of(o.t_min), true, 0, 0 "
            "FROM archive.observation o JOIN archive.product p USING (product_id) GROUP BY 1, 2"
        )
    assert refresh_coverage(home) == 4
    agrees(home, kept(home).space)


def test_one_process_refreshes_at_a_time(home: Settings) -> None:
    with psycopg.connect(conninfo(home, Role.WRITER)) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('coverage'), 0)")
        assert refresh_coverage(home) == 0
    assert refresh_coverage(home) == 4


def test_the_size_is_bounded_and_a_coarser_moc_covers_more(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_coverage(home)
    fine = kept(home)
    monkeypatch.setattr(module, "_LONGEST", 800)
    with psycopg.connect(conninfo(home, Role.OWNER)) as owner:
        owner.execute(
            "INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id) "
            "SELECT 'drawn', day, true, 0, 0 FROM archive.coverage_day"
        )
    refresh_coverage(home)
    coarse = kept(home)
    assert len(coarse.space) <= 800
    assert len(coarse.space_time) <= 800
    assert MOC.from_string(fine.space).difference(MOC.from_string(coarse.space)).empty()


def test_circles_and_bare_positions_have_cells() -> None:
    circle, point, nothing = moc_of_footprints(
        [("CIRCLE ICRS 10 20 0.5", 10.0, 20.0), (None, 30.0, -5.0), (None, None, None)]
    )
    assert nothing is None
    assert circle is not None
    assert circle.sky_fraction * 41252.96 == pytest.approx(np.pi * 0.25, rel=0.05)
    assert point is not None
    [cell] = point.flatten()
    assert cell == healpy.ang2pix(4096, 30.0, -5.0, nest=True, lonlat=True)


@pytest.fixture
def served(home: Settings) -> Iterator[str]:
    refresh_coverage(home)
    with serving(home):
        yield f"http://localhost:{home.port}/moc"


def test_all_forms_say_the_same(home: Settings, served: str) -> None:
    moc = MOC.from_string(kept(home).space)
    answers = {form: httpx.get(f"{served}/drawn{form}") for form in ("", ".fits", ".json", ".txt")}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers[""].content == answers[".fits"].content
    assert answers[".fits"].headers["content-type"] == "application/fits"
    with fits.open(io.BytesIO(answers[".fits"].content)) as hdus:
        header = hdus[1].header
        assert header["ORDERING"] == "NUNIQ"
        assert header["COORDSYS"] == "C"
        uniq = np.asarray(hdus[1].data.field(0), dtype=np.int64)
    order = (np.log2(uniq // 4) // 2).astype(int)
    cells = uniq - 4 * 4**order
    flat = {
        int(n) for k, c in zip(order, cells, strict=True)
        for n in range(c << 2 * (12 - k), (c + 1) << 2 * (12 - k))
    }  # fmt: skip
    assert flat == set(moc.flatten().tolist())
    assert MOC.from_string(answers[".json"].text, "json") == moc
    assert {int(key) for key in json.loads(answers[".json"].text)} <= set(range(13))
    assert MOC.from_string(answers[".txt"].text) == moc
    assert httpx.get(f"{served}/all.txt").text == answers[".txt"].text
    both = httpx.get(f"{served}/drawn.time.txt")
    assert STMOC.from_string(both.text) == STMOC.from_string(kept(home).space_time)
    with fits.open(io.BytesIO(httpx.get(f"{served}/drawn.time").content)) as hdus:
        assert (hdus[1].header["MOCDIM"], hdus[1].header["TIMESYS"]) == ("TIME.SPACE", "TCB")

    tag = answers[".txt"].headers["etag"]
    again = httpx.get(f"{served}/drawn.txt", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    anywhere = httpx.get(f"{served}/drawn.txt", headers={"Origin": "http://elsewhere.example"})
    assert anywhere.headers["access-control-allow-origin"] == "*"
    assert "drawn.json" in httpx.get(f"{served}/").text
    for name in ("nothing", "drawn.xml", "drawn%00", "%2e%2e", "drawn.time.x"):
        assert httpx.get(f"{served}/{name}").status_code == 404


def test_fits_without_time_is_for_readers_of_moc_1() -> None:
    text = "5/1-3 12/"
    with fits.open(io.BytesIO(written_moc(text, "fits", with_time=False))) as hdus:
        assert hdus[1].data.field(0).tolist() == [4 * 4**5 + n for n in (1, 2, 3)]
