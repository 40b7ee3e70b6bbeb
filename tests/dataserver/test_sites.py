"""A centre and an observatory that keeps its files: two servers, two trees, one key."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import psycopg
import pytest
import pyvo
import requests

from tests.dataserver.conftest import ALICE, CLOSED, OPEN, Sites
from vo_service.services.signing import SignedLinks


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def as_written(sites: Sites, target: str) -> tuple[HTTPResponse, bytes]:
    """What the data server answers to a target that no client has tidied up."""
    connection = HTTPConnection("localhost", sites.data.port, timeout=60)
    connection.request("GET", target)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def signed(sites: Sites, path: str, lifetime_s: int = 900) -> str:
    return SignedLinks(sites.centre.signing_keys).sign(path, lifetime_s)


def test_obscore_and_datalink_lead_to_the_data_server(sites: Sites) -> None:
    centre = f"http://localhost:{sites.centre.port}"
    rows = pyvo.dal.TAPService(f"{centre}/tap").search(
        "SELECT obs_publisher_did, access_url FROM ivoa.obscore WHERE obs_id IS NOT NULL"
    )
    urls = {row["access_url"] for row in rows}
    assert len(urls) == 13
    assert sites.data_url + OPEN in urls
    assert all(url.startswith(f"{sites.data_url}triccs/") for url in urls)
    (did,) = (r["obs_publisher_did"] for r in rows if r["access_url"].endswith(OPEN))
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(f"{centre}/datalink/links?ID={did}")
    (this,) = (link for link in links if link["semantics"] == "#this")
    assert this.access_url == sites.data_url + OPEN
    assert requests.get(this.access_url, timeout=60).content == sites.content(OPEN)


def test_a_public_file_comes_from_the_data_server_with_ranges(
    sites: Sites, http: httpx.Client
) -> None:
    whole = http.get(sites.data_url + OPEN)
    assert (whole.status_code, whole.content) == (200, sites.content(OPEN))
    part = http.get(sites.data_url + OPEN, headers={"Range": "bytes=2880-5759"})
    assert (part.status_code, part.content) == (206, sites.content(OPEN)[2880:5760])
    assert http.get(f"http://localhost:{sites.data.port}/health").status_code == 200
    for other in ("/", "/tap/sync", "/datalink/links", "/login"):
        assert http.get(f"http://localhost:{sites.data.port}{other}").status_code == 404


def test_the_centre_sends_a_client_on_with_a_signature_that_is_not_kept(
    sites: Sites, http: httpx.Client
) -> None:
    answer = http.get(sites.centre_data + OPEN)
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "no-store"
    target = urlsplit(answer.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == sites.data_url + OPEN
    expires = int(dict(parse_qsl(target.query))["expires"])
    assert abs(expires - time.time() - 900) < 30
    assert http.get(answer.headers["Location"]).content == sites.content(OPEN)


def test_a_closed_file_is_nobodys_but_its_proposals(sites: Sites, http: httpx.Client) -> None:
    unsigned = http.get(sites.data_url + CLOSED)
    assert unsigned.status_code == 302
    assert unsigned.headers["Location"] == sites.centre_data + CLOSED
    followed = http.get(sites.data_url + CLOSED, follow_redirects=True)
    assert followed.status_code == 401
    assert "proprietary" in followed.text
    wrong = http.get(sites.centre_data + CLOSED, auth=(ALICE[0], "wrong"), follow_redirects=True)
    assert wrong.status_code == 401


def test_who_may_read_a_closed_file_gets_it_with_any_client(sites: Sites) -> None:
    url, content = sites.centre_data + CLOSED, sites.content(CLOSED)
    assert requests.get(url, auth=ALICE, timeout=60).content == content
    curl = subprocess.run(
        ["curl", "-sfL", "-u", ":".join(ALICE), url], check=True, capture_output=True, timeout=60
    )
    assert curl.stdout == content
    session = pyvo.auth.AuthSession()
    session.credentials.set_password(*ALICE)
    session.add_security_method_for_url(
        f"http://localhost:{sites.centre.port}/", "ivo://ivoa.net/sso#BasicAA"
    )
    assert session.get(url, timeout=60).content == content


def test_what_is_said_to_the_centre_is_not_said_to_the_data_server(
    sites: Sites, http: httpx.Client
) -> None:
    answer = http.get(sites.centre_data + CLOSED, auth=ALICE)
    assert ALICE[0] not in answer.headers["Location"]
    assert answer.headers["Location"].startswith(sites.data_url)


def test_datalink_of_one_who_may_read_it_leads_through_the_centre(
    sites: Sites, http: httpx.Client
) -> None:
    with psycopg.connect(sites.centre.database_url or "") as connection:
        row = connection.execute(
            "SELECT did FROM archive.product WHERE path = %s", (CLOSED.partition("/")[2],)
        ).fetchone()
    assert row is not None
    url = f"http://localhost:{sites.centre.port}/datalink/links?{urlencode({'ID': row[0]})}"
    assert f"<TD>{sites.centre_data}{CLOSED}</TD>" in http.get(url, auth=ALICE).text
    assert "/data/" not in http.get(url).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("triccs/2026/10/22/TRCS00300001.fits", 200),
        ("triccs/2026/10/22/TRCS00300002.fits", 403),
        ("triccs/2026/10/22/TRCS%300300001.fits", 200),  # the same name, written otherwise
        ("triccs/2026/10/22/%2e%2e/22/TRCS00300001.fits", 403),
        ("triccs/2026/10/22%2fTRCS00300001.fits", 404),
        ("triccs/2026/10/22/TRCS00300001.fits%00", 404),
        ("triccs/2026/10/22/TRCS00300001.fits/", 403),
        ("triccs//2026/10/22/TRCS00300001.fits", 403),
        ("triccs/2026/10/22/TRCS00300001.fits%252e", 403),
        ("triccs/../triccs/2026/10/22/TRCS00300001.fits", 403),
        ("tomoe/2026/10/22/TRCS00300001.fits", 403),
        ("triccs/../../../../etc/passwd", 403),
        ("", 403),
    ],
)
def test_a_signed_link_gives_one_file_and_no_other(sites: Sites, path: str, status: int) -> None:
    answer, content = as_written(sites, f"/data/{path}?{signed(sites, CLOSED)}")
    assert answer.status == status
    assert answer.getheader("Location") is None
    if status == 200:
        assert content == sites.content(CLOSED)
    else:
        assert len(content) < 300
        assert str(sites.frames).encode() not in content


@pytest.mark.parametrize(
    "path",
    [
        "triccs/../../../../../../etc/passwd",
        "triccs/./2026/10/22/TRCS00300001.fits",
        "triccs",
        "triccs/",
        "../etc/passwd",
        "triccs/2026/10/22",
        "triccs/nothing.fits",
        "nothing/here.fits",
    ],
)
def test_even_a_signature_leads_nowhere_out_of_the_roots(sites: Sites, path: str) -> None:
    """Such a thing is never signed; if the centre did, the data server would not follow."""
    answer, content = as_written(sites, f"/data/{path}?{signed(sites, path)}")
    assert answer.status == 404
    assert b"root:" not in content


def test_an_expired_link_opens_nothing(sites: Sites, http: httpx.Client) -> None:
    url = f"{sites.data_url}{CLOSED}?{signed(sites, CLOSED, -1)}"
    answer = http.get(url)
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_a_link_in_the_frames_leads_nowhere_out_of_them(sites: Sites, http: httpx.Client) -> None:
    stray = sites.frames / "stray.fits"
    os.symlink("/etc/passwd", stray)
    try:
        answer = http.get(f"{sites.data_url}triccs/stray.fits?{signed(sites, 'triccs/stray.fits')}")
    finally:
        stray.unlink()
    assert answer.status_code == 404
