"""The clients of the benchmark read whole answers, however they come in pieces."""

from __future__ import annotations

import os
import socketserver
import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from vo_service.bench.client import Server
from vo_service.bench.load import load

LONG = b"x" * 70_000

#: Answers by path, in the pieces in which they are sent.
ANSWERS = {
    b"/length": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"],
    b"/empty": [b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"],
    b"/chunks": [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        b"c\r\n",
        b"%x\r\n%s\r\n0\r\n\r" % (len(LONG), LONG),
        b"\n",
    ],
}


class _Answering(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            while self.rfile.readline() != b"\r\n":
                pass
            for piece in ANSWERS[line.split()[1]]:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.001)


@pytest.fixture
def server() -> Iterator[Server]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answering) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield Server("127.0.0.1", listening.server_address[1])
        listening.shutdown()
        thread.join()


def test_one_client_reads_answers_of_both_kinds_on_one_connection(server: Server) -> None:
    session = server.session()
    assert session.get("/length") == (200, b"abc")
    assert session.get("/chunks") == (200, b"abc" + LONG)
    assert session.get("/empty") == (404, b"")
    assert session.get("/length") == (200, b"abc")
    session.close()


@pytest.mark.parametrize(("path", "status"), [("/length", 200), ("/chunks", 200), ("/empty", 404)])
def test_each_whole_answer_of_a_crowd_is_counted(server: Server, path: str, status: int) -> None:
    found = load(server, os.getpid(), repeat(path), status=status, clients=4, seconds=0.2)
    assert 4 <= found.answers <= 4 * 0.2 / 0.001 + 4  # a piece takes a millisecond at least
    assert found.rate == pytest.approx(found.answers / found.seconds)
    assert 0.2 <= found.seconds < 2.0
    assert found.client_s <= found.server_s + 0.05  # both are this process here
    assert found.split.startswith("ms of CPU: server ")


def test_an_answer_of_another_status_ends_the_load(server: Server) -> None:
    with pytest.raises(RuntimeError, match="404 Not Found"):
        load(server, os.getpid(), repeat("/empty"), clients=2, seconds=0.2)
