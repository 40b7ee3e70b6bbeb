"""Files fetched from addresses that clients give; and what must not be reached."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from vo_service.errors import TooLargeError, UsageError
from vo_service.services import fetch as module
from vo_service.services.fetch import fetch, is_public

pytestmark = pytest.mark.anyio


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name, _, rest = self.path.removeprefix("/").partition("/")
        if name == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
        elif name == "hops":
            self.send_response(303)
            self.send_header("Location", f"/hops/{int(rest) - 1}" if int(rest) > 1 else "/data")
            self.end_headers()
        elif name == "data":
            self._give(b"a\n1\n")
        elif name == "host":
            self._give((self.headers["Host"] + " " + str(self.headers.get("Cookie"))).encode())
        elif name == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"x" * 65536)
        elif name == "drip":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        elif name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")
        else:
            self.send_error(404)

    def _give(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is what several tests want."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


async def got(url: str, place: Path, *, private: bool = True, limit_s: float = 5.0) -> bytes:
    target = place / "target"
    await fetch(url, target, bytes_limit=1_000_000, limit_s=limit_s, private=private)
    return target.read_bytes()


async def test_a_file_and_its_type_are_fetched(server: str, tmp_path: Path) -> None:
    target = tmp_path / "x"
    kind = await fetch(f"{server}/data", target, bytes_limit=4, limit_s=5.0, private=True)
    assert (target.read_bytes(), kind) == (b"a\n1\n", "text/csv")


async def test_three_redirects_are_followed_and_not_four(server: str, tmp_path: Path) -> None:
    assert await got(f"{server}/hops/3", tmp_path) == b"a\n1\n"
    with pytest.raises(UsageError, match="at most 3"):
        await got(f"{server}/hops/4", tmp_path)


async def test_the_host_is_told_and_nothing_else_of_ours(server: str, tmp_path: Path) -> None:
    host = server.removeprefix("http://")
    assert await got(f"{server}/host", tmp_path) == f"{host} None".encode()


async def test_a_proxy_of_the_environment_is_not_used(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert await got(f"{server}/data", tmp_path) == b"a\n1\n"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1"],
)
async def test_this_machine_is_not_reached_under_any_of_its_names(
    server: str, tmp_path: Path, host: str
) -> None:
    port = server.rpartition(":")[2]
    with pytest.raises(UsageError, match=r"expected a public one|has no address"):
        await got(f"http://{host}:{port}/data", tmp_path, private=False)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "224.0.0.1", "[fe80::1]", "[fd00::1]"]
)
async def test_special_addresses_are_refused_at_once(tmp_path: Path, host: str) -> None:
    started = time.monotonic()
    with pytest.raises(UsageError, match="expected a public one"):
        await got(f"http://{host}/", tmp_path, private=False)
    assert time.monotonic() - started < 10


async def test_a_redirect_to_a_forbidden_address_is_refused(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 127.0.0.1 stands for a public server, every other address keeps its meaning.
    monkeypatch.setattr(module, "is_public", lambda a: a == ip_address("127.0.0.1") or is_public(a))
    assert await got(f"{server}/data", tmp_path, private=False) == b"a\n1\n"
    with pytest.raises(UsageError, match=r"127\.0\.0\.2"):
        await got(f"{server}/to/http://127.0.0.2/", tmp_path, private=False)


async def test_one_private_address_among_those_of_a_name_is_enough_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                for a in ("93.184.216.34", "10.0.0.1")]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UsageError, match=r"rebinding\.example has the address 10\.0\.0\.1"):
        await got("http://rebinding.example/", tmp_path, private=False)


async def test_the_name_is_looked_up_once_and_that_address_connected_to(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    port = server.rpartition(":")[2]
    target = tmp_path / "x"
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    await fetch(f"http://elsewhere.example:{port}/host", target, bytes_limit=100, limit_s=5.0,
                private=True)  # fmt: skip
    assert target.read_bytes() == f"elsewhere.example:{port} None".encode()
    assert asked.count("elsewhere.example") == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("to/file:///etc/passwd", "expected http:"),
        ("to/ftp://127.0.0.1/", "expected http:"),
        ("to/http://u:p@127.0.0.1/", "user name"),
        ("nothing", "answered 404: expected 200"),
        ("cut", "cannot be fetched"),
    ],
)
async def test_what_does_not_give_the_file_is_told(
    server: str, tmp_path: Path, path: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await got(f"{server}/{path}", tmp_path)


async def test_an_endless_file_is_cut_off(server: str, tmp_path: Path) -> None:
    with pytest.raises(TooLargeError, match="more than 1000000 bytes"):
        await got(f"{server}/endless", tmp_path)


async def test_a_file_that_drips_is_given_up(server: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"longer than 0\.5 s"):
        await got(f"{server}/drip", tmp_path, limit_s=0.5)
    assert time.monotonic() - started < 20


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(UsageError, match="cannot be reached"):
        await got(f"http://127.0.0.1:{port}/", tmp_path)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("100.64.0.1", False),  # carrier-grade NAT
        ("192.0.2.1", False),  # documentation
        ("255.255.255.255", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),  # 127.0.0.1 through NAT64
        ("2002:7f00:1::", False),  # 127.0.0.1 through 6to4
        ("::127.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
