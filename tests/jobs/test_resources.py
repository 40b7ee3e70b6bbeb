"""The resources of UWS 1.1 and how they change, over HTTP (standards/tap.md, 7 and 8)."""

from __future__ import annotations

import io
import re
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from astropy.io.votable import parse_single_table
from lxml import etree

from tests.jobs.archive import QUICK, SLOW
from tests.jobs.client import HREF, NIL, UWS, Remote, submit
from tests.jobs.conftest import Served
from tests.support import validate

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def pending(http: httpx.Client) -> Remote:
    return submit(http, QUICK, RUNID="mine", MAXREC="3")


@pytest.fixture(scope="module")
def completed(http: httpx.Client) -> Remote:
    job = submit(http, QUICK, PHASE="RUN")
    job.wait("COMPLETED")
    return job


@pytest.fixture
def executing(http: httpx.Client) -> Remote:
    job = submit(http, SLOW, PHASE="RUN")
    job.wait("EXECUTING")
    return job


def names(element: object) -> list[str]:
    return [child.tag.removeprefix(UWS) for child in element]  # type: ignore[attr-defined]


def test_a_new_job_is_pending_and_its_document_is_in_the_order_of_the_schema(
    served: Served, pending: Remote
) -> None:
    assert re.fullmatch(re.escape(served.url) + "/async/[0-9a-f]{32}", pending.url)
    job = pending.xml()
    assert job.get("version") == "1.1"
    assert names(job) == [
        "jobId", "runId", "ownerId", "phase", "quote", "creationTime", "startTime", "endTime",
        "executionDuration", "destruction", "parameters", "results",
    ]  # fmt: skip
    for name in ("ownerId", "quote", "startTime", "endTime"):
        assert job.find(UWS + name).get(NIL) == "true"  # type: ignore[union-attr]  # fails if absent
    assert job.findtext(UWS + "phase") == "PENDING"
    assert job.findtext(UWS + "runId") == "mine"
    assert INSTANT.fullmatch(job.findtext(UWS + "creationTime") or "")


def test_atoms_are_text(pending: Remote) -> None:
    assert pending.phase == "PENDING"
    assert pending.text("/executionduration") == "3600"
    assert INSTANT.fullmatch(pending.text("/destruction"))
    assert pending.text("/quote") == ""
    assert pending.text("/owner") == ""


def test_parameters_are_listed_as_given(pending: Remote) -> None:
    given = {p.get("id"): p.text for p in pending.xml("/parameters")}
    assert given == {"LANG": "ADQL", "QUERY": QUICK, "RUNID": "mine", "MAXREC": "3"}
    assert pending.text("/parameters/QUERY") == QUICK


def test_what_is_not_there_yet_is_empty_or_404(pending: Remote) -> None:
    assert len(pending.xml("/results")) == 0
    for path in ("/error", "/results/result", "/results/other", "/parameters/none", "/nothing"):
        response = pending.http.get(pending.url + path)
        assert response.status_code == 404, path
        assert b'value="ERROR"' in response.content


def test_a_completed_job_has_one_result_with_an_absolute_address(
    completed: Remote, http: httpx.Client
) -> None:
    (reference,) = completed.xml("/results")
    assert reference.get("id") == "result"
    assert reference.get(HREF) == f"{completed.url}/results/result"
    assert reference.get("mime-type") == "application/x-votable+xml"
    response = http.get(reference.get(HREF) or "")
    assert response.headers["content-type"] == "application/x-votable+xml"
    assert int(response.headers["content-length"]) == int(reference.get("size") or 0)
    table = parse_single_table(io.BytesIO(response.content))
    assert [str(obs) for obs in table.array["obs_id"]] == [f"obs-{i:06d}" for i in range(5)]
    assert completed.http.get(f"{completed.url}/error").status_code == 404


def test_a_result_comes_in_parts_and_is_not_sent_twice(completed: Remote) -> None:
    url = f"{completed.url}/results/result"
    whole = completed.http.get(url)
    part = completed.http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    tag = {"If-None-Match": whole.headers["etag"]}
    assert completed.http.get(url, headers=tag).status_code == 304
    head = completed.http.head(url)
    assert head.headers["content-length"] == str(len(whole.content))


def test_times_of_a_completed_job_follow_each_other(completed: Remote) -> None:
    job = completed.xml()
    created, started, ended = (
        datetime.fromisoformat(job.findtext(UWS + name) or "")
        for name in ("creationTime", "startTime", "endTime")
    )
    assert created <= started <= ended <= datetime.now(UTC)


