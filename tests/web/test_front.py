"""Files whose bytes nginx sends: what the application leaves to it, and what a client then gets.

The front is nginx with the configuration of docker/front, started by its own start.sh.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.archive.toy import ask, ingest_toys, toy_file, write_collection, write_toys
from tests.docker.front import FRONT, as_front_user
from tests.support import settings_at
from tests.web.conftest import free_port, serving
from vo_service.db.schema import upgrade
from vo_service.services.publication import publish
from vo_service.settings import Settings

#: Larger than what sockets hold between a server and a client that does not read.
LARGE = 64_000_000


def at(number: int) -> str:
    return f"n{number // 10:03d}/toy{number:05d}.fits"


@pytest.fixture(scope="module")
def served(database_url: str, place: Path) -> Iterator[tuple[Settings, subprocess.Popen[str]]]:
    """Frames 0 (large) to 4 are public, 5 is not; their front is at 127.0.0.1."""
    home = place / "front"
    settings = settings_at(database_url, home, port=free_port())
    upgrade(settings)
    root = write_collection(settings)
    (home / "settings.toml").write_text("")
    write_toys(root, range(1, 6))
    write_toys(root, [0], pixels=LARGE)
    ingest_toys(settings, root)
    public = [product_id(settings, n) for n in range(5)]
    publish(settings, public, rule="test", actor="test")
    with pytest.MonkeyPatch.context() as patch, socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        reports = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        patch.setenv("VO_TRUSTED_PROXIES", '["127.0.0.1"]')
        patch.setenv("VO_ACCEL_PREFIX", "/_files/")
        patch.setenv("VO_ACCEL_REPORTS", reports)
        patch.setenv("VO_DOWNLOAD_LOG", "address")
        patch.setenv("VO_RELEASE_HOUR", "-1")  # frame 5 stays closed, whatever the rules say
        here = settings.model_copy(update={"accel_reports": reports})
        with serving(here) as process:
            yield here, process


def product_id(settings: Settings, number: int) -> int:
    [(found,)] = ask(settings, "SELECT product_id FROM archive.product WHERE path = %s", at(number))
    return int(found)


@pytest.fixture
def settings(served: tuple[Settings, subprocess.Popen[str]]) -> Settings:
    return served[0]


@pytest.fixture
def front(settings: Settings) -> Iterator[httpx.Client]:
    """Somebody at the address of the front."""
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}/data/toy/") as client:
        yield client


def logged(settings: Settings, number: int, count: int) -> list[tuple[Any, ...]]:
    """The log of a frame, as soon as it has so many rows."""
    for _ in range(100):
        rows = ask(
            settings,
            "SELECT whole, complete, bytes, client FROM archive.download"
            " WHERE product_id = %s ORDER BY ended",
            product_id(settings, number),
        )
        if len(rows) >= count:
            return rows
        time.sleep(0.1)
    raise AssertionError(rows)


def test_the_front_is_told_where_the_link_stands(front: httpx.Client) -> None:
    answer = front.get(at(1), headers={"X-Forwarded-For": "192.0.2.9"})
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["x-accel-redirect"] == f"/_files/toy/{at(1)}"
    assert answer.headers["content-type"] == "image/fits"  # RFC 4047: one image
    assert answer.headers["etag"].startswith('"')


def test_one_range_is_left_to_the_front(front: httpx.Client) -> None:
    answer = front.get(at(1), headers={"Range": "bytes=5-9"})
    assert answer.headers["x-accel-redirect"] == f"/_files/toy/{at(1)}"
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-1,4-5"}, 206),
        ({"Range": "bytes=9-5"}, 200),
        ({"Range": "bytes= 0-5"}, 206),
        ({"Range": "bytes=5-9", "If-Range": '"another"'}, 200),
        ({"Range": "bytes=9999999999-"}, 416),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"another"'}, 412),
        ({"If-None-Match": "*"}, 304),
    ],
)
def test_what_servers_may_read_differently_is_answered_here(
    front: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = front.get(at(1), headers=headers)
    assert answer.status_code == status
    assert "x-accel-redirect" not in answer.headers


def test_head_closed_files_and_corrected_headers_are_answered_here(front: httpx.Client) -> None:
    for answer, status in (
        (front.head(at(1)), 200),
        (front.get(at(5)), 401),
        (front.get(f"{at(1)}?header=corrected"), 200),
    ):
        assert answer.status_code == status
        assert "x-accel-redirect" not in answer.headers


def test_nobody_but_the_front_is_told(settings: Settings) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport) as client:
        answer = client.get(f"http://127.0.0.1:{settings.port}/data/toy/{at(1)}")
    assert "x-accel-redirect" not in answer.headers
    assert answer.content == toy_file(settings.home / "store", 1).read_bytes()


def test_reports_are_believed_from_the_front_only(settings: Settings, front: httpx.Client) -> None:
    told = front.get(at(2), headers={"X-Forwarded-For": "192.0.2.9"}).headers["x-vo-delivery"]
    host, _, port = settings.accel_reports.partition(":")
    line = f"<190>Nov 21 12:00:00 vo: {told} 200 {{}} {{}}"
    size = toy_file(settings.home / "store", 2).stat().st_size
    for source, text in (
        ("127.0.0.2", line.format(1, "OK")),
        ("127.0.0.1", "<190>Nov 21 12:00:00 vo: garbage 200 1 OK"),
        ("127.0.0.1", f"<190>Nov 21 12:00:00 vo: {base64.b64encode(b'[1]').decode()} 200 1 OK"),
        ("127.0.0.1", line.format(size, "OK")),
        ("127.0.0.1", line.format(7, "-")),
    ):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.sendto(text.encode(), (host, int(port)))
    rows = logged(settings, 2, 2)
    assert rows == [(True, True, size, "192.0.2.9"), (True, False, 7, "192.0.2.9")]


# --- with nginx --------------------------------------------------------------------------------


@contextmanager
def running_front(settings: Settings, place: Path) -> Iterator[str]:
    """docker/front/start.sh, from its ready line to its end; the address it serves."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    url = f"https://localhost:{port}"
    environment = os.environ | {
        "RUN": str(place / "run"), "TLS": str(place / "tls"), "BASE_URL": url,
        "HTTPS_PORT": str(port), "HTTP_PORT": str(free_port()), "TLS_NAMES": "localhost 127.0.0.1",
        "UPSTREAM": f"127.0.0.1:{settings.port}", "REPORTS": settings.accel_reports,
        "PUBLIC": str(settings.public),
    }  # fmt: skip
    with subprocess.Popen(
        [*as_front_user(place), str(FRONT / "start.sh")],
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        try:
            said = ""
            while not said.startswith("front: ready"):
                said = process.stderr.readline()
                assert said, process.wait(60)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def through(served: tuple[Settings, subprocess.Popen[str]], place: Path) -> Iterator[httpx.Client]:
    """A client that trusts the local CA of a front."""
    here = place / "nginx"
    here.mkdir()
    with running_front(served[0], here) as url:
        trust = ssl.create_default_context(cafile=str(here / "tls" / "ca.pem"))
        with httpx.Client(base_url=f"{url}/data/toy/", verify=trust, timeout=30) as client:
            for _ in range(100):
                try:
                    client.get("/")
                except httpx.ConnectError:
                    time.sleep(0.1)
                else:
                    break
            yield client


def test_bytes_ranges_and_tags_are_the_archives(through: httpx.Client, settings: Settings) -> None:
    content = toy_file(settings.home / "store", 3).read_bytes()
    whole = through.get(at(3))
    assert (whole.status_code, whole.content) == (200, content)
    head = through.head(at(3))
    for name in (
        "etag", "last-modified", "content-type", "content-disposition", "accept-ranges",
        "x-content-type-options", "access-control-allow-origin",
    ):  # fmt: skip
        assert whole.headers.get(name) == head.headers.get(name), name
    assert not {"x-accel-redirect", "x-vo-delivery"} & set(whole.headers)
    part = through.get(at(3), headers={"Range": "bytes=100-199", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert part.headers["etag"] == whole.headers["etag"]
    dated = {"Range": "bytes=-7", "If-Range": whole.headers["last-modified"]}
    time.sleep(1.1)  # a date tells versions apart only when its second is over
    assert through.get(at(3), headers=dated).content == content[-7:]
    same = {"If-None-Match": whole.headers["etag"]}
    assert through.get(at(3), headers=same).status_code == 304
    since = {"If-Modified-Since": whole.headers["last-modified"]}
    assert through.get(at(3), headers=since).status_code == 304
    assert through.get(at(3), headers={"If-Match": whole.headers["etag"]}).content == content
    size = len(content)
    assert [row[:3] for row in logged(settings, 3, 4)][:3] == [
        (True, True, size), (False, True, 100), (False, True, 7),
    ]  # fmt: skip


def test_nginx_sends_while_the_application_stands_still(
    through: httpx.Client, served: tuple[Settings, subprocess.Popen[str]]
) -> None:
    settings, process = served
    size = toy_file(settings.home / "store", 0).stat().st_size
    with through.stream("GET", at(0)) as response:
        process.send_signal(signal.SIGSTOP)
        try:
            assert sum(map(len, response.iter_raw(1 << 20))) == size
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_broken_download_is_logged_with_what_was_sent(
    through: httpx.Client, settings: Settings
) -> None:
    before = len(logged(settings, 0, 0))
    with through.stream("GET", at(0)) as response:
        next(response.iter_raw(1000))
    rows = logged(settings, 0, before + 1)
    size = toy_file(settings.home / "store", 0).stat().st_size
    assert any(whole and not complete and 0 < sent < size for whole, complete, sent, _ in rows)


@pytest.mark.parametrize(
    "way",
    [
        "/_files/toy/{}", "/_files//toy/{}", "//_files/toy/{}", "/%5Ffiles/toy/{}",
        "/_files%2Ftoy/{}", "/data/../_files/toy/{}", "/data/..%2f_files/toy/{}",
        "/data/%2e%2e/_files/toy/{}", "/data/toy/..%2f..%2f..%2fsettings.toml",
    ],
)  # fmt: skip
def test_no_way_leads_around_the_application(through: httpx.Client, way: str) -> None:
    base = through.base_url
    target = way.format(at(1)).encode()
    request = through.build_request(
        "GET", base, headers={"X-Accel-Redirect": f"/_files/toy/{at(1)}"}
    )
    request.url = base.copy_with(raw_path=target)  # as it is: no client of good manners sends it
    answer = through.send(request)
    assert answer.status_code in {400, 404}
    assert b"SIMPLE" not in answer.content


def test_closed_files_and_links_out_of_the_storage_are_not_sent(
    through: httpx.Client, settings: Settings
) -> None:
    assert through.get(at(5)).status_code == 401
    link = settings.public / "toy" / at(4)
    before = os.readlink(link)
    link.unlink()
    link.symlink_to("/etc/passwd")
    try:
        assert through.get(at(4)).status_code == 404
    finally:
        link.unlink()
        link.symlink_to(before)
    assert through.get(at(4)).status_code == 200
