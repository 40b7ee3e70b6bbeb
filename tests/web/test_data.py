"""``/data/`` of the served archive: released files, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.web.conftest import Archive

FRAME = "tomoe/2020/06/17/sTMQ1202006170035071314.fits"


@pytest.fixture(scope="module")
def http(archive: Archive) -> httpx.Client:
    return httpx.Client(base_url=f"{archive.url}/data", timeout=60)


@pytest.fixture(scope="module")
def frame(archive: Archive) -> bytes:
    return (archive.settings.home / "demo" / FRAME).read_bytes()


def test_a_file_comes_whole_with_type_length_and_name(http: httpx.Client, frame: bytes) -> None:
    response = http.get(FRAME)
    assert response.status_code == 200
    assert response.content == frame
    assert response.headers["Content-Type"] in ("image/fits", "application/fits")
    assert response.headers["Content-Length"] == str(len(frame))
    assert "sTMQ1202006170035071314.fits" in response.headers["Content-Disposition"]
    head = http.head(FRAME)
    assert head.content == b""
    assert head.headers["Content-Length"] == str(len(frame))


def test_a_broken_download_is_resumed(http: httpx.Client, frame: bytes) -> None:
    tag = http.head(FRAME).headers["ETag"]
    rest = http.get(FRAME, headers={"Range": "bytes=1000-", "If-Range": tag})
    assert rest.status_code == 206
    assert rest.content == frame[1000:]
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(frame) - 1}/{len(frame)}"
    stale = http.get(FRAME, headers={"Range": "bytes=1000-", "If-Range": '"older"'})
    assert (stale.status_code, stale.content) == (200, frame)


def test_a_file_not_released_has_no_link_and_says_when_it_will_be(
    archive: Archive, http: httpx.Client
) -> None:
    with psycopg.connect(archive.settings.database_url or "") as connection:
        rows = connection.execute(
            "SELECT collection || '/' || path, release_date FROM archive.product "
            "WHERE state = 'arrived'"
        ).fetchall()
    assert len(rows) == 3
    for path, release in rows:
        response = http.get(path)
        assert response.status_code == 401
        assert f"will be released on {release}" in response.text
        assert release > date.today()
        assert not os.path.lexists(archive.settings.public / path)


@pytest.fixture
def strays(archive: Archive) -> Iterator[dict[str, Path]]:
    """Links that somebody put into the tree by hand."""
    tree = archive.settings.public / "tomoe"
    made = {
        "passwd": (tree / "passwd.fits", "/etc/passwd"),
        "outside": (tree / "settings.fits", str(archive.settings.home / "settings.toml")),
        "directory": (tree / "all", str(archive.settings.home)),
    }
    for link, target in made.values():
        os.symlink(target, link)
    yield {name: link for name, (link, _) in made.items()}
    for link, _ in made.values():
        link.unlink()


@pytest.mark.parametrize(
    "path",
    [
        "tomoe/passwd.fits",
        "tomoe/settings.fits",
        "tomoe/all/settings.toml",
        "tomoe/../../settings.toml",
        "tomoe/%2e%2e/%2e%2e/settings.toml",
        "tomoe%2f2020/06/17/sTMQ1202006170035071314.fits",
        "..%2f..%2fetc/passwd",
        "tomoe//etc/passwd",
        "tomoe/",
        "tomoe",
        "",
        "nothing/here.fits",
        "tomoe/2020/06/17/",
        "tomoe/%00",
        "tomoe/%ff%fe",
    ],
)
def test_there_is_no_way_out_of_the_tree(
    http: httpx.Client, strays: dict[str, Path], path: str
) -> None:
    request = http.build_request("GET", "/")
    request.url = httpx.URL(str(http.base_url).rstrip("/") + "/").copy_with(
        raw_path=b"/data/" + path.encode()
    )
    response = http.send(request)
    assert response.status_code == 404
    assert b"root:" not in response.content
    assert b"authority" not in response.content
