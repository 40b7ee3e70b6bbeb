"""A whole download against the same in pieces, however long it takes.

    python -m tests.corrections.whole_download 'http://.../cube.fits?header=corrected' --cuts 5

Prints the time to the first byte (median of ten), the rate, and both SHA-256; exit status 1 if
they differ. The pieces end at random places, as interrupted downloads do.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
import time

import httpx


def first_byte_ms(client: httpx.Client, url: str) -> float:
    """Milliseconds from the request to the first bytes of the body."""
    started = time.perf_counter()
    with client.stream("GET", url) as answer:
        next(answer.iter_raw())
        return (time.perf_counter() - started) * 1000


def whole(client: httpx.Client, url: str) -> tuple[str, int, str]:
    """SHA-256, size and ETag of one uninterrupted download."""
    digest = hashlib.sha256()
    size = 0
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        for part in answer.iter_raw():
            digest.update(part)
            size += len(part)
        assert size == int(answer.headers["content-length"])
        return digest.hexdigest(), size, answer.headers["etag"]


def in_pieces(client: httpx.Client, url: str, size: int, etag: str, cuts: int) -> str:
    """SHA-256 of a download that was interrupted and resumed *cuts* times."""
    digest = hashlib.sha256()
    places = sorted(random.Random(4).sample(range(1, size), cuts))
    for start, end in zip([0, *places], [*places, size], strict=True):
        headers = {"Range": f"bytes={start}-", "If-Range": etag}
        with client.stream("GET", url, headers=headers) as answer:
            assert answer.status_code == 206, answer.status_code
            left = end - start
            for part in answer.iter_raw():
                digest.update(part[:left])
                left -= len(part[:left])
                if not left:
                    break
    return digest.hexdigest()


def main() -> int:
    """Compare, print, say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--cuts", type=int, default=5)
    asked = parser.parse_args()
    with httpx.Client(timeout=60) as client:
        waits = [first_byte_ms(client, asked.url) for _ in range(10)]
        print(f"first byte: {statistics.median(waits):.1f} ms, at most {max(waits):.1f} ms")
        started = time.perf_counter()
        one, size, etag = whole(client, asked.url)
        print(f"{size} bytes at {size / 1e6 / (time.perf_counter() - started):.0f} MB/s: {one}")
        other = in_pieces(client, asked.url, size, etag, asked.cuts)
        print(f"in {asked.cuts + 1} pieces: {other}")
    return 0 if one == other else 1


if __name__ == "__main__":
    sys.exit(main())
