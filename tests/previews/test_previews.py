"""Previews of an archive: made once, shown to who may have the file, gone with it."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image as Pillow

from tests.people import bearer, known_person
from tests.previews.frames import make_archive, product_id, take_in, wcs_cards, write
from tests.web.conftest import free_port, serving
from vo_service.db.connect import Role, conninfo
from vo_service.db.previews import PreviewStore, want_again
from vo_service.errors import NotFoundError
from vo_service.services.previews import make_previews, preview_failures, preview_file
from vo_service.services.publication import withdraw
from vo_service.settings import Settings

_NOISE = np.random.default_rng(5).normal(100.0, 3.0, (200, 300)).astype(np.float32)


@pytest.fixture
def home(own_database_url: str, place: Path, request: pytest.FixtureRequest) -> Settings:
    home = place / f"previews-{abs(hash(request.node.nodeid))}"
    settings = make_archive(own_database_url, home, port=free_port(), worker_in_serve=False)
    cards = wcs_cards(10.0, 20.0, _NOISE.shape, 0.001)
    for number in range(4):
        write(settings, f"n{number}.fits", _NOISE + number, cards)
    write(settings, "new.fits", _NOISE, cards, night="2999-01-01")
    take_in(settings)
    return settings


def rows(settings: Settings, columns: str = "count(*)", where: str = "true") -> Any:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        statement = f"SELECT {columns} FROM archive.preview WHERE {where}"
        return connection.execute(statement.encode()).fetchall()


def change(settings: Settings, statement: str) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        connection.execute(statement.encode())


def test_every_file_gets_two_pictures_and_only_once(home: Settings) -> None:
    outcome = make_previews(home)
    assert (outcome.made, outcome.failed) == (5, 0)
    assert make_previews(home).made == 0
    for name in ("n0.fits", "new.fits"):
        for thumbnail, size in ((True, (128, 85)), (False, (300, 200))):
            file = preview_file(home, product_id(home, name), thumbnail=thumbnail)
            assert Pillow.open(file).size == size
    assert make_previews(home, again=True).made == 5
    assert not list((home.home / "previews").rglob(".*"))


def test_two_makers_share_the_work_and_make_none_twice(home: Settings) -> None:
    outcomes: list[int] = []

    def work() -> None:
        outcomes.append(make_previews(home).made)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcomes) == 5
    assert rows(home, "max(attempts)") == [(1,)]


def test_a_broken_file_is_noted_once_with_its_reason(home: Settings) -> None:
    source = home.home / "store" / "n1.fits"
    os.truncate(source, 5000)
    outcome = make_previews(home)
    assert (outcome.made, outcome.failed) == (4, 1)
    assert make_previews(home).failed == 0
    [(place, reason)] = preview_failures(home, None, 10)
    assert place == "drawn/n1.fits"
    assert "not now the file that was archived" in reason
    assert str(home.home) not in reason


def test_what_kills_its_maker_is_given_up_after_three_times(home: Settings) -> None:
    for _ in range(3):
        with psycopg.connect(conninfo(home, Role.WRITER), autocommit=True) as connection:
            store = PreviewStore(connection)
            claimed = [store.claim() for _ in range(5)]
            assert None not in claimed
            assert store.claim() is None  # all are somebody's
        change(home, "UPDATE archive.preview SET begun = now() - interval '1 hour'")
    assert make_previews(home).made == 0
    assert rows(home, where="reason LIKE 'begun 3 times%'") == [(5,)]


def test_an_interrupted_maker_gives_back_what_it_had(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vo_service.services.previews.preview_of", stop)
        with pytest.raises(KeyboardInterrupt):
            make_previews(home)
    assert rows(home, where="begun IS NOT NULL OR attempts > 0") == [(0,)]
    assert make_previews(home).made == 5


def test_a_new_version_gets_new_pictures_and_the_old_ones_go(home: Settings) -> None:
    make_previews(home)
    before = product_id(home, "n2.fits")
    old = preview_file(home, before, thumbnail=False).read_bytes()
    write(home, "n2.fits", _NOISE[:100] ** 2, wcs_cards(10.0, 20.0, (100, 300), 0.001))
    take_in(home)
    assert make_previews(home).made == 1
    assert not preview_file(home, before, thumbnail=False).exists()
    after = product_id(home, "n2.fits")
    assert preview_file(home, after, thumbnail=False).read_bytes() != old
    assert rows(home, where=f"product_id = {before}") == [(0,)]


def test_a_withdrawn_file_loses_its_pictures(home: Settings) -> None:
    make_previews(home)
    number = product_id(home, "n3.fits")
    withdraw(home, [number], rule="test", actor="test", reason="a test")
    make_previews(home)
    assert not preview_file(home, number, thumbnail=True).exists()
    assert rows(home) == [(4,)]


def test_after_a_correction_pictures_are_made_again(home: Settings) -> None:
    make_previews(home)
    with psycopg.connect(conninfo(home, Role.WRITER)) as connection:
        want_again(connection, [product_id(home, "n0.fits")])
    assert make_previews(home).made == 1


def test_an_unknown_collection_is_an_error(home: Settings) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        make_previews(home, collection="nothing")


@dataclass(frozen=True)
class Served:
    settings: Settings
    url: str


@pytest.fixture
def served(home: Settings) -> Iterator[Served]:
    make_previews(home)
    with serving(home):
        yield Served(home, f"http://localhost:{home.port}/previews/drawn")


def test_who_may_have_the_file_may_see_the_picture(served: Served) -> None:
    settings, url = served.settings, served.url
    answer = httpx.get(f"{url}/n0.fits.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "public, no-cache"
    assert Pillow.open(io.BytesIO(answer.content)).size == (300, 200)
    again = httpx.get(f"{url}/n0.fits.png", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    small = httpx.get(f"{url}/n0.fits.thumb.png")
    assert Pillow.open(io.BytesIO(small.content)).size == (128, 85)

    assert httpx.get(f"{url}/new.fits.png").status_code == 401
    other = bearer(known_person(settings, "berta", "p2"))
    assert httpx.get(f"{url}/new.fits.png", headers=other).status_code == 403
    member = bearer(known_person(settings, "anna", "p1"))
    mine = httpx.get(f"{url}/new.fits.png", headers=member)
    assert (mine.status_code, mine.headers["cache-control"]) == (200, "private, no-cache")

    withdraw(settings, [product_id(settings, "n0.fits")], rule="t", actor="t", reason="t")
    assert httpx.get(f"{url}/n0.fits.png").status_code == 404

    for path in ("n0.fits", "nothing.fits.png", "..%2f..%2fsettings.toml.png", ".png", "%00.png"):
        answer = httpx.get(f"{url}/{path}")
        assert answer.status_code == 404
        assert "Traceback" not in answer.text
        assert str(settings.home) not in answer.text