def test_info_tells_estimate_and_progress(completed: Remote) -> None:
    info = completed.xml().find(UWS + "jobInfo")
    assert info is not None
    facts = {child.tag: child.text for child in info}
    assert facts["estimatedRows"] == facts["rowsWritten"] == "5"
    # 36 ranges of RA and the one for frames without a position.
    assert facts["partitionsRead"] == facts["partitions"] == "37"
    assert facts["lane"] == "short"
    assert facts["attempts"] == "1"


def test_a_cone_is_expected_to_read_few_partitions(http: httpx.Client) -> None:
    cone = "SELECT s_ra FROM ivoa.obscore WHERE 1=CONTAINS(POINT(s_ra, s_dec), CIRCLE(15, 0, 1))"
    job = submit(http, cone, PHASE="RUN")
    info = job.xml().find(UWS + "jobInfo")
    assert info is not None
    assert info.findtext("partitionsRead") == "1"
    job.delete()


@pytest.mark.parametrize("where", ["query", "form"])
def test_phase_run_at_creation_starts_the_job(http: httpx.Client, where: str) -> None:
    form = {"LANG": "ADQL", "QUERY": QUICK}
    if where == "query":
        response = http.post("/async?PHASE=RUN", data=form)
    else:
        response = http.post("/async", data={**form, "phase": "run"})
    job = Remote(http, response.headers["location"])
    job.wait("COMPLETED")
    assert "PHASE" not in {p.get("id") for p in job.xml("/parameters")}


def test_a_wrong_job_is_taken_and_fails_when_it_runs(http: httpx.Client) -> None:
    response = http.post("/async", data={"LANG": "Klingon"})
    assert response.status_code == 303
    job = Remote(http, response.headers["location"])
    assert job.phase == "PENDING"
    assert job.post("/phase", PHASE="RUN").status_code == 303
    job.wait("ERROR")
    summary = job.xml().find(UWS + "errorSummary")
    assert summary is not None
    assert (summary.get("type"), summary.get("hasDetail")) == ("fatal", "true")
    assert "LANG='Klingon'" in (summary.findtext(UWS + "message") or "")
    document = http.get(f"{job.url}/error")
    assert document.status_code == 200
    assert document.headers["content-type"].startswith("application/x-votable+xml")
    assert b"Klingon" in document.content
    assert http.get(f"{job.url}/results/result").status_code == 404


def test_an_error_that_shows_late_is_an_error(http: httpx.Client) -> None:
    # Half of the rows are written before the one whose logarithm is that of zero.
    query = "SELECT obs_id, LOG(180 - s_ra) AS x FROM ivoa.obscore ORDER BY s_ra"
    job = submit(http, query, PHASE="RUN", MAXREC="1000000")
    job.wait("ERROR")
    assert "logarithm" in job.http.get(f"{job.url}/error").text
    assert http.get(f"{job.url}/results/result").status_code == 404


def test_parameters_change_while_pending_only(pending: Remote, completed: Remote) -> None:
    response = pending.post("/parameters", query="SELECT 1 FROM ivoa.obscore", New="x")
    assert (response.status_code, response.headers["location"]) == (303, pending.url)
    given = {p.get("id"): p.text for p in pending.xml("/parameters")}
    assert given["query"] == "SELECT 1 FROM ivoa.obscore"
    assert "QUERY" not in given
    assert given["New"] == "x"
    assert completed.post("/parameters", QUERY=QUICK).status_code == 403


def test_uploads_accumulate_and_inline_content_is_kept_by_reference(pending: Remote) -> None:
    url = f"{pending.url}/parameters"
    for name, content in (("a", b"<first/>"), ("b", b"\x00\xff")):
        response = pending.http.post(
            url,
            data={"UPLOAD": f"{name},param:{name}"},
            files={name: ("../../evil", content, "text/html")},
        )
        assert response.status_code == 303
    listed = [(p.get("id"), p.get("byReference"), p.text) for p in pending.xml("/parameters")]
    assert listed[4:] == [
        ("UPLOAD", None, "a,param:a"),
        ("a", "true", f"{url}/a"),
        ("UPLOAD", None, "b,param:b"),
        ("b", "true", f"{url}/b"),
    ]
    for name, content in (("a", b"<first/>"), ("b", b"\x00\xff")):
        response = pending.http.get(f"{url}/{name}")
        assert response.content == content
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_a_value_that_xml_cannot_hold_is_given_by_reference(pending: Remote) -> None:
    assert pending.post("/parameters", **{"odd/name": "bell \x07 and nul \x00"}).status_code == 303
    (odd,) = (p for p in pending.xml("/parameters") if p.get("id") == "odd/name")
    assert odd.get("byReference") == "true"
    assert pending.http.get(odd.text or "").text == "bell \x07 and nul \x00"


def test_job_parameters_are_not_taken_by_the_job_itself(pending: Remote) -> None:
    assert pending.post("", QUERY="SELECT 1 FROM ivoa.obscore").status_code == 403
    assert pending.post("", ACTION="EXPLODE").status_code == 400


