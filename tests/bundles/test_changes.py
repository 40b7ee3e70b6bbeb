"""What happens to an archive when the files behind it change, close or go."""

from __future__ import annotations

import os
import socket
import time
import zlib
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.bundles.archive import Frame, add_frame, frame_bytes
from tests.bundles.conftest import Served
from tests.bundles.test_requests import ask

_MIB = 1 << 20


@pytest.fixture
def frames(served: Served, request: pytest.FixtureRequest) -> list[Frame]:
    """Three frames of 300 MB, 300 MB and 700 bytes, of this test alone."""
    name = request.node.name[:40]
    start = 10_000 + zlib.crc32(name.encode()) % 1_000_000 * 10
    made = [
        Frame(start + n, "triccs", f"{name}/{n}.fits", size, 1_500_000_000)
        for n, size in enumerate((300 * _MIB, 300 * _MIB, 700))
    ]
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        for frame in made:
            add_frame(connection, served.settings, frame, served.settings.home / "storage")
    return made


def source(served: Served, frame: Frame) -> Path:
    return served.settings.home / "storage" / frame.name


def withdraw(served: Served, frame: Frame) -> None:
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        connection.execute(
            "UPDATE archive.product SET state = 'withdrawn' WHERE product_id = %s", (frame.number,)
        )
    (served.settings.public / frame.name).unlink()


def read_slowly(url: str, meanwhile: object) -> tuple[int, int]:
    """Bytes announced and bytes got of a body; *meanwhile* is called after the first megabyte."""
    place = httpx.URL(url)
    with socket.create_connection((place.host, place.port or 80)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MIB)
        sock.sendall(f"GET {place.raw_path.decode()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
        got = len(body)
        while got < _MIB:
            got += len(sock.recv(65536))
        assert callable(meanwhile)
        meanwhile()
        time.sleep(1.2)
        while some := sock.recv(_MIB):
            got += len(some)
        return int(headers["content-length"]), got


def test_a_stream_is_cut_when_its_file_is_withdrawn(
    http: httpx.Client, served: Served, frames: list[Frame]
) -> None:
    job = ask(http, ID=[frame.did for frame in frames])
    url = f"{job.url}/results/tar"
    announced, got = read_slowly(url, lambda: withdraw(served, frames[0]))
    assert announced > 600 * _MIB
    assert got < 60 * _MIB
    answer = http.get(url)
    assert answer.status_code == 404
    assert f"{frames[0].name}: withdrawn, replaced or closed" in answer.text
    # What lies behind it can still be had.
    size = int(
        http.get(url, headers={"Range": "bytes=-1"}).headers["content-range"][10:].split("/")[1]
    )
    start = size - 20 * 1024
    answer = http.get(url, headers={"Range": f"bytes={start}-"})
    assert answer.status_code == 206
    assert frame_bytes(frames[2], 0, 64) in answer.content


def test_a_stream_is_cut_when_its_file_changes(
    http: httpx.Client, served: Served, frames: list[Frame]
) -> None:
    job = ask(http, ID=[frame.did for frame in frames])

    def change() -> None:
        with source(served, frames[0]).open("r+b") as file:
            file.seek(200 * _MIB)
            file.write(b"other")

    announced, got = read_slowly(f"{job.url}/results/tar", change)
    assert announced > 600 * _MIB
    assert got < 60 * _MIB


def test_a_file_of_another_time_or_size_is_never_sent(
    http: httpx.Client, served: Served, frames: list[Frame]
) -> None:
    job = ask(http, ID=[frame.did for frame in frames])
    os.utime(source(served, frames[0]), (1, 1))
    url = f"{job.url}/results/tar"
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(url)
    with source(served, frames[1]).open("ab") as file:
        file.write(b"more")
    text = http.get("/sync", params={"ID": frames[1].did}).text
    assert "its file has changed since it was ingested" in text


def test_a_new_version_is_not_put_in_place_of_the_old_one(
    http: httpx.Client, served: Served, frames: list[Frame]
) -> None:
    job = ask(http, ID=frames[2].did)
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        connection.execute(
            "UPDATE archive.product SET current = false, state = 'replaced' WHERE product_id = %s",
            (frames[2].number,),
        )
        new = Frame(frames[2].number + 5, "triccs", frames[2].path, 700, 1_500_000_001)
        add_frame(connection, served.settings, new, served.settings.home / "storage")
    assert http.get(f"{job.url}/results/tar").status_code == 404


def test_limits_are_told(http: httpx.Client, served: Served) -> None:
    answer = http.post("/sync", data={"ID": "\n".join(f"x{n}" for n in range(100_001))})
    assert answer.status_code == 400
    assert "at most 100000 (bundle_members_limit)" in answer.text


def test_a_destroyed_request_is_gone(http: httpx.Client, frames: list[Frame]) -> None:
    job = ask(http, ID=frames[2].did)
    job.delete()
    assert http.get(f"{job.url}/results/tar").status_code == 404
