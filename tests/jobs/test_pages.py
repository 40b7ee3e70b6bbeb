"""Jobs as pages: who gets them, what they hold, what their buttons may do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from lxml import etree, html

from tests.jobs.archive import QUICK, SLOW
from tests.jobs.client import UWS, Remote, submit
from tests.jobs.conftest import Served

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
    "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.fixture
def browser(served: Served) -> httpx.Client:
    return httpx.Client(
        base_url=served.url, timeout=70, headers={"Accept": FIREFOX}, follow_redirects=True
    )


def page(browser: httpx.Client, url: str) -> html.HtmlElement:
    response = browser.get(url)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["vary"].lower().startswith("accept")
    assert "script" not in response.text.lower()
    return html.fromstring(response.text)


def press(browser: httpx.Client, job: Remote, label: str) -> httpx.Response:
    """Do what a browser does when a button is pressed."""
    (button,) = page(browser, job.url).xpath(f"//button[text()='{label}']")
    form = button.getparent()
    assert form.get("method") == "post"
    return browser.post(form.get("action"), data={button.get("name"): button.get("value")})


def labels(root: html.HtmlElement) -> list[str]:
    return [button.text for button in root.xpath("//button")]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (FIREFOX, "text/html"),
        (CHROME, "text/html"),
        ("text/html", "text/html"),
        ("text/html;q=0.9, text/xml;q=0.8", "text/html"),
        ("*/*", "text/xml"),
        (JAVA, "text/xml"),
        ("application/xml, text/html;q=0.9", "text/xml"),
        ("text/xml, text/html", "text/xml"),
        ("text/html;q=0", "text/xml"),
        ("text/html;q=x", "text/xml"),
        ("", "text/xml"),
    ],
)
def test_only_who_likes_pages_best_gets_one(http: httpx.Client, accept: str, wanted: str) -> None:
    job = submit(http, QUICK)
    for url in ("/async", job.url):
        response = http.get(url, headers={"Accept": accept})
        assert response.headers["content-type"].split(";")[0] == wanted
        assert "Accept" in response.headers["vary"]
    job.delete()


def test_a_page_shows_query_result_and_times(http: httpx.Client, browser: httpx.Client) -> None:
    job = submit(http, QUICK, PHASE="RUN", RUNID="my search", RESPONSEFORMAT="csv")
    job.wait("COMPLETED")
    shown = page(browser, job.url)
    assert shown.xpath("string(//h1)") == "Job my search: COMPLETED"
    assert QUICK in shown.xpath("//pre/text()")
    (result,) = shown.xpath("//a[text()='Result']/@href")
    assert browser.get(result).text.splitlines()[0] == "obs_id,s_ra,s_dec"
    text = shown.text_content()
    assert "text/csv;header=present, 5 rows" in text
    assert job.element("creationTime") in text
    assert labels(shown) == ["Delete job and result"]
    assert not shown.xpath("//meta[@http-equiv='refresh']")
    assert job.url in page(browser, "/async").xpath("//a/@href")
    job.delete()


def test_buttons_run_abort_and_delete(http: httpx.Client, browser: httpx.Client) -> None:
    job = submit(http, SLOW)
    assert labels(page(browser, job.url)) == ["Run", "Abort", "Delete job and result"]
    assert press(browser, job, "Run").status_code == 200
    job.wait("EXECUTING")
    running = page(browser, job.url)
    assert labels(running) == ["Abort", "Delete job and result"]
    assert running.xpath("//meta[@http-equiv='refresh']/@content") == ["5"]
    assert "ABORTED" in press(browser, job, "Abort").text
    assert job.phase == "ABORTED"
    answer = press(browser, job, "Delete job and result")
    assert str(answer.url).endswith("/async")
    assert answer.headers["content-type"].startswith("text/html")
    assert http.get(job.url).status_code == 404


def test_the_first_page_starts_a_job(served: Served, browser: httpx.Client) -> None:
    first: Any = html.fromstring(browser.get(served.url.removesuffix("tap")).text)
    (form,) = first.xpath("//form")
    (button,) = form.xpath(".//button[text()='Run as a job']")
    fields = {name: str(value) for name, value in form.form_values()}
    fields |= {button.get("name"): button.get("value")}
    assert button.get("formaction") == "tap/async"
    answer = browser.post("/async", data=fields)
    assert "<h1>Job " in answer.text
    press(browser, Remote(browser, str(answer.url)), "Delete job and result")


def test_a_page_of_a_failed_job_says_why(http: httpx.Client, browser: httpx.Client) -> None:
    job = submit(http, "SELECT ra_ FROM ivoa.obscore", PHASE="RUN")
    job.wait("ERROR")
    (notice,) = page(browser, job.url).xpath("//p[@class='notice']/text()")
    assert notice.startswith("line 1, column 8: no column ra_")
    job.delete()


def test_nothing_that_a_client_wrote_becomes_markup(
    http: httpx.Client, browser: httpx.Client
) -> None:
    evil = "</pre><b>'\"&amp;<img src=x onerror=alert(1)>\x00\ud7ff"
    job = submit(http, evil, RUNID=evil, **{"N<i>&'\"": evil})
    for url in (job.url, "/async"):
        text = browser.get(url).text
        assert not re.search(r"<(b|i|img)\b", text)
        opened: list[str] = []

        class Tags(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                opened.append(tag)  # noqa: B023 - used before the next turn of the loop
                assert not [name for name, _ in attrs if name.startswith("on")]

        Tags().feed(text)
        assert not {"b", "i", "img"} & set(opened)
    job.delete()


def test_a_page_keeps_its_address_and_is_not_framed(
    http: httpx.Client, browser: httpx.Client
) -> None:
    job = submit(http, QUICK)
    headers = browser.get(job.url).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    job.delete()


def test_looking_changes_nothing(http: httpx.Client, browser: httpx.Client) -> None:
    job = submit(http, QUICK)
    for query in ("?PHASE=RUN", "?ACTION=DELETE", "/phase?PHASE=ABORT"):
        browser.get(job.url + query)
    assert job.phase == "PENDING"
    job.delete()


def test_errors_are_pages_for_browsers_and_votables_for_others(
    http: httpx.Client, browser: httpx.Client
) -> None:
    nowhere = "/async/" + "0" * 32
    told = browser.get(nowhere)
    assert told.status_code == 404
    assert "there is no job" in told.text
    assert http.get(nowhere).headers["content-type"] == "application/x-votable+xml"
    wrong = {"LANG": "ADQL", "QUERY": "SELECT <b> FROM x"}
    told = browser.post("/sync", data=wrong)
    assert told.status_code == 400
    assert "line 1, column 8" in told.text
    assert "<b>" not in told.text
    assert b"QUERY_STATUS" in http.post("/sync", data=wrong).content


def test_a_result_is_shown_or_kept_as_the_answer_of_sync(http: httpx.Client) -> None:
    for name in ("csv", "html", "votable", "votable/td", "application/fits", "text", "json"):
        form = {"LANG": "ADQL", "QUERY": QUICK, "RESPONSEFORMAT": name}
        job = submit(http, QUICK, PHASE="RUN", RESPONSEFORMAT=name)
        job.wait("COMPLETED")
        stored = http.get(f"{job.url}/results/result").headers
        direct = http.post("/sync", data=form).headers
        for header in ("content-disposition", "content-type", "x-content-type-options"):
            assert stored[header] == direct[header]
        job.delete()


def test_a_job_that_nobody_known_made_may_be_changed_from_other_sites(http: httpx.Client) -> None:
    elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    answer = http.post("/async", data={"LANG": "ADQL", "QUERY": QUICK}, headers=elsewhere)
    job = Remote(http, answer.headers["location"])
    assert http.delete(job.url, headers=elsewhere).status_code == 303


def test_the_document_is_the_same_as_before_for_clients(http: httpx.Client) -> None:
    job = submit(http, QUICK)
    assert etree.QName(job.xml()).localname == "job"
    assert job.xml().findtext(UWS + "phase") == "PENDING"
    job.delete()
