"""Programs log in: PyVO by password and token, what knows AuthVO, curl."""

from __future__ import annotations

import re
import subprocess
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import pyvo
import requests
from astropy.io import fits
from astropy.table import Table

from tests.access.archive import CLOSED
from tests.access.conftest import PASSWORD, People
from tests.people import bearer
from vo_service.services.capabilities import SECURITY_METHODS

COUNT = "SELECT COUNT(*) AS n FROM ivoa.obscore"
HERS = "SELECT obs_id, access_url FROM ivoa.obscore WHERE target_name = 'canary' ORDER BY obs_id"
BASIC, OAUTH, _ = SECURITY_METHODS

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')

#: Rows that everybody sees: four public, one waiting with open metadata, one old.
EVERYBODYS = 6


def test_pyvo_without_login_sees_what_everybody_sees(served: str) -> None:
    service = pyvo.dal.TAPService(f"{served}/tap")
    assert service.search(COUNT)["n"][0] == EVERYBODYS
    assert len(service.search(HERS)) == 0


@pytest.fixture
def by_password(served: str) -> pyvo.auth.AuthSession:
    session = pyvo.auth.AuthSession()
    session.credentials.set_password("alice", PASSWORD)
    session.add_security_method_for_url(served, BASIC)
    return session


@pytest.fixture
def by_token(people: People) -> pyvo.auth.AuthSession:
    session = pyvo.auth.AuthSession()
    carrier = requests.Session()
    carrier.headers.update(bearer(people.alice))
    session.credentials.set(OAUTH, carrier)
    return session


@pytest.mark.parametrize("how", ["by_password", "by_token"])
def test_pyvo_sees_and_downloads_the_frames_of_alices_proposals(
    served: str, how: str, request: pytest.FixtureRequest
) -> None:
    session = request.getfixturevalue(how)
    service = pyvo.dal.TAPService(f"{served}/tap", session=session)
    rows = service.search(HERS)
    assert list(rows["obs_id"]) == ["canary-0", "canary-1", "canary-2"]
    assert service.search(COUNT)["n"][0] == EVERYBODYS + 3
    if how == "by_token":  # learnt from capabilities for /tap; the files are elsewhere
        session.add_security_method_for_url(served, OAUTH)
    for row, path in zip(rows, CLOSED, strict=False):
        content = session.get(row["access_url"]).content
        assert fits.getheader(BytesIO(content))["OBJECT"] == path


def test_pyvo_runs_jobs_that_see_what_is_alices(
    served: str, by_password: pyvo.auth.AuthSession
) -> None:
    service = pyvo.dal.TAPService(f"{served}/tap", session=by_password)
    job = service.submit_job(HERS)
    job.run().wait(phases=["COMPLETED", "ERROR", "ABORTED"], timeout=60)
    job.raise_if_error()
    assert [row["obs_id"] for row in job.fetch_result()] == ["canary-0", "canary-1", "canary-2"]
    for stranger in (requests.Session(), None):
        response = (stranger or requests).get(job.url)
        assert response.status_code == 403
        assert "canary" not in response.text
    job.delete()


def test_a_job_of_another_sees_nothing_closed_and_estimates_nothing_closed(
    served: str, people: People
) -> None:
    with httpx.Client(base_url=f"{served}/tap", headers=bearer(people.mallory)) as http:
        form = {"LANG": "ADQL", "QUERY": HERS, "PHASE": "RUN", "RESPONSEFORMAT": "csv"}
        place = http.post("/async", data=form).headers["Location"]
        document = http.get(place, params={"WAIT": "20"}).text
        while ">EXECUTING<" in document or ">QUEUED<" in document:
            document = http.get(place, params={"WAIT": "20"}).text
        result = http.get(f"{place}/results/result")
    assert result.text.split() == ["obs_id,access_url"]
    assert "7654321" not in document


def test_an_upload_is_joined_with_what_is_alices(
    served: str, by_password: pyvo.auth.AuthSession
) -> None:
    service = pyvo.dal.TAPService(f"{served}/tap", session=by_password)
    found = service.search(
        "SELECT o.obs_id FROM ivoa.obscore AS o JOIN tap_upload.t AS t ON 1 = CONTAINS("
        "POINT(t.ra, t.dec), o.s_region) WHERE o.obs_collection = 'secret' ORDER BY o.obs_id",
        # 3.6 degrees from the centre of canary-0 only: its footprint is told to reach 3.8.
        uploads={"t": Table({"ra": [6.3], "dec": [20.08]})},
    )
    assert list(found["obs_id"]) == ["canary-0"]


def test_a_program_that_knows_authvo_logs_in_by_what_capabilities_say(served: str) -> None:
    # As TOPCAT does: AuthVO 1.0 WD, "Client Behaviour", preemptive; one way for each scheme.
    offered = httpx.head(f"{served}/tap/capabilities").headers.get_list("WWW-Authenticate")
    schemes = {text.partition(" ")[0]: dict(_PARAMETER.findall(text)) for text in offered}
    query = {"LANG": "ADQL", "QUERY": COUNT, "RESPONSEFORMAT": "csv"}
    for scheme in ("ivoa_cookie", "ivoa_bearer"):
        assert schemes[scheme]["standard_id"] == "ivo://ivoa.net/sso#tls-with-password"
        with httpx.Client() as http:
            login = {"username": "alice", "password": PASSWORD}
            answer = http.post(schemes[scheme]["access_url"], data=login)
            assert answer.status_code == 200
            if scheme == "ivoa_bearer":
                http.cookies.clear()
                http.headers.update(bearer(answer.headers["X-VO-Bearer"]))
            probe = http.head(f"{served}/tap/capabilities")
            assert probe.headers["X-VO-Authenticated"] == "alice"
            assert "WWW-Authenticate" not in probe.headers
            counted = http.get(f"{served}/tap/sync", params=query).text.split()
            assert counted == ["n", str(EVERYBODYS + 3)]


def test_curl_downloads_with_a_password_that_is_not_in_its_arguments(
    served: str, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f'machine localhost login alice password "{PASSWORD}"\n')
    command = [
        "curl", "-sS", "--fail", "--netrc-file", str(tmp_path / "netrc"),
        f"{served}/data/open/waiting.fits",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert fits.getheader(BytesIO(done.stdout))["OBJECT"] == "waiting.fits"
