"""The end of a server and the beginning of the next: nobody is cut short, nobody refused."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.edge.support import COMMAND, Served, environment, served_with
from tests.edge.wire import Answer, ask
from tests.web.conftest import Archive

SLOW = "/tap/sync?LANG=ADQL&MAXREC=3000&QUERY=SELECT+a.*+FROM+ivoa.obscore+a,ivoa.obscore+b"

#: More than sockets hold: it is not sent before it is read.
BIG = SLOW.replace("3000", "100000") + ",ivoa.obscore+c"


def local(server: Served) -> str:
    return server.url.replace("localhost", "127.0.0.1")


def refuses(url: str) -> bool:
    try:
        httpx.get(url, timeout=60)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.anyio
async def test_what_is_under_way_is_finished_and_nothing_new_is_taken(archive: Archive) -> None:
    with served_with(archive, drain_s=60) as server:
        url = local(server)
        query = {"LANG": "ADQL", "QUERY": "SELECT 1 AS a FROM t"}
        async with httpx.AsyncClient(base_url=url) as client:
            made = await client.post("/tap/async", data=query)
        job = made.headers["Location"].replace("localhost", "127.0.0.1")
        download = asyncio.create_task(ask(url + SLOW, bytes_per_s=500_000))
        waiting = asyncio.create_task(ask(f"{job}?WAIT=40"))
        await asyncio.sleep(2.0)  # it has begun
        began = time.monotonic()
        server.terminate()
        answer: Answer = await waiting
        assert answer.status == 200  # the job as it is, at once
        assert time.monotonic() - began < 20  # of a WAIT of 40 seconds
        assert refuses(url)
        whole = await download
        assert (whole.status, whole.whole) == (200, True)
        assert await asyncio.to_thread(server.wait, 60) == 0


@pytest.mark.anyio
async def test_what_takes_longer_than_was_chosen_is_cut(archive: Archive) -> None:
    with served_with(archive, drain_s=1) as server:
        download = asyncio.create_task(ask(local(server) + BIG, bytes_per_s=1000, give_up_s=90))
        await asyncio.sleep(2.0)  # it has begun
        server.terminate()
        assert await asyncio.to_thread(server.wait, 60) == 0
        assert not download.done()  # nobody waited for its end
        download.cancel()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """A socket that is open for longer than any server."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held


@pytest.mark.anyio
async def test_behind_a_socket_that_stays_open_no_request_is_lost(
    archive: Archive, sock: socket.socket
) -> None:
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    asked: list[asyncio.Task[Answer]] = []
    for _ in range(2):
        with given(archive, sock) as server:
            asked.append(asyncio.create_task(ask(f"{url}/tap/capabilities")))
            assert server.stdout is not None
            assert (await asyncio.to_thread(server.stdout.readline)).startswith("ready: ")
            assert (await asked[-1]).status == 200
            server.terminate()
            assert await asyncio.to_thread(server.wait, 60) == 0
        asked.append(asyncio.create_task(ask(f"{url}/")))  # while nobody serves
        await asyncio.sleep(0.2)
    assert not asked[-1].done()
    assert [task.result().status for task in asked[:-1]] == [200] * 3
    asked[-1].cancel()


def given(archive: Archive, sock: socket.socket) -> subprocess.Popen[str]:
    """A server on a socket that it gets as systemd gives it."""
    # systemd sets LISTEN_PID after its fork; the shell does it here, and keeps its number.
    script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    variables = environment(archive, port=sock.getsockname()[1])
    # The descriptor must be 3: whoever is there gives way.
    moved = f"exec 3<&{sock.fileno()} && {script}" if sock.fileno() != 3 else script
    return subprocess.Popen(
        ("/bin/bash", "-c", moved, "sh", *COMMAND),
        env=variables,
        stdout=subprocess.PIPE,
        pass_fds=(sock.fileno(),),
        text=True,
    )


def test_what_is_no_socket_is_refused(archive: Archive, tmp_path: Path) -> None:
    for option, said in (("--fd=77", "file descriptor 77 is no socket"),):
        ended = subprocess.run(
            (*COMMAND, option), env=environment(archive), capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 1
        assert said in ended.stderr


@pytest.mark.anyio
async def test_a_unix_socket_serves_a_proxy(archive: Archive, place: Path) -> None:
    path = place / "edge.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with served_with(archive, host=str(path), base_url="https://archive.example.org"):
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            text = (await client.get("/tap/capabilities")).text
            assert "https://archive.example.org/tap" in text


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in found]


@pytest.mark.anyio
async def test_processes_are_replaced_without_a_refusal(archive: Archive) -> None:
    with served_with(archive, "--processes", "2") as server:
        url = local(server)
        first = children(server.pid)
        assert len(first) == 2
        statuses: list[int] = []

        async def ask_on() -> None:
            while True:
                statuses.append((await ask(f"{url}/tap/capabilities")).status)
                await asyncio.sleep(0.05)

        asking = asyncio.create_task(ask_on())
        os.kill(first[0], signal.SIGKILL)
        assert await changed(server.pid, first[:1])
        statuses.clear()  # what that one had under way died with it
        second = children(server.pid)
        server.send_signal(signal.SIGUSR2)
        assert await changed(server.pid, second)
        asking.cancel()
        assert set(statuses) == {200}
        assert len(statuses) > 10
        server.terminate()
        assert await asyncio.to_thread(server.wait, 60) == 0
        assert refuses(url)


async def changed(parent: int, before: list[int]) -> bool:
    """Whether there are two children within 60 seconds, none of those of before."""
    for _ in range(600):
        now = children(parent)
        if len(now) == 2 and not set(now) & set(before):
            return True
        await asyncio.sleep(0.1)
    return False