def test_run_queues_and_a_second_run_changes_nothing(pending: Remote) -> None:
    response = pending.post("/phase", PHASE="RUN")
    assert (response.status_code, response.headers["location"]) == (303, pending.url)
    pending.wait("COMPLETED")
    assert pending.post("/phase", PHASE="RUN").status_code == 403


def test_abort_reaches_the_database(executing: Remote, served: Served) -> None:
    response = executing.post("/phase", PHASE="ABORT")
    assert (response.status_code, response.headers["location"]) == (303, executing.url)
    assert executing.phase == "ABORTED"
    assert executing.http.get(f"{executing.url}/error").status_code == 404
    assert not statements_left(served, 30.0)
    assert executing.post("/phase", PHASE="RUN").status_code == 403
    assert executing.post("/phase", PHASE="ABORT").status_code == 303
    assert executing.phase == "ABORTED"


def statements_left(served: Served, patience_s: float) -> bool:
    """Whether the slow statement still runs when so much time has passed."""
    with psycopg.connect(served.settings.database_url or "", autocommit=True) as connection:
        until = time.monotonic() + patience_s
        while True:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
                "AND datname = current_database() AND query LIKE '%SELECT%sqrt(%' "
                "AND pid <> pg_backend_pid()"
            ).fetchone()
            if row == (0,) or time.monotonic() > until:
                return row != (0,)
            time.sleep(0.05)


@pytest.mark.parametrize("how", ["DELETE", "ACTION"])
def test_delete_stops_and_destroys(executing: Remote, served: Served, how: str) -> None:
    if how == "DELETE":
        response = executing.http.delete(executing.url)
    else:
        response = executing.post("", ACTION="DELETE")
    assert (response.status_code, response.headers["location"]) == (303, f"{served.url}/async")
    for path in ("", "/phase", "/results/result", "/parameters"):
        assert executing.http.get(executing.url + path).status_code == 404
    assert executing.http.delete(executing.url).status_code == 404
    assert not statements_left(served, 30.0)


def test_delete_removes_the_result(http: httpx.Client, served: Served) -> None:
    job = submit(http, QUICK, PHASE="RUN")
    job.wait("COMPLETED")
    place = served.settings.jobs / job.url.rsplit("/", 1)[1]
    assert [file.name for file in place.iterdir()] == ["result"]
    job.delete()
    assert not place.exists()


@pytest.mark.parametrize(
    ("given", "kept"), [("10", "10"), ("0", "86400"), ("100000", "86400"), ("86400", "86400")]
)
def test_execution_duration_is_set_within_the_limit(pending: Remote, given: str, kept: str) -> None:
    response = pending.post("/executionduration", EXECUTIONDURATION=given)
    assert (response.status_code, response.headers["location"]) == (303, pending.url)
    assert pending.text("/executionduration") == kept
    assert pending.element("executionDuration") == kept


