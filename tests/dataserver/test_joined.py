"""A data server that reaches the centre's database, and a centre that leaves files to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.dataserver.conftest import ALICE, CLOSED, OPEN, make_centre, make_data_server
from tests.web.conftest import free_port, serving
from vo_service.services.dataservers import make_links, public_list
from vo_service.services.publication import withdraw
from vo_service.services.signing import SignedLinks
from vo_service.settings import Settings


@dataclass(frozen=True)
class Joined:
    """A data server with the centre's database; the centre itself is not up."""

    centre: Settings
    data: Settings
    frames: Path
    url: str

    def signed(self, path: str) -> str:
        return f"{self.url}{path}?{SignedLinks(self.centre.signing_keys).sign(path, 900)}"

    def content(self, path: str) -> bytes:
        return (self.frames / path.partition("/")[2]).read_bytes()


@pytest.fixture(scope="module")
def joined(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, frames: Path
) -> Iterator[Joined]:
    port = free_port()
    centre = make_centre(database_url, tmp_path_factory.mktemp("centre"), frames, port)
    data = make_data_server(centre, tmp_path_factory.mktemp("data"), port)
    data = data.model_copy(update={"database_url": database_url})
    assert make_links(data, "triccs", public_list(data, "triccs")).made == 10
    with serving(data):
        yield Joined(centre, data, frames, f"http://localhost:{port}/data/")


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def test_it_knows_people_as_the_centre_does(joined: Joined, http: httpx.Client) -> None:
    assert http.get(joined.url + OPEN).content == joined.content(OPEN)
    nobody = http.get(joined.url + CLOSED)
    assert nobody.status_code == 401
    assert "Basic realm=" in nobody.headers["WWW-Authenticate"]
    assert http.get(joined.url + CLOSED, auth=ALICE).content == joined.content(CLOSED)
    assert http.get(f"http://localhost:{joined.data.port}/health").text == "well\n"


def test_a_signed_link_needs_no_name(joined: Joined, http: httpx.Client) -> None:
    assert http.get(joined.signed(CLOSED)).content == joined.content(CLOSED)
    other = joined.signed(CLOSED).replace("TRCS00300001", "TRCS00300002")
    assert http.get(other).status_code == 403


def test_what_it_sends_is_in_the_centres_log(joined: Joined, http: httpx.Client) -> None:
    path = "triccs/2021/11/09/TRCS00112241.fits"
    http.get(joined.url + path, headers={"Range": "bytes=0-99"}, auth=ALICE)
    http.get(joined.url + path)
    http.head(joined.url + path)
    tag = http.head(joined.url + path).headers["ETag"]
    assert http.get(joined.url + path, headers={"If-None-Match": tag}).status_code == 304
    assert http.get(joined.url + path, headers={"Range": "bytes=999999999-"}).status_code == 416
    deadline = time.monotonic() + 60
    found: list[tuple[object, ...]] = []
    while len(found) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        with psycopg.connect(joined.centre.database_url or "") as connection:
            found = connection.execute(
                "SELECT d.person, d.whole, d.complete, d.bytes, length(d.client) "
                "FROM archive.download d JOIN archive.product USING (product_id) "
                "WHERE path = %s ORDER BY download_id",
                (path.partition("/")[2],),
            ).fetchall()
    size = len(joined.content(path))
    assert found == [("alice", False, True, 100, None), (None, True, True, size, 32)]


def test_a_public_file_needs_its_link_here(joined: Joined, http: httpx.Client) -> None:
    path = "triccs/2021/11/09/TRCS00112242.fits"
    link = joined.data.public / path
    target = os.readlink(link)
    link.unlink()
    try:
        assert http.get(joined.url + path).status_code == 404
    finally:
        link.symlink_to(target)


def test_a_withdrawal_overrides_link_and_signature(joined: Joined, http: httpx.Client) -> None:
    path = "triccs/2021/11/09/TRCS00112243.fits"
    url = joined.signed(path)
    assert http.get(url).status_code == 200
    with psycopg.connect(joined.centre.database_url or "") as connection:
        ids = connection.execute(
            "SELECT product_id FROM archive.product WHERE path = %s", (path.partition("/")[2],)
        ).fetchall()
    numbers = [number for (number,) in ids]
    done = withdraw(joined.centre, numbers, rule="test", actor="test", reason="a fault")
    assert done.count == 1
    assert (joined.data.public / path).is_symlink()
    assert http.get(url).status_code == 404
    assert http.get(joined.url + path).status_code == 404
    done_links = make_links(joined.data, "triccs", public_list(joined.data, "triccs"))
    assert done_links.removed == 1


def command(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_PORT": str(settings.port),
        "VO_DATABASE_URL": settings.database_url or "",
    }
    program = Path(sys.executable).parent / "vo-service"
    return subprocess.run(
        (program, *words), env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_role_api_needs_to_know_who_delivers(joined: Joined) -> None:
    centre = joined.centre.model_copy(update={"port": free_port()})
    done = command(centre, "serve", "--role", "api")
    assert done.returncode == 1
    assert done.stderr.startswith("vo-service: data_url: role api needs the address")
    wrong = command(centre, "serve", "--role", "files")
    assert wrong.returncode == 2
    assert "all" in wrong.stderr


def test_a_centre_that_leaves_files_to_another_machine_sends_clients_on(
    joined: Joined, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = joined.centre.model_copy(update={"port": free_port()})
    monkeypatch.setenv("VO_ROLE", "api")
    monkeypatch.setenv("VO_DATA_URL", joined.url)
    with serving(centre):
        here = f"http://localhost:{centre.port}/data/"
        answer = http.get(here + CLOSED, auth=ALICE)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"{joined.url}{CLOSED}?expires=")
        assert http.get(answer.headers["Location"]).content == joined.content(CLOSED)
        assert http.get(here + OPEN, follow_redirects=True).content == joined.content(OPEN)
        assert http.get(here + CLOSED).status_code == 401
        joined.centre.signing_keys.rename(joined.centre.home / "away")
        try:
            lost = http.get(here + OPEN)
        finally:
            (joined.centre.home / "away").rename(joined.centre.signing_keys)
        assert lost.status_code == 503
        assert str(joined.centre.home) not in lost.text
