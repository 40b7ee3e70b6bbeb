"""A UWS client that checks every document it gets against the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from lxml import etree

from tests.support import XSD, validate

__all__ = ["UWS", "Remote", "submit"]

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
HREF = "{http://www.w3.org/1999/xlink}href"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


@dataclass(frozen=True)
class Remote:
    """A job, by its address."""

    http: httpx.Client
    url: str

    def xml(self, path: str = "", **query: str | int) -> etree._Element:
        response = self.http.get(self.url + path, params=query)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/xml")
        if XSD.is_dir():  # without the schemas the rest is still tested
            validate(response.content, "UWS-v1.1.xsd")
        return etree.fromstring(response.content)

    def text(self, path: str) -> str:
        response = self.http.get(self.url + path)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/plain")
        return response.text

    def element(self, name: str) -> str | None:
        found = self.xml().find(UWS + name)
        return None if found is None or found.get(NIL) else found.text

    @property
    def phase(self) -> str:
        return self.text("/phase")

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.http.post(self.url + path, data=form)

    def wait(self, phase: str) -> None:
        """Wait, the way UWS has it, until the job is in *phase*."""
        now = self.phase
        for _ in range(20):
            if now == phase:
                return
            now = self.xml(WAIT=10, PHASE=now).findtext(UWS + "phase") or ""
        raise AssertionError(f"the job is {now}, not {phase}: {self.http.get(self.url).text}")

    def delete(self) -> None:
        assert self.http.delete(self.url).status_code == 303


def submit(http: httpx.Client, query: str, **further: Any) -> Remote:
    """A new job."""
    response = http.post("/async", data={"LANG": "ADQL", "QUERY": query, **further})
    assert response.status_code == 303, response.text
    return Remote(http, response.headers["location"])