def test_destruction_is_set_within_the_limit(pending: Remote) -> None:
    wanted = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    response = pending.post("/destruction", destruction=f"{wanted:%Y-%m-%dT%H:%M:%S}")
    assert (response.status_code, response.headers["location"]) == (303, pending.url)
    assert pending.text("/destruction") == f"{wanted:%Y-%m-%dT%H:%M:%S.000Z}"
    assert pending.post("/destruction", DESTRUCTION="9999-12-31").status_code == 303
    latest = datetime.fromisoformat(pending.text("/destruction"))
    assert abs(latest - datetime.now(UTC) - timedelta(days=31)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/phase", {"PHASE": "SIDEWAYS"}),
        ("/phase", {}),
        ("/executionduration", {"EXECUTIONDURATION": "-1"}),
        ("/executionduration", {"EXECUTIONDURATION": "1.5"}),
        ("/executionduration", {"EXECUTIONDURATION": "9" * 40}),
        ("/destruction", {"DESTRUCTION": "tomorrow"}),
        ("/destruction", {"DESTRUCTION": "0001-01-01T00:00:00+14:00"}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    pending: Remote, path: str, form: dict[str, str]
) -> None:
    response = pending.post(path, **form)
    assert response.status_code == 400
    assert b'value="ERROR"' in response.content
    assert pending.phase == "PENDING"


def test_a_job_that_runs_too_long_is_aborted_with_a_reason(http: httpx.Client) -> None:
    job = submit(http, SLOW)
    assert job.post("/executionduration", EXECUTIONDURATION="1").status_code == 303
    assert job.post("/phase", PHASE="RUN").status_code == 303
    assert job.xml(WAIT=10, PHASE="QUEUED").findtext(UWS + "phase") == "EXECUTING"
    started = time.monotonic()
    job.wait("ABORTED")
    assert time.monotonic() - started < 30  # of minutes
    assert "execution duration" in http.get(f"{job.url}/error").text


def test_wait_returns_at_the_change_of_phase(http: httpx.Client) -> None:
    job = submit(http, SLOW, PHASE="RUN")
    job.wait("EXECUTING")
    started = time.monotonic()
    assert job.xml(WAIT=1).findtext(UWS + "phase") == "EXECUTING"
    assert 0.9 < time.monotonic() - started < 20
    started = time.monotonic()
    assert job.xml(WAIT=30, PHASE="PENDING").findtext(UWS + "phase") == "EXECUTING"
    assert job.xml(WAIT=0).findtext(UWS + "phase") == "EXECUTING"
    job.post("/phase", PHASE="ABORT")
    assert job.xml(WAIT=30).findtext(UWS + "phase") == "ABORTED"
    assert job.xml(WAIT=-1, PHASE="ABORTED").findtext(UWS + "phase") == "ABORTED"
    assert time.monotonic() - started < 25  # of a WAIT of 30 seconds


@pytest.mark.parametrize("query", ["WAIT=x", "WAIT=-2", "WAIT=1&WAIT=2", "WAIT=1&PHASE=NONE"])
def test_a_wrong_wait_is_refused(pending: Remote, query: str) -> None:
    assert pending.http.get(f"{pending.url}?{query}").status_code == 400


def test_wait_is_woken_and_does_not_poll(pending: Remote) -> None:
    """A waiting client learns of a change in less time than a person would notice."""
    seen: list[tuple[str | None, float]] = []

    def wait() -> None:
        with httpx.Client(timeout=30) as own:
            document = Remote(own, pending.url).xml(WAIT=20)
            seen.append((document.findtext(UWS + "phase"), time.monotonic()))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    changed = time.monotonic()
    pending.post("/phase", PHASE="ABORT")
    waiting.join(30)
    ((phase, at),) = seen
    assert phase == "ABORTED"
    assert at - changed < 15  # of a WAIT of 20 seconds


def listed(http: httpx.Client, query: str) -> list[str]:
    response = http.get(f"/async?{query}")
    assert response.status_code == 200
    validate(response.content, "UWS-v1.1.xsd")
    return [str(ref.get("id")) for ref in etree.fromstring(response.content)]


def test_the_list_is_filtered_by_phase_time_and_number(http: httpx.Client, served: Served) -> None:
    first = submit(http, QUICK)
    middle = first.element("creationTime")
    second = submit(http, QUICK)
    third = submit(http, QUICK)
    third.post("/phase", PHASE="ABORT")
    ids = [job.url.rsplit("/", 1)[1] for job in (first, second, third)]
    # The list tells milliseconds, the table holds microseconds.
    assert listed(http, f"AFTER={middle}")[:2] == [ids[2], ids[1]]
    assert listed(http, "LAST=2") == [ids[2], ids[1]]
    assert listed(http, "LAST=1&PHASE=PENDING") == [ids[1]]
    both = listed(http, "PHASE=PENDING&PHASE=ABORTED&LAST=3")
    assert both == [ids[2], ids[1], ids[0]]
    assert listed(http, "AFTER=2999-01-01T00:00:00Z") == []
    with psycopg.connect(served.settings.database_url or "") as connection:
        connection.execute("UPDATE uws.job SET phase = 'ARCHIVED' WHERE job_id = %s", (ids[1],))
    assert ids[1] not in listed(http, "")
    assert listed(http, "PHASE=ARCHIVED") == [ids[1]]
    for query in ("PHASE=NONE", "LAST=0", "LAST=x", "AFTER=noon"):
        assert http.get(f"/async?{query}").status_code == 400


@pytest.mark.parametrize(
    "path", ["/async/none", f"/async/{'0' * 32}", "/async/%00/phase", "/async/a%2Fb"]
)
def test_an_unknown_job_is_404(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_wrong_methods_are_told_which_are_right(pending: Remote) -> None:
    response = pending.http.put(pending.url)
    assert response.status_code == 405
    allowed = {method.strip() for method in response.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "POST", "DELETE"}


def test_xml_is_given_to_those_who_take_xml(pending: Remote) -> None:
    response = pending.http.get(pending.url, headers={"Accept": "application/xml,text/plain"})
    assert response.headers["content-type"].startswith("text/xml")


def test_a_slash_at_the_end_does_not_matter(http: httpx.Client) -> None:
    form = {"LANG": "ADQL", "QUERY": QUICK}
    response = http.post("/async/", data=form, follow_redirects=True)
    assert response.status_code == 200
    assert b"<uws:phase>PENDING<" in response.content
