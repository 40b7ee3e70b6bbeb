"""A small TAP service with bad habits, for tests: what it does wrong is told by its fields."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["FIELDS", "OddSite", "row", "votable"]

#: Names in odd case and order; types that are not those of ObsCore.
FIELDS = {
    "S_RA": 'datatype="double" unit="deg"',
    "s_dec": 'datatype="double" unit="deg"',
    "Obs_Publisher_DID": 'datatype="char" arraysize="*"',
    "calib_level": 'datatype="unsignedByte"',
    "t_min": 'datatype="double"',
    "t_max": 'datatype="double"',
    "s_region": 'datatype="char" arraysize="*" xtype="adql:REGION"',
    "access_url": 'datatype="unicodeChar" arraysize="*"',
    "access_estsize": 'datatype="double"',
    "dataproduct_type": 'datatype="char" arraysize="*"',
    "s_xel1": 'datatype="int"',
    "instrument_name": 'datatype="char" arraysize="*"',
    "their_own": 'datatype="char" arraysize="*"',
}

_PLAIN = {
    "S_RA": "150", "s_dec": "70", "calib_level": "2", "t_min": "57000", "t_max": "57000.5",
    "access_url": "http://site.example/a?b&c", "access_estsize": "12", "their_own": "x",
}  # fmt: skip


def row(did: str, **changed: str) -> dict[str, str]:
    """A row that is right, but for what is *changed*."""
    return _PLAIN | {"Obs_Publisher_DID": did} | changed


def votable(fields: dict[str, str], rows: list[list[str]], status: str = "OK") -> str:
    declared = "".join(
        f'<FIELD name="{name}" {said}>'
        + ('<VALUES null="-999"/>' if name == "s_xel1" else "")
        + "</FIELD>"
        for name, said in fields.items()
    )
    cells = "".join(f"<TR>{''.join(f'<TD>{escape(c)}</TD>' for c in r)}</TR>" for r in rows)
    trailer = f'<INFO name="QUERY_STATUS" value="{status}"/>' if status != "OK" else ""
    return (
        '<?xml version="1.0"?><!-- odd --><vot:VOTABLE version="1.3" '
        'xmlns:vot="http://www.ivoa.net/xml/VOTable/v1.3"><vot:RESOURCE type="results">'
        '<vot:INFO name="QUERY_STATUS" value="OK"/><TABLE>'
        f"{declared}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE>{trailer}"
        "</vot:RESOURCE></vot:VOTABLE>"
    )


@dataclass
class OddSite:
    """Rows, and how they are served.

    *limit* is how many rows it sends at most, *marks* whether it says so; *sums* whether it can
    add; *answers* replaces the answer to a query of rows.
    """

    rows: list[dict[str, str]]
    limit: int = 1_000_000
    marks: bool = True
    sums: bool = False
    answers: Callable[[BaseHTTPRequestHandler], None] | None = None
    queries: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def served(self) -> Iterator[OddSite]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site._answer(self)

            def log_message(self, *_: Any) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}/tap"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        query = asked.get("QUERY", "")
        if not parts.path.endswith("/sync"):
            send(request, "<p>no such <b>place</b></p>", 404)
            return
        self.queries.append(query)
        if "GROUP BY" in query:
            self._count(request, query)
        elif self.answers is not None and "TOP 1" not in query:
            self.answers(request)
        else:
            found = [r for r in self.rows if _matches(query, r)]
            most = min(self.limit, int(asked["MAXREC"]))
            names = list(FIELDS)
            if "*" not in query:
                names = query.partition(" FROM ")[0].removeprefix("SELECT ").split(", ")
            cells = [[one.get(name, "") for name in names] for one in found[:most]]
            status = "OVERFLOW" if len(found) > most and self.marks else "OK"
            send(request, votable({name: FIELDS[name] for name in names}, cells, status))

    def _count(self, request: BaseHTTPRequestHandler, query: str) -> None:
        if "SUM(" in query and not self.sums:
            send(
                request, votable({}, []).replace('"OK"/>', '"ERROR">cannot add</vot:INFO>', 1), 400
            )
            return
        found = re.search(r"FLOOR\((\w+)/([\d.e-]+)\)", query)
        assert found is not None
        column, width = found[1], float(found[2])
        counts: Counter[str] = Counter()
        for one in self.rows:
            if _matches(query, one):
                value = _number(one.get(column, ""))
                counts[repr(float(math.floor(value / width))) if value is not None else ""] += 1
        fields = {"piece": 'datatype="double"', "products": 'datatype="int"'}
        send(request, votable(fields, [[piece, str(n)] for piece, n in counts.items()]))


def send(request: BaseHTTPRequestHandler, text: str, status: int = 200) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/x-votable+xml")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _matches(query: str, one: dict[str, str]) -> bool:
    for column, low, high in re.findall(r"\((\w+) >= ([\d.e+-]+) AND \w+ < ([\d.e+-]+)\)", query):
        value = _number(one.get(column, ""))
        if value is None or not float(low) <= value < float(high):
            return False
    for column, low, high in re.findall(
        r"\((\w+) IS NULL OR \w+ < ([\d.e+-]+) OR \w+ >= ([\d.e+-]+)\)", query
    ):
        value = _number(one.get(column, ""))
        if value is not None and float(low) <= value < float(high):
            return False
    return True
