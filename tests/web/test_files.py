"""Published files over a real server: every part of them, and nothing beside them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vo_service.errors import NotFoundError
from vo_service.web.conditions import parse_ranges
from vo_service.web.files import FileDelivery, open_published, refuse_encoded_separators

BODY = bytes(range(256)) * 40  # 10 240 bytes, each position recognisable within 256
HUGE = 5 * 2**30  # more than 32 bits can count


@dataclass
class Archive:
    """A public tree with a collection ``c``, its storage root, and what must stay outside."""

    public: Path
    root: Path
    outside: Path
    url: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    def publish(self, path: str, target: Path) -> Path:
        link = self.public / "c" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return link

    def file(self, name: str, content: bytes) -> Path:
        path = self.root / name
        path.write_bytes(content)
        os.utime(path, (1_600_000_000, 1_600_000_000))
        self.publish(name, path)
        return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    base = tmp_path_factory.mktemp("archive")
    made = Archive(base / "public", base / "store", base / "outside")
    for path in (made.public / "c", made.root, made.outside):
        path.mkdir(parents=True)
    (made.outside / "secret").write_bytes(b"secret")
    made.file("a.fits", BODY)
    made.file("empty.fits", b"")
    made.file("b.fits.gz", b"\x1f\x8b not really compressed")
    made.file('観測 "1"%.fits', b"name")
    with open(made.root / "huge.fits", "wb") as huge:
        huge.truncate(HUGE)
        huge.seek(HUGE - 6)
        huge.write(b"the end"[1:])
    made.publish("2020/06/huge.fits", made.root / "huge.fits")
    with serving(made) as made.url:
        yield made


class serving:  # noqa: N801 - read as a verb
    """A server for an archive on a free loopback port."""

    def __init__(self, archive: Archive) -> None:
        async def deliver(request: Request) -> Response:
            refuse_encoded_separators(request.scope)
            path = request.path_params["path"]
            file = open_published(archive.public, {"c": [archive.root]}, path)
            tag = archive.tags.get(path)
            return FileDelivery(request, file, "application/fits", tag=tag)

        async def absent(request: Request, error: Exception) -> Response:
            return PlainTextResponse(str(error), 404)

        app = Starlette(
            routes=[Route("/data/{path:path}", deliver)],
            exception_handlers={NotFoundError: absent},
        )
        # Named as TCP, so that asyncio sends small writes at once.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[self._socket]))
        )

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/data/"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def client(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=archive.url, timeout=60) as made:
        yield made


def ask(client: httpx.Client, path: str = "c/a.fits", **headers: str) -> httpx.Response:
    return client.get(path, headers={key.replace("_", "-"): v for key, v in headers.items()})


def raw(url: str, target: str) -> tuple[int, bytes]:
    """Status and body of a request whose target goes out as it is written."""
    host, port = httpx.URL(url).host, httpx.URL(url).port
    with socket.create_connection((host, port)) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_a_whole_file_comes_with_everything_a_client_needs(client: httpx.Client) -> None:
    answer = ask(client)
    assert (answer.status_code, answer.content) == (200, BODY)
    expected = {
        "content-type": "application/fits",
        "content-length": "10240",
        "accept-ranges": "bytes",
        "last-modified": "Sun, 13 Sep 2020 12:26:40 GMT",
        "x-content-type-options": "nosniff",
        "content-disposition": 'attachment; filename="a.fits"',
    }
    assert {key: answer.headers.get(key) for key in expected} == expected
    assert answer.headers["etag"].startswith('"')


def test_head_tells_the_same_and_sends_nothing(client: httpx.Client) -> None:
    head, whole = client.head("c/a.fits"), ask(client)
    for answer in (head, whole):
        del answer.headers["date"]
    assert head.headers == whole.headers
    assert head.content == b""
    # Only GET has ranges.
    assert client.head("c/a.fits", headers={"Range": "bytes=0-9"}).status_code == 200


def test_a_compressed_file_is_no_encoding_of_another(client: httpx.Client) -> None:
    answer = ask(client, "c/b.fits.gz")
    assert answer.content == b"\x1f\x8b not really compressed"
    assert "content-encoding" not in answer.headers


def test_a_name_of_any_letters_is_told_in_ascii(client: httpx.Client) -> None:
    answer = client.get("c/%E8%A6%B3%E6%B8%AC%20%221%22%25.fits")
    assert answer.content == b"name"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="__ _1__.fits"; '
        "filename*=UTF-8''%E8%A6%B3%E6%B8%AC%20%221%22%25.fits"
    )


def test_an_empty_file_is_sent_whole_whatever_part_is_asked_for(client: httpx.Client) -> None:
    for wanted in ("bytes=0-", "bytes=-5", "bytes=3-4"):
        answer = ask(client, "c/empty.fits", Range=wanted)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("Bytes=10200-", 10200, 10240),
        ("bytes=10239-99999999999999999", 10239, 10240),
        ("bytes=-1", 10239, 10240),
        ("bytes=-99999", 0, 10240),
        ("bytes= , 5-6 ,", 5, 7),
        ("bytes=20000-,0-4", 0, 5),
    ],
)
def test_one_range_is_sent_as_a_part(
    client: httpx.Client, wanted: str, start: int, end: int
) -> None:
    answer = ask(client, Range=wanted)
    assert (answer.status_code, answer.content) == (206, BODY[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "bytes", "lines=0-1", "bytes=0-1;2-3",
        "bytes=0-1,x", "bytes=+1-2", "bytes=0-4,3-9", "bytes=１-2".encode().decode("latin-1"),
        "bytes=" + "9" * 5000 + "-", "bytes=" + ",".join(f"{i}-{i}" for i in range(17)),
    ],
)  # fmt: skip
def test_a_range_that_cannot_be_read_or_is_too_much_is_ignored(
    client: httpx.Client, wanted: str
) -> None:
    answer = client.get("c/a.fits", headers=[(b"Range", wanted.encode("latin-1"))])
    assert (answer.status_code, answer.content) == (200, BODY)


@pytest.mark.parametrize("wanted", ["bytes=10240-", "bytes=10240-10250,99999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(client: httpx.Client, wanted: str) -> None:
    answer = ask(client, Range=wanted)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10240"


def parts_of(answer: httpx.Response) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    found = []
    for part in message.get_payload():
        assert isinstance(part, Message)
        assert part["Content-Type"] == "application/fits"
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((str(part["Content-Range"]), payload))
    return found


def test_several_ranges_come_as_parts_in_the_order_asked(client: httpx.Client) -> None:
    answer = ask(client, Range="bytes=-2,48-57,1000-1000,99999-")
    assert answer.status_code == 206
    assert len(answer.content) == int(answer.headers["content-length"])
    assert parts_of(answer) == [
        ("bytes 10238-10239/10240", BODY[-2:]),
        ("bytes 48-57/10240", BODY[48:58]),
        ("bytes 1000-1000/10240", BODY[1000:1001]),
    ]


def test_a_client_that_has_the_file_gets_304(client: httpx.Client) -> None:
    etag = ask(client).headers["etag"]
    for value in (etag, f'"other", W/{etag}', "*"):
        answer = ask(client, If_None_Match=value)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "content-length" not in answer.headers
    assert ask(client, If_None_Match='"other"').status_code == 200


@pytest.mark.parametrize(
    ("header", "seconds", "status"),
    [
        ("If-Modified-Since", 0, 304),
        ("If-Modified-Since", 1, 304),
        ("If-Modified-Since", -1, 200),
        ("If-Unmodified-Since", 0, 200),
        ("If-Unmodified-Since", -1, 412),
    ],
)
def test_dates_are_conditions(client: httpx.Client, header: str, seconds: int, status: int) -> None:
    when = formatdate(1_600_000_000 + seconds, usegmt=True)
    assert client.get("c/a.fits", headers={header: when}).status_code == status


@pytest.mark.parametrize("nonsense", ["yesterday", "", "Sun, 99 Sep 99999 12:26:40 GMT", "0"])
def test_a_date_that_is_none_is_ignored(client: httpx.Client, nonsense: str) -> None:
    for header in ("If-Modified-Since", "If-Unmodified-Since", "If-Range"):
        assert client.get("c/a.fits", headers={header: nonsense}).status_code == 200


def test_old_forms_of_dates_are_understood(client: httpx.Client) -> None:
    for when in ("Sunday, 13-Sep-20 12:26:40 GMT", "Sun Sep 13 12:26:40 2020"):
        assert ask(client, If_Modified_Since=when).status_code == 304


def test_a_tag_goes_before_a_date(client: httpx.Client) -> None:
    past = formatdate(0, usegmt=True)
    etag = ask(client).headers["etag"]
    assert ask(client, If_Match=etag, If_Unmodified_Since=past).status_code == 200
    late = formatdate(1_700_000_000, usegmt=True)
    assert ask(client, If_None_Match='"x"', If_Modified_Since=late).status_code == 200


def test_a_write_condition_must_match_strongly(client: httpx.Client) -> None:
    etag = ask(client).headers["etag"]
    for value, status in ((etag, 200), ("*", 200), (f'"a", {etag}', 200), ('"a"', 412),
                          (f"W/{etag}", 412), ("", 412)):  # fmt: skip
        assert ask(client, If_Match=value).status_code == status


def test_if_range_sends_the_part_only_of_the_same_file(client: httpx.Client) -> None:
    first = ask(client)
    etag, when = first.headers["etag"], first.headers["last-modified"]
    for value, status in ((etag, 206), (when, 206), (f"W/{etag}", 200), ('"other"', 200),
                          (formatdate(1_600_000_001, usegmt=True), 200)):  # fmt: skip
        answer = ask(client, Range="bytes=1-2", If_Range=value)
        assert answer.status_code == status
        assert answer.content == (BODY[1:3] if status == 206 else BODY)


def test_the_tag_is_the_checksum_where_it_is_known(archive: Archive, client: httpx.Client) -> None:
    md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    archive.tags["c/a.fits"] = md5
    assert ask(client).headers["etag"] == f'"{md5}"'
    archive.tags.clear()


def test_the_tag_changes_with_the_file(archive: Archive, client: httpx.Client) -> None:
    path = archive.file("changing.fits", b"one")
    tags = {ask(client, "c/changing.fits").headers["etag"]}
    path.write_bytes(b"two")
    tags.add(ask(client, "c/changing.fits").headers["etag"])
    path.unlink()
    path.write_bytes(b"two")
    tags.add(ask(client, "c/changing.fits").headers["etag"])
    assert len(tags) == 3


def test_a_file_just_written_gives_no_part_by_date(archive: Archive, client: httpx.Client) -> None:
    path = archive.file("fresh.fits", BODY)
    os.utime(path)
    when = ask(client, "c/fresh.fits").headers["last-modified"]
    assert ask(client, "c/fresh.fits", Range="bytes=1-2", If_Range=when).status_code == 200


def test_a_file_from_the_future_is_not_dated_there(archive: Archive, client: httpx.Client) -> None:
    path = archive.file("future.fits", BODY)
    os.utime(path, (4e9, 4e9))
    when = ask(client, "c/future.fits").headers["last-modified"]
    assert "20" in when
    assert not when.endswith("2096 07:06:40 GMT")


def test_positions_beyond_four_gigabytes_are_right(client: httpx.Client) -> None:
    path = "c/2020/06/huge.fits"
    assert client.head(path).headers["content-length"] == str(HUGE)
    assert ask(client, path, Range="bytes=-6").content == b"he end"
    answer = ask(client, path, Range=f"bytes={HUGE - 7}-{HUGE - 5}")
    assert answer.content == b"\0he"
    assert answer.headers["content-range"] == f"bytes {HUGE - 7}-{HUGE - 5}/{HUGE}"


def test_curl_resumes_a_download(archive: Archive, tmp_path: Path) -> None:
    part = tmp_path / "a.fits"
    part.write_bytes(BODY[:1234])
    subprocess.run(
        ["curl", "-sf", "-C", "-", "-o", part, f"{archive.url}c/a.fits"], check=True, timeout=60
    )
    assert part.read_bytes() == BODY


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_stays_flat_however_much_is_sent(client: httpx.Client) -> None:
    before, seen = _resident_mb(), 0
    with client.stream("GET", "c/2020/06/huge.fits") as answer:
        for part in answer.iter_raw():
            seen += len(part)
            if seen > 400_000_000:
                break
    assert _resident_mb() - before < 60


def open_handles(target: Path) -> int:
    handles = Path("/proc/self/fd")
    return sum(os.path.realpath(handle) == str(target) for handle in handles.iterdir())


def is_soon_closed(target: Path) -> bool:
    """Whether the server, which may be a moment behind its client, closes *target*."""
    deadline = time.monotonic() + 30
    while open_handles(target) and time.monotonic() < deadline:
        time.sleep(0.02)
    return open_handles(target) == 0


def test_a_client_that_leaves_frees_the_file(archive: Archive, client: httpx.Client) -> None:
    target = (archive.root / "huge.fits").resolve()
    with client.stream("GET", "c/2020/06/huge.fits") as answer:
        parts = answer.iter_raw()
        next(parts)
        assert open_handles(target) == 1
    assert is_soon_closed(target)


@pytest.mark.parametrize("refused", [{"Range": "bytes=99999-"}, {"If-Match": '"x"'},
                                     {"If-None-Match": "*"}])  # fmt: skip
def test_no_handle_stays_open_after_an_answer_without_content(
    archive: Archive, client: httpx.Client, refused: dict[str, str]
) -> None:
    client.get("c/a.fits", headers=refused)
    client.head("c/a.fits")
    ask(client)
    assert is_soon_closed((archive.root / "a.fits").resolve())


def test_a_file_cut_while_it_is_sent_ends_the_connection(
    archive: Archive, client: httpx.Client
) -> None:
    path = archive.root / "cut.fits"
    with open(path, "wb") as file:
        file.truncate(500_000_000)
    archive.publish("cut.fits", path)
    with client.stream("GET", "c/cut.fits") as answer:
        parts = answer.iter_raw()
        next(parts)
        os.truncate(path, 1000)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            deque(parts, maxlen=0)


ESCAPES = (
    "c/../../outside/secret", "c/./a.fits", "c//a.fits", "c/a.fits/", "/c/a.fits", "c", "c/", "",
    "..", "c/..", "../outside/secret", "c/a.fits\0", "c\\a.fits", "c/..\\..\\outside\\secret",
    "nothing/a.fits", "c/absent", "c/a.fits/b", "c/" + "x" * 300, "c/" + "d/" * 3000 + "x",
    "c/%2e%2e/x", "c/\ud800", "c/\n",
)  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_is_no_published_file_is_not_found(archive: Archive, path: str) -> None:
    with pytest.raises(NotFoundError):
        open_published(archive.public, {"c": [archive.root]}, path)


@pytest.mark.parametrize(
    "target",
    [
        "/data/c%2Fa.fits", "/data/c/%2e%2e/%2e%2e/outside/secret",
        "/data/c/..%2f..%2foutside/secret", "/data/c%5ca.fits", "/data/c/a.fits%00",
        "/data/c/a.fits%00.png", "/data/c/../c/a.fits",
        "/data/c/%252e%252e/a.fits", "/data/c/..;/a.fits", "/data//c/a.fits",
        "/data/c/%c0%ae%c0%ae/x",
        "/data/c/%ff", "/data/%2Fetc/passwd", "/data//etc/passwd",
    ],
)  # fmt: skip
def test_nothing_hides_in_the_target_of_a_request(archive: Archive, target: str) -> None:
    status, body = raw(archive.url, target)
    assert status == 404
    assert b"secret" not in body.replace(b"outside/secret", b"")


def test_only_links_to_files_in_the_storage_root_are_followed(archive: Archive) -> None:
    public, roots = archive.public, {"c": [archive.root]}
    os.mkfifo(archive.root / "fifo")
    (archive.root / "sub").mkdir()
    (archive.root / "sub" / "f").write_bytes(b"f")
    (archive.root / "way-out").symlink_to(archive.outside / "secret")
    (archive.public / "c" / "plain").write_bytes(b"no link")
    archive.publish("linked-directory", archive.root / "sub")
    for name, target in {
        "leaves": archive.outside / "secret",
        "leaves-twice": archive.root / "way-out",
        "climbs": archive.root / ".." / "outside" / "secret",
        "beside": Path(f"{archive.root}-beside"),
        "fifo": archive.root / "fifo",
        "device": Path("/dev/zero"),
        "process": Path("/proc/self/environ"),
        "dangling": archive.root / "absent",
        "directory": archive.root / "sub",
        "itself": public / "c" / "itself",
    }.items():
        archive.publish(name, target)
        with pytest.raises(NotFoundError):
            open_published(public, roots, f"c/{name}")
    for path in ("c/plain", "c/linked-directory/f"):
        with pytest.raises(NotFoundError):
            open_published(public, roots, path)
    archive.publish("sub/f", archive.root / "sub" / "f")
    with open_published(public, roots, "c/sub/f").file as file:
        assert file.read() == b"f"
    # The same link is refused where the root is not one of the collection's.
    for other in ({}, {"c": [archive.outside]}, {"c": [archive.root / "su"]}):
        with pytest.raises(NotFoundError):
            open_published(public, other, "c/sub/f")


def test_a_storage_root_may_itself_be_a_link(archive: Archive) -> None:
    alias = archive.outside.parent / "alias"
    alias.symlink_to(archive.root)
    archive.publish("via-alias", alias / "a.fits")
    for root in (alias, archive.root):
        with open_published(archive.public, {"c": [root]}, "c/via-alias").file as file:
            assert file.read() == BODY


def test_refused_paths_leave_no_handle_open(archive: Archive) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("c/leaves", "c/fifo", "c/device", "c/absent", "c/2020/absent/x"):
        with pytest.raises(NotFoundError):
            open_published(archive.public, {"c": [archive.root]}, path)
    assert len(os.listdir("/proc/self/fd")) <= before  # the server may close some meanwhile


_PIECES = st.sampled_from(["c", "..", ".", "", "a.fits", "2020", "06", "huge.fits", "secret",
                           "outside", "leaves", "\0", "\\", "%2e%2e", "~", "é", " "])  # fmt: skip


@given(st.lists(_PIECES, max_size=8).map("/".join) | st.text(max_size=30))
@settings(deadline=None, max_examples=400)
def test_no_path_opens_anything_outside_the_root(archive: Archive, path: str) -> None:
    try:
        opened = open_published(archive.public, {"c": [archive.root]}, path)
    except NotFoundError:
        return
    with opened.file as file:
        real = Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))
    assert real.is_relative_to(archive.root.resolve())
    assert (archive.public / path).is_symlink()


@given(st.integers(0, 10_239), st.integers(0, 10_239))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_range_is_that_slice_of_the_file(client: httpx.Client, a: int, b: int) -> None:
    first, last = sorted((a, b))
    assert ask(client, Range=f"bytes={first}-{last}").content == BODY[first : last + 1]
    assert ask(client, Range=f"bytes={first}-").content == BODY[first:]
    assume(last > 0)
    assert ask(client, Range=f"bytes=-{last}").content == BODY[-last:]


@given(st.lists(st.tuples(st.integers(0, 10_400), st.integers(0, 300)), min_size=2, max_size=16))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([(0, 1), (2, 1)])
def test_ranges_together_are_those_slices(
    client: httpx.Client, wanted: list[tuple[int, int]]
) -> None:
    text = ",".join(f"{start}-{start + more}" for start, more in wanted)
    there = [(start, min(start + more, 10_239)) for start, more in wanted if start < 10_240]
    answer = ask(client, Range=f"bytes={text}")
    if answer.status_code == 200:
        assert any(a <= d and c <= b for n, (a, b) in enumerate(there) for c, d in there[:n])
        assert answer.content == BODY
    elif not there:
        assert answer.status_code == 416
    elif len(there) == 1:
        assert answer.content == BODY[there[0][0] : there[0][1] + 1]
    else:
        assert parts_of(answer) == [(f"bytes {a}-{b}/10240", BODY[a : b + 1]) for a, b in there]


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=[0-9,\- ]{0,30}", fullmatch=True),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=500)
def test_no_range_header_leads_outside_the_file(header: str, size: int) -> None:
    spans = parse_ranges(header, size)
    for start, end in spans or ():
        assert 0 <= start < end <= size
    assert sum(end - start for start, end in spans or ()) <= size
