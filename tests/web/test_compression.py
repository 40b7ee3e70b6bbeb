"""Content codings: chosen as RFC 9110 says, sent piece by piece, decoded by others' programs."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import httpx
import pyarrow as pa
import pytest
from astropy.io.votable import parse_single_table
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from tests.web.conftest import Archive
from vo_service.web.compression import Compressed, chosen_coding

pytestmark = pytest.mark.anyio

PIECES = [f"piece {n} ".encode() * 400 for n in range(5)]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.5, zstd;q=0.1", "gzip"),
        ("gzip; q=0.5 , identity", "identity"),
        ("gzip;q=1.0, identity;q=0.5, *;q=0", "gzip"),
        ("gzip;q=0", "identity"),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("*;q=0", "identity"),
        ("identity;q=0", "identity"),
        ("br, deflate", "identity"),
        ("gzip;q=much", "identity"),
        (";;,=;q=,", "identity"),
    ],
)
def test_the_coding_is_the_one_that_the_client_likes_most(
    accepted: str | None, coding: str
) -> None:
    assert chosen_coding(accepted) == coding


@given(st.text())
def test_no_header_is_too_odd(accepted: str) -> None:
    assert chosen_coding(accepted) in {"identity", "gzip", "zstd"}


def app_with(answer: Callable[[Request], Any]) -> Compressed:
    return Compressed(Starlette(routes=[Route("/", answer)]))


def pieces(media_type: str = "text/csv", **headers: str) -> Callable[[Request], Any]:
    async def body() -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    async def answer(request: Request) -> Response:
        return StreamingResponse(body(), media_type=media_type, headers=headers)

    return answer


async def messages(app: Compressed, coding: str | None, method: str = "GET") -> list[Message]:
    """What the application sends for one request."""
    sent: list[Message] = []
    asked: Sequence[tuple[bytes, bytes]] = [(b"accept-encoding", coding.encode())] if coding else []

    async def receive() -> Message:
        await anyio.sleep_forever()  # the client stays
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": asked}
    await app(scope, receive, send)
    return sent


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def decoder(coding: str) -> Callable[[bytes], bytes]:
    """Decodes a stream piece by piece, with what has come so far."""
    if coding == "gzip":
        return zlib.decompressobj(wbits=31).decompress
    came = bytearray()
    given: list[int] = [0]

    def zstd(piece: bytes) -> bytes:
        came.extend(piece)
        length = sum(map(len, PIECES))
        stream = pa.CompressedInputStream(pa.BufferReader(bytes(came)), "zstd")
        whole = b""
        try:
            while len(whole) < length and (part := stream.read(100)):
                whole += part
        except OSError:  # the end has not come yet
            pass
        new, given[0] = whole[given[0] :], len(whole)
        return new

    return zstd


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_each_piece_can_be_read_as_soon_as_it_has_come(coding: str) -> None:
    sent = await messages(app_with(pieces()), coding)
    assert headers_of(sent)["content-encoding"] == coding
    assert headers_of(sent)["vary"] == "Accept-Encoding"
    bodies = [message["body"] for message in sent[1:]]
    decode = decoder(coding)
    assert [decode(body) for body in bodies[: len(PIECES)]] == PIECES
    assert sum(map(len, bodies)) < sum(map(len, PIECES)) / 10


async def test_a_client_that_does_not_ask_gets_the_bytes_as_they_are() -> None:
    sent = await messages(app_with(pieces()), None)
    assert "content-encoding" not in headers_of(sent)
    assert headers_of(sent)["vary"] == "Accept-Encoding"
    assert [message["body"] for message in sent[1:]] == [*PIECES, b""]


@pytest.mark.parametrize(
    ("media_type", "more"),
    [
        ("application/vnd.apache.parquet", {}),
        ("image/png", {}),
        ("text/csv", {"Accept-Ranges": "bytes"}),
        ("text/csv", {"Content-Encoding": "br"}),
    ],
)
async def test_what_is_compressed_or_has_ranges_is_left_alone(
    media_type: str, more: dict[str, str]
) -> None:
    sent = await messages(app_with(pieces(media_type, **more)), "gzip")
    assert headers_of(sent).get("content-encoding") == more.get("Content-Encoding")
    assert [message["body"] for message in sent[1:]] == [*PIECES, b""]


@pytest.mark.parametrize(
    ("status", "body", "coded"),
    [
        (200, b"x" * 5000, True),
        (200, b"x" * 100, False),
        (304, b"", False),
        (404, b"x" * 5000, True),
    ],
)
async def test_a_whole_answer_is_compressed_if_it_is_worth_it(
    status: int, body: bytes, coded: bool
) -> None:
    async def answer(request: Request) -> Response:
        return Response(body, status, {"ETag": '"a"'}, media_type="text/xml")

    sent = await messages(app_with(answer), "gzip")
    headers = headers_of(sent)
    assert ("content-encoding" in headers) == coded
    assert headers["etag"] == ('W/"a"' if coded else '"a"')
    assert headers["vary"] == "Accept-Encoding"
    got = b"".join(message["body"] for message in sent[1:])
    assert (zlib.decompress(got, wbits=31) if coded else got) == body
    assert headers.get("content-length") == (None if coded else str(len(body)) if body else None)


async def test_head_is_answered_without_a_coding() -> None:
    sent = await messages(app_with(pieces()), "gzip", "HEAD")
    assert "content-encoding" not in headers_of(sent)


async def test_a_failure_in_the_middle_leaves_no_proper_end() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield PIECES[0]
        raise ZeroDivisionError

    async def answer(request: Request) -> Response:
        return StreamingResponse(body(), media_type="text/csv")

    sent: list[Message] = []

    async def receive() -> Message:
        await anyio.sleep_forever()  # the client stays
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"",
             "headers": [(b"accept-encoding", b"gzip")]}  # fmt: skip
    with pytest.raises(BaseException):  # noqa: B017, PT011 - a group of the one
        await app_with(answer)(scope, receive, send)
    assert all(message.get("more_body", True) for message in sent[1:])
    reader = zlib.decompressobj(wbits=31)
    reader.decompress(b"".join(message["body"] for message in sent[1:]))
    assert not reader.eof


QUERY = {"LANG": "ADQL", "QUERY": "SELECT * FROM ivoa.obscore"}


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_served_result_is_compressed(archive: Archive, coding: str) -> None:
    asked = {"Accept-Encoding": coding}
    url = f"{archive.url}/tap/sync"
    plain = httpx.get(url, params=QUERY, headers={"Accept-Encoding": "identity"}, timeout=60)
    with httpx.stream("GET", url, params=QUERY, headers=asked, timeout=60) as response:
        assert response.headers["Content-Encoding"] == coding
        assert "Accept-Encoding" in response.headers["Vary"]
        raw = b"".join(response.iter_raw())
    assert len(raw) < len(plain.content) / 3
    whole = pa.CompressedInputStream(pa.BufferReader(raw), coding).read()
    assert whole.count(b"<FIELD") == plain.content.count(b"<FIELD")
    assert len(parse_single_table(pa.BufferReader(whole)).array) > 10


def test_files_and_documents_keep_their_bytes(archive: Archive) -> None:
    asked = {"Accept-Encoding": "gzip, zstd"}
    document = httpx.get(f"{archive.url}/tap/capabilities", headers=asked)
    assert document.headers["Content-Encoding"] in ("gzip", "zstd")
    again = {"If-None-Match": document.headers["ETag"], **asked}
    assert httpx.get(f"{archive.url}/tap/capabilities", headers=again).status_code == 304
    page = httpx.get(f"{archive.url}/data/", headers=asked)
    assert "Content-Encoding" not in page.headers
