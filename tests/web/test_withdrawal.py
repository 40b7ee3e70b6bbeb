"""What a reader sees of files that are withdrawn, expire, or change behind the archive's back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.archive.toy import ask, faults, ingest_toys, toy_file, write_collection, write_toys
from tests.support import settings_at
from tests.web.conftest import free_port, serving
from vo_service.db.schema import upgrade
from vo_service.services.expiry import expire
from vo_service.services.publication import publish, withdraw
from vo_service.settings import Settings

#: Larger than what sockets hold between a server and a client that does not read.
LARGE = 64_000_000


@pytest.fixture(scope="module")
def served(database_url: str, place: Path) -> Iterator[Settings]:
    """Frames that are public; the first two are large."""
    home = place / "withdrawal"
    settings = settings_at(database_url, home, port=free_port())
    upgrade(settings)
    root = write_collection(settings, more="lifetime_days: 9.5\nexpired_files: delete\n")
    (home / "settings.toml").write_text("")
    write_toys(root, range(2, 10))
    write_toys(root, range(2), pixels=LARGE)
    ingest_toys(settings, root)
    publish(settings, [product_id(settings, n) for n in range(10)], rule="test", actor="test")
    with serving(settings):
        yield settings


@pytest.fixture(scope="module")
def http(served: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.root_url, timeout=30) as client:
        yield client


def product_id(settings: Settings, number: int) -> int:
    [(found,)] = ask(settings, "SELECT product_id FROM archive.product WHERE path = %s", at(number))
    return int(found)


def at(number: int) -> str:
    return f"n{number // 10:03d}/toy{number:05d}.fits"


def take_back(settings: Settings, number: int) -> None:
    done = withdraw(
        settings, [product_id(settings, number)], rule="test", actor="test", reason="test"
    )
    assert (done.count, done.problems) == (1, [])


def addresses(http: httpx.Client, number: int) -> list[str]:
    """Addresses in the ObsCore rows of a frame."""
    query = f"SELECT access_url FROM ivoa.obscore WHERE obs_id = 'T{number:05d}'"
    form = {"LANG": "ADQL", "QUERY": query, "FORMAT": "csv"}
    lines = http.post("/tap/sync", data=form).raise_for_status().text.split("\r\n")[1:-1]
    return [line.strip('"') for line in lines]


def test_a_download_under_way_stops_when_its_file_is_withdrawn(
    served: Settings, http: httpx.Client
) -> None:
    with http.stream("GET", f"/data/toy/{at(0)}") as response:
        chunks = response.iter_raw(1000)
        next(chunks)
        thread = threading.Thread(target=take_back, args=(served, 0))
        thread.start()
        thread.join()
        time.sleep(2)  # the server stops by itself; nothing is read until then
        received: list[int] = []
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(map(len, chunks))
        assert sum(received) < LARGE / 2
    assert http.get(f"/data/toy/{at(0)}").status_code == 404


def test_a_download_of_another_file_goes_on(served: Settings, http: httpx.Client) -> None:
    with http.stream("GET", f"/data/toy/{at(1)}") as response:
        chunks = response.iter_raw(1000)
        received = len(next(chunks))
        take_back(served, 2)
        time.sleep(1)
        received += sum(map(len, chunks))
    assert received == int(response.headers["Content-Length"]) > LARGE


def test_a_hidden_row_is_gone_for_everybody(served: Settings, http: httpx.Client) -> None:
    assert len(addresses(http, 3)) == 1
    take_back(served, 3)
    assert addresses(http, 3) == []
    assert "no file" in http.get(f"/data/toy/{at(3)}").text


def test_a_row_that_is_kept_has_no_address(served: Settings, http: httpx.Client) -> None:
    write_collection(served, more="withdrawn: keep\nlifetime_days: 9.5\nexpired_files: delete\n")
    ingest_toys(served, served.home / "store")
    take_back(served, 4)
    assert addresses(http, 4) == [""]
    answer = http.get(f"/data/toy/{at(4)}")
    assert answer.status_code == 404
    assert "was withdrawn" in answer.text


def test_a_file_that_was_cut_is_not_served_as_a_short_one(
    served: Settings, http: httpx.Client
) -> None:
    file = toy_file(served.home / "store", 5)
    content, times = file.read_bytes(), file.stat()
    file.write_bytes(b"")
    answer = http.get(f"/data/toy/{at(5)}")
    assert answer.status_code == 503
    assert "is not now the file that was archived" in answer.text
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert http.get(f"/data/toy/{at(5)}").content == content


def test_a_link_whose_target_vanished_answers_404(served: Settings, http: httpx.Client) -> None:
    file = toy_file(served.home / "store", 6)
    hidden = file.rename(file.with_suffix(".away"))
    assert http.get(f"/data/toy/{at(6)}").status_code == 404
    hidden.rename(file)
    assert http.get(f"/data/toy/{at(6)}").status_code == 200


def test_what_has_expired_says_so_everywhere(served: Settings, http: httpx.Client) -> None:
    """Runs last: it ends the life of all."""
    now = datetime.now(UTC)
    assert expire(served, now + timedelta(days=9.4), actor="t")[0].count == 0
    outcome, deleted = expire(served, now + timedelta(days=9.6), actor="t")
    assert (outcome.count, deleted, outcome.problems) == (6, 6, [])
    assert faults(served) == []
    answer = http.get(f"/data/toy/{at(7)}")
    assert answer.status_code == 410
    assert "lifetime of files of its collection is over" in answer.text
    assert addresses(http, 7) == [""]
    did = f"ivo://vo-service.example/toy?{at(7)}"
    links = http.get("/datalink/links", params={"ID": did})
    assert "NotFoundFault: not kept any more" in links.text
    assert not toy_file(served.home / "store", 7).exists()
    assert toy_file(served.home / "store", 3).exists()
    assert expire(served, now + timedelta(days=99), actor="t")[0].count == 0
