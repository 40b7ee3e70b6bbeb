"""A plain HTTP/1.1 client that can be as slow as one likes, from any loopback address."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["Answer", "ask"]


@dataclass(slots=True)
class Answer:
    """What came: *status* 0 where no answer came; *whole* tells that it has its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    whole: bool = False
    seconds: float = 0.0
    trouble: str = ""
    body: bytes = b""


async def ask(
    url: str,
    *,
    source: str = "127.0.0.1",
    bytes_per_s: float | None = None,
    give_up_s: float = 120.0,
    headers: str = "",
    context: ssl.SSLContext | None = None,
) -> Answer:
    """GET *url* from address *source*; with *bytes_per_s* the body is read no faster."""
    answer = Answer()
    began = time.monotonic()
    writer = None
    try:
        async with asyncio.timeout(give_up_s):
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(
                place.hostname, place.port, local_addr=(source, 0), limit=4096, ssl=context
            )
            target = f"{place.path}?{place.query}" if place.query else place.path
            head = (
                f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n{headers}"
            )
            writer.write(f"{head}\r\n".encode())
            answer.status = int((await reader.readline()).split()[1])
            while (line := await reader.readline()) not in {b"\r\n", b""}:
                name, _, value = line.decode("latin-1").partition(":")
                answer.headers[name.lower()] = value.strip()
            await _read(reader, answer, bytes_per_s)
    except TimeoutError:
        answer.trouble = "given up"
    except (OSError, IndexError, asyncio.IncompleteReadError) as error:
        answer.trouble = type(error).__name__
    finally:
        if writer is not None:
            writer.transport.abort()
    answer.seconds = time.monotonic() - began
    return answer


async def _read(reader: asyncio.StreamReader, answer: Answer, bytes_per_s: float | None) -> None:
    tail = b""
    while True:
        if bytes_per_s is not None:
            await asyncio.sleep(0.2)
        part = await reader.read(65536 if bytes_per_s is None else max(1, round(bytes_per_s / 5)))
        answer.size += len(part)
        tail = (tail + part)[-8:]
        if len(answer.body) < 65536:
            answer.body += part
        if not part:
            break
    length = answer.headers.get("content-length")
    answer.whole = tail.endswith(b"0\r\n\r\n") if length is None else answer.size == int(length)
