"""TAP 1.1 over HTTP: parameters, documents, errors."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import httpx
import psycopg
import pytest
from astropy.io.votable import parse
from lxml import etree

from tests.support import validate
from tests.web.conftest import Archive

VOTABLE = {"v": "http://www.ivoa.net/xml/VOTable/v1.3"}


@pytest.fixture(scope="module")
def http(archive: Archive) -> httpx.Client:
    return httpx.Client(base_url=f"{archive.url}/tap", timeout=60)


def ask(http: httpx.Client, query: str, method: str = "POST", **more: Any) -> httpx.Response:
    pairs = {"LANG": "ADQL", "QUERY": query} | more
    if method == "GET":
        return http.get("/sync", params=pairs)
    return http.post("/sync", data=pairs)


def status_of(response: httpx.Response) -> list[tuple[str, str]]:
    root = etree.fromstring(response.content)
    infos = root.iterfind(".//v:INFO[@name='QUERY_STATUS']", VOTABLE)
    return [(info.get("value", ""), info.text or "") for info in infos]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_is_answered_by_get_and_post(http: httpx.Client, method: str) -> None:
    response = ask(http, "SELECT TOP 2 obs_id FROM ivoa.obscore", method)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/x-votable+xml"
    assert len(parse(io.BytesIO(response.content)).get_first_table().array) == 2


def test_multipart_and_parameters_in_the_url_of_a_post_are_taken(http: httpx.Client) -> None:
    response = http.post(
        "/sync?LANG=ADQL", files={"QUERY": (None, "SELECT TOP 1 obs_id FROM ivoa.obscore")}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("asked", "answered", "element"),
    [
        (None, "application/x-votable+xml", "BINARY2"),
        ("votable", "application/x-votable+xml", "BINARY2"),
        ("votable/td", "application/x-votable+xml", "TABLEDATA"),
        ("text/xml", "text/xml", "TABLEDATA"),
        (
            "application/x-votable+xml;serialization=TABLEDATA",
            "application/x-votable+xml;serialization=TABLEDATA",
            "TABLEDATA",
        ),
        (
            "application/x-votable+xml; serialization=BINARY",
            "application/x-votable+xml; serialization=BINARY",
            "BINARY",
        ),
    ],
)
def test_the_format_asked_for_is_the_format_answered(
    http: httpx.Client, asked: str | None, answered: str, element: str
) -> None:
    more = {} if asked is None else {"RESPONSEFORMAT": asked}
    response = ask(http, "SELECT TOP 3 * FROM ivoa.obscore", **more)
    assert response.headers["Content-Type"] == answered
    assert etree.fromstring(response.content).find(f".//v:{element}", VOTABLE) is not None
    validate(response.content, "VOTable-v1.4.xsd")


@pytest.mark.parametrize(
    ("query", "maxrec", "count", "overflow"),
    [
        ("SELECT * FROM ivoa.obscore", "5", 5, True),
        ("SELECT TOP 10 * FROM ivoa.obscore", "100", 10, False),
        ("SELECT TOP 10 * FROM ivoa.obscore", "5", 5, True),
        ("SELECT TOP 5 * FROM ivoa.obscore", "5", 5, False),
        ("SELECT * FROM ivoa.obscore", "0", 0, True),
        ("SELECT * FROM ivoa.obscore WHERE s_ra > 400", "10", 0, False),
        ("SELECT TOP 3 * FROM tap_schema.schemas", "3", 3, False),
        ("SELECT * FROM tap_schema.schemas", "1", 1, True),
    ],
)
def test_maxrec_and_overflow(
    http: httpx.Client, query: str, maxrec: str, count: int, overflow: bool
) -> None:
    response = ask(http, query, MAXREC=maxrec, RESPONSEFORMAT="votable/td")
    root = etree.fromstring(response.content)
    assert len(root.findall(".//v:TR", VOTABLE)) == count
    assert [value for value, _ in status_of(response)] == ["OK"] + ["OVERFLOW"] * overflow


@pytest.mark.parametrize(
    ("pairs", "status", "said"),
    [
        ({}, 400, "LANG is missing"),
        ({"LANG": "SQL", "QUERY": "x"}, 400, "unknown query language"),
        ({"LANG": "ADQL"}, 400, "QUERY is missing"),
        ({"LANG": "ADQL", "QUERY": "SELECT"}, 400, "line 1, column"),
        ({"LANG": "ADQL", "QUERY": "SELECT 1/0 FROM tap_schema.schemas"}, 400, "division by zero"),
        ({"LANG": "ADQL", "QUERY": "SELECT x FROM pg_catalog.pg_class"}, 400, "pg_catalog"),
        ({"LANG": "ADQL", "QUERY": "x", "RESPONSEFORMAT": "image/png"}, 400, "not known here"),
        ({"LANG": "ADQL", "QUERY": "x", "MAXREC": "many"}, 400, "MAXREC='many'"),
        ({"LANG": "ADQL", "QUERY": ["x", "y"]}, 400, "QUERY is given more than once"),
        (
            {"LANG": "ADQL", "QUERY": "SELECT obs_id FROM ivoa.obscore WHERE obs_id='\0'"},
            400,
            "U+0000 is no character of a query",
        ),
    ],
)
def test_errors_are_votables_that_say_what_was_expected(
    http: httpx.Client, pairs: dict[str, Any], status: int, said: str
) -> None:
    response = http.post("/sync", data=pairs)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/x-votable+xml"
    validate(response.content, "VOTable-v1.4.xsd")
    [(value, text)] = status_of(response)
    assert value == "ERROR"
    assert said in text


def crossed(times: int) -> str:
    """A count over so many copies of tap_schema.columns, of some hundreds of rows each."""
    tables = ", ".join(f"tap_schema.columns AS c{n}" for n in range(times))
    return f"SELECT COUNT(*) AS n FROM {tables}"


def test_a_query_that_cannot_end_in_time_is_refused_early_with_the_async_way(
    http: httpx.Client,
) -> None:
    started = time.monotonic()
    response = ask(http, crossed(7))
    assert time.monotonic() - started < 30  # of a limit of 60
    assert response.status_code == 400
    [(value, text)] = status_of(response)
    assert value == "ERROR"
    assert re.search(r"expected to run for about \d.* days.*TAP async", text), text


def test_a_client_that_leaves_takes_its_statement_with_it(
    http: httpx.Client, archive: Archive
) -> None:
    def running() -> int:
        with psycopg.connect(archive.settings.database_url or "") as admin:
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'active' AND query LIKE '%column_index%' AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    # True of every row, which the planner cannot know: it expects few, and lets it run.
    query = crossed(4) + " WHERE MOD(c0.column_index, 1) = 0 AND MOD(c1.column_index, 1) = 0"
    with pytest.raises(httpx.ReadTimeout):
        http.get("/sync", params={"LANG": "ADQL", "QUERY": query}, timeout=1.5)
    gone_by = time.monotonic() + 30  # of the minute that it would take
    while running():
        assert time.monotonic() < gone_by
        time.sleep(0.05)


def test_a_body_that_is_too_large_or_of_another_type_is_refused(http: httpx.Client) -> None:
    large = http.post("/sync", data={"LANG": "ADQL", "QUERY": "x" * 10_000_001})
    assert large.status_code == 413
    other = http.post("/sync", content=b"{}", headers={"Content-Type": "application/json"})
    assert other.status_code == 400
    assert "expected application/x-www-form-urlencoded" in status_of(other)[0][1]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/tables/no.such", 404)])
def test_places_that_are_not_there_are_said_so(http: httpx.Client, path: str, status: int) -> None:
    response = http.get(path)
    assert response.status_code == status
    assert status_of(response)[0][0] == "ERROR"


def test_another_method_is_answered_with_those_that_work(http: httpx.Client) -> None:
    response = http.put("/sync")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/capabilities", "driver-all.xsd"),
        ("/availability", "driver-all.xsd"),
        ("/tables", "driver-all.xsd"),
        ("/tables?detail=min", "driver-all.xsd"),
        ("/tables/ivoa.obscore", "driver-all.xsd"),
    ],
)
def test_vosi_documents_are_valid(http: httpx.Client, path: str, schema: str) -> None:
    response = http.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/xml")
    validate(response.content, schema)


def test_documents_are_not_sent_again_to_one_who_has_them(http: httpx.Client) -> None:
    first = http.get("/tables")
    again = http.get("/tables", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_first_page_names_the_tap_address(archive: Archive) -> None:
    page = httpx.get(archive.url + "/")
    assert page.status_code == 200
    assert f"{archive.url}/tap" in page.text


def test_other_sites_pages_may_read(http: httpx.Client) -> None:
    response = http.get("/capabilities", headers={"Origin": "https://example.org"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
