"""The examples of SODA are there and work as they stand."""

from __future__ import annotations

import re
from html import unescape

import httpx

from tests.web.conftest import Archive


def test_every_example_of_soda_gives_a_fits_file(archive: Archive) -> None:
    page = httpx.get(f"{archive.url}/soda/examples")
    assert page.headers["content-type"].startswith("application/xhtml+xml")
    addresses = {
        unescape(address) for address in re.findall(r'href="([^"]*/soda/sync[^"]*)"', page.text)
    }
    assert addresses
    for address in addresses:
        answer = httpx.get(address)
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b"SIMPLE  =")
