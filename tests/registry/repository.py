"""A repository of OAI-PMH that does what a test tells it to: real HTTP, any answer.

And what the archive that harvests it has found.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.settings import Settings

__all__ = [
    "Answer",
    "Repository",
    "ask",
    "error",
    "found",
    "identify",
    "page",
    "record",
    "repository",
    "resource",
]

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
    "<responseDate>{moment}</responseDate><request>x</request>"
)


@dataclass
class Answer:
    """What is answered: a body, or nothing but a status; with headers."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Asked = dict[str, str]


@dataclass
class Repository:
    """Where it is, what it was asked, and who asked."""

    url: str
    asked: list[Asked]
    agents: list[str]


def identify(granularity: str = "YYYY-MM-DDThh:mm:ssZ", version: str = "2.0") -> Answer:
    return Answer(
        _HEAD.format(moment="2024-05-01T00:00:00Z")
        + f"<Identify><repositoryName>Somewhere</repositoryName><protocolVersion>{version}"
        f"</protocolVersion><granularity>{granularity}</granularity></Identify></OAI-PMH>"
    )


def resource(ivoid: str, title: str = "A title", inside: str = "", **attributes: str) -> str:
    """A record as VOResource; *inside* comes after the title."""
    given = {"status": "active", "created": "2020-01-01T00:00:00Z"} | attributes
    written = " ".join(f'{name}="{value}"' for name, value in given.items())
    return (
        '<ri:Resource xmlns:ri="http://www.ivoa.net/xml/RegistryInterface/v1.0" xmlns="" '
        'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:type="vs:CatalogService" {written}><title>{title}</title>'
        f"<identifier>{ivoid}</identifier>{inside}</ri:Resource>"
    )


def record(ivoid: str, metadata: str | None = "", stamp: str = "2024-04-01T00:00:00Z") -> str:
    """A record of OAI-PMH; *metadata* None: deleted, empty: a plain `resource`."""
    status = ' status="deleted"' if metadata is None else ""
    inside = "" if metadata is None else f"<metadata>{metadata or resource(ivoid)}</metadata>"
    return (
        f"<record><header{status}><identifier>{ivoid}</identifier>"
        f"<datestamp>{stamp}</datestamp></header>{inside}</record>"
    )


def page(*records: str, token: str | None = None, moment: str = "2024-05-01T00:00:00Z") -> Answer:
    """A page of a list; without a token the last one."""
    ended = "" if token is None else f"<resumptionToken>{token}</resumptionToken>"
    return Answer(
        f"{_HEAD.format(moment=moment)}<ListRecords>{''.join(records)}{ended}"
        "</ListRecords></OAI-PMH>"
    )


def error(code: str, message: str = "so it is") -> Answer:
    return Answer(
        f'{_HEAD.format(moment="2024-05-01T00:00:00Z")}<error code="{code}">{message}</error>'
        "</OAI-PMH>"
    )


@contextmanager
def repository(answer: Callable[[Asked], Answer]) -> Iterator[Repository]:
    """A repository that answers each request to /oai with what *answer* gives for it."""
    made = Repository("", [], [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = dict(parse_qsl(urlsplit(self.path).query))
            made.asked.append(asked)
            made.agents.append(self.headers["User-Agent"])
            given = identify() if asked.get("verb") == "Identify" else answer(asked)
            body = given.body.encode()
            if given.headers.get("Content-Encoding") == "gzip":
                body = gzip.compress(body)
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/oai"
        try:
            yield made
        finally:
            server.shutdown()


def ask(settings: Settings, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(conninfo(settings, Role.READER)) as connection:
        rows = connection.execute(query.encode(), values or None).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def found(settings: Settings) -> set[str]:
    return set(ask(settings, "SELECT ivoid FROM rr.resource"))
