"""A served archive behind a proxy of its own, and clients that are slow, many or odd."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.edge.load import run
from tests.edge.support import Served, served_with
from tests.edge.wire import ask
from tests.people import known_person
from tests.web.conftest import Archive

PROXY = "127.0.0.77"
FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "archive.example.org",
}
ROOT = "https://archive.example.org"
BIG = (
    "/tap/sync?LANG=ADQL&MAXREC=100000&QUERY="
    "SELECT+a.*+FROM+ivoa.obscore+a,ivoa.obscore+b,ivoa.obscore+c"
)


@pytest.fixture(scope="module")
def served(archive: Archive) -> Iterator[Served]:
    chosen = {
        "trusted_proxies": [PROXY], "header_limit_s": 2, "stalled_s": 2, "client_connections": 40,
        "client_queries": 2, "client_waiting": 4, "queue_s": 1,
    }  # fmt: skip
    with served_with(archive, **chosen) as server:
        yield server


@pytest.fixture(scope="module")
def url(served: Served) -> str:
    return served.url.replace("localhost", "127.0.0.1")


def from_(address: str, url: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(transport=transport, base_url=url, timeout=30)


@pytest.fixture(scope="module")
def proxy(url: str) -> Iterator[httpx.Client]:
    with from_(PROXY, url) as client:
        client.headers.update(FORWARDED)
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/", "/tap", "/tap/capabilities", "/tap/examples", "/sia2/capabilities",
        "/sia2/query?MAXREC=1", "/ssa/capabilities", "/scs/", "/datalink/capabilities",
        "/soda/capabilities", "/soda/examples", "/oai/capabilities", "/bundles/", "/hips/",
        "/corrections/", "/login", "/tap/availability", "/tap/tables",
        "/tap/sync?LANG=ADQL&RESPONSEFORMAT=csv&QUERY=SELECT+TOP+3+access_url+FROM+ivoa.obscore",
        "/tap/async",
    ],
)  # fmt: skip
def test_no_answer_through_the_proxy_tells_an_address_within(
    proxy: httpx.Client, path: str
) -> None:
    answer = proxy.get(path, headers={"Accept": "text/html", "Host": "within.localhost:80"})
    assert answer.status_code in {200, 307}
    told = answer.text + " ".join(answer.headers.values())
    assert "localhost" not in told
    assert "127.0.0.1" not in told


def first_url(client: httpx.Client) -> str:
    query = "SELECT TOP 1 access_url FROM ivoa.obscore"
    params = {"LANG": "ADQL", "RESPONSEFORMAT": "csv", "QUERY": query}
    return client.get("/tap/sync", params=params).text.split()[1].strip('"')


def test_addresses_are_those_of_each_request(proxy: httpx.Client, url: str, served: Served) -> None:
    with from_("127.0.0.1", url) as direct:
        for _ in range(3):
            assert first_url(proxy).startswith(f"{ROOT}/data/")
            assert first_url(direct).startswith(f"{served.url}/data/")
            other = {"X-Forwarded-Host": "other.example:8443", "Host": "evil.example"}
            got = proxy.get("/tap/sync", headers=other, params={
                "LANG": "ADQL", "RESPONSEFORMAT": "csv",
                "QUERY": "SELECT TOP 1 access_url FROM ivoa.obscore"})  # fmt: skip
            assert "https://other.example:8443/data/" in got.text


def test_what_anybody_else_forwards_is_not_believed(url: str, served: Served) -> None:
    with from_("127.0.0.5", url) as liar:
        liar.headers.update(FORWARDED | {"Host": "evil.example"})
        assert first_url(liar).startswith(f"{served.url}/data/")
        capabilities = liar.get("/tap/capabilities")
        assert "example.org" not in capabilities.text
        assert "evil" not in capabilities.text + str(capabilities.headers)
        assert "Strict-Transport-Security" not in capabilities.headers


def test_a_job_and_its_links_are_at_the_address_of_the_proxy(proxy: httpx.Client) -> None:
    made = proxy.post("/tap/async", data={"LANG": "ADQL", "QUERY": "SELECT 1 AS one FROM t"})
    assert made.headers["Location"].startswith(f"{ROOT}/tap/async/")
    job = proxy.get(urlsplit(made.headers["Location"]).path)
    assert "localhost" not in job.text
    proxy.delete(urlsplit(made.headers["Location"]).path)


def test_a_login_through_https_has_a_secure_cookie(
    proxy: httpx.Client, url: str, archive: Archive
) -> None:
    known_person(archive.settings, "edge-alice", password="correct horse")
    form = {"username": "edge-alice", "password": "correct horse", "next": "/tap"}
    there = proxy.post("/login", data=form)
    assert there.headers["Location"] == f"{ROOT}/tap"
    assert "; Secure" in there.headers["Set-Cookie"]
    with from_("127.0.0.1", url) as direct:
        assert "Secure" not in direct.post("/login", data=form).headers["Set-Cookie"]
    assert f'access_url="{ROOT}/login"' in str(proxy.get("/whoami").headers)


@pytest.mark.parametrize("host", ["[::", "a b", "user@x", "x/y", "x:y"])
def test_a_host_that_cannot_be_is_refused(url: str, host: str) -> None:
    for path in ("/tap", "/tap/nothing", "/hips"):
        got, _ = sent(url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), limit_s=1)
        assert got.startswith(b"HTTP/1.1 400 ")


def test_headers_of_safety_are_on_every_answer(proxy: httpx.Client, url: str) -> None:
    with from_("127.0.0.1", url) as direct:
        for path in ("/", "/tap/capabilities", "/nothing", "/data/nothing", "/oai?verb=x"):
            answer = direct.get(path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert "Strict-Transport-Security" not in answer.headers
        policy = direct.get("/").headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "Content-Security-Policy" not in direct.get("/tap/capabilities").headers
    far = proxy.get("/", headers={"Host": "archive.example.org"})
    assert far.headers["Strict-Transport-Security"] == "max-age=15552000"


def test_any_page_may_read_without_credentials(url: str) -> None:
    origin = {"Origin": "https://aladin.example"}
    with from_("127.0.0.1", url) as client:
        got = client.get("/tap/capabilities", headers=origin | {"Cookie": "vo_session=x"})
        assert got.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in got.headers
        assert "Retry-After" in got.headers["Access-Control-Expose-Headers"]
        asked = origin | {"Access-Control-Request-Method": "GET",
                          "Access-Control-Request-Headers": "range,authorization"}  # fmt: skip
        before = client.options("/data/tomoe/x.fits", headers=asked)
        assert before.status_code == 200
        assert before.headers["Access-Control-Max-Age"] == "86400"
        assert "Access-Control-Allow-Credentials" not in before.headers
        odd = asked | {"Access-Control-Request-Method": "PATCH"}
        assert client.options("/tap/sync", headers=odd).status_code == 400


def sent(url: str, data: bytes, dribble: bytes = b"", limit_s: float = 40) -> tuple[bytes, float]:
    """What a server says to *data*, followed by *dribble* again and again; and when it closed."""
    began = time.monotonic()
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=40) as sock:
        sock.sendall(data)
        sock.settimeout(0.1)
        got = b""
        while time.monotonic() - began < limit_s:
            try:
                part = sock.recv(65536)
                got += part
                if not part:
                    break
            except TimeoutError:
                if dribble:
                    try:
                        sock.sendall(dribble)
                    except OSError:
                        break
            except OSError:
                break
        return got, time.monotonic() - began


HEAD = b"GET /tap/capabilities HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /tap/sync HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    ("data", "dribble"),
    [
        (b"", b""),  # says nothing
        (HEAD, b""),  # never ends its head
        (HEAD, b"X-A: b\r\n"),  # goes on with it for ever
        (b"", b"\r\n"),  # lines before a request are skipped
        (POST + b"Content-Length: 1000\r\n\r\nQUERY=", b""),  # never sends its body
        (POST + b"Content-Length: 100000\r\n\r\nQUERY=", b"a"),  # sends it byte by byte
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
)
def test_a_request_that_does_not_come_in_time_is_ended(
    url: str, data: bytes, dribble: bytes
) -> None:
    got, seconds = sent(url, data, dribble)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert 1.5 < seconds < 30


def test_a_second_request_that_does_not_come_is_ended_too(url: str) -> None:
    got, seconds = sent(url, HEAD + b"\r\n", b"\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 408 ") == 1
    assert seconds < 30


def test_a_head_without_end_is_refused(url: str) -> None:
    got, _ = sent(url, b"GET / HTTP/1.1\r\n" + b"X-A: " + b"b" * 1_000_000, b"c" * 10_000)
    assert b" 431 " in got or got == b""  # it may still send when we close


def test_a_websocket_is_no_way_in(url: str) -> None:
    upgrade = HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    got, _ = sent(url, upgrade, limit_s=2)
    assert got.startswith(b"HTTP/1.1 200 ")


def working(archive: Archive) -> int:
    """Connections on which PostgreSQL waits for somebody to read."""
    with psycopg.connect(archive.settings.database_url or "") as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event = 'ClientWrite' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.anyio
async def test_who_does_not_read_holds_no_connection_to_the_database(
    url: str, archive: Archive
) -> None:
    slow = asyncio.create_task(ask(url + BIG, source="127.0.0.9", bytes_per_s=5))
    for wanted in (1, 0):
        until = time.monotonic() + 60
        while await asyncio.to_thread(working, archive) != wanted:
            assert time.monotonic() < until, (wanted, slow.done() and slow.result())
            await asyncio.sleep(0.2)
    assert not slow.done()  # what is on its way goes on
    slow.cancel()


@pytest.mark.anyio
async def test_who_reads_slowly_but_steadily_gets_all(url: str) -> None:
    answer = await ask(url + BIG.replace("100000", "2000"), bytes_per_s=200_000)
    assert (answer.status, answer.whole) == (200, True)
    assert answer.seconds > 4


@pytest.mark.anyio
async def test_too_many_queries_are_refused_in_a_votable(url: str) -> None:
    asked = [ask(url + BIG, source="127.0.0.10", bytes_per_s=20_000, give_up_s=5) for _ in range(9)]
    refused = [answer for answer in await asyncio.gather(*asked) if answer.status == 429]
    assert len(refused) >= 3
    for answer in refused:
        assert answer.headers["retry-after"] == "10"
        assert answer.headers["content-type"] == "application/x-votable+xml"
        assert b'<INFO name="QUERY_STATUS" value="ERROR">you have 2 queries' in answer.body


@pytest.mark.anyio
async def test_too_many_connections_are_refused_in_the_words_of_the_service(url: str) -> None:
    place = urlsplit(url)
    open_ones = [
        await asyncio.open_connection(place.hostname, place.port, local_addr=("127.0.0.11", 0))
        for _ in range(40)
    ]
    answer = await ask(f"{url}/tap/sync?QUERY=x", source="127.0.0.11")
    assert answer.status == 429
    assert b"you have more than 40 connections" in answer.body
    assert "votable" in answer.headers["content-type"]
    assert (await ask(f"{url}/soda/sync", source="127.0.0.11")).body.startswith(b"ServiceUnav")
    assert (await ask(f"{url}/", source="127.0.0.12")).status == 200
    for _, writer in open_ones:
        writer.transport.abort()
    for _ in range(100):  # it notices soon that they are gone
        await asyncio.sleep(0.2)
        if (answer := await ask(f"{url}/", source="127.0.0.11")).status == 200:
            break
    assert answer.status == 200


@pytest.mark.anyio
async def test_a_crowd_with_slow_readers_in_it_is_never_told_of_a_fault(url: str) -> None:
    outcome = await run(url, clients=60, seconds=6, slow_share=0.3)
    assert outcome.faults == []
    assert outcome.statuses[200] > 50
    assert set(outcome.statuses) <= {200, 429, 0}
    assert outcome.slow_whole == 0
    assert re.fullmatch(r"|given up", " ".join(outcome.troubles))
