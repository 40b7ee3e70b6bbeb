"""Any sequence of UWS requests: no illegal phase, no step back, no 5xx, no invalid document."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.jobs.archive import QUICK, SLOW
from tests.jobs.client import UWS, Remote
from tests.jobs.conftest import Served

#: Phases that may be seen after a phase was; nothing leads out of those that are absent.
FOLLOWS = {
    "PENDING": {"PENDING"},
    "QUEUED": {"QUEUED", "EXECUTING", "COMPLETED", "ERROR"},
    "EXECUTING": {"QUEUED", "EXECUTING", "COMPLETED", "ERROR"},
}

QUERIES = st.sampled_from([QUICK, SLOW, "SELECT nothing FROM nowhere", "", "SELECT \0"])
TEXTS = st.text(max_size=20)
NAMES = st.sampled_from(
    ["PHASE", "phase", "ACTION", "WAIT", "LAST", "AFTER", "QUERY", "LANG", "MAXREC", "RUNID",
     "UPLOAD", "EXECUTIONDURATION", "DESTRUCTION", "RESPONSEFORMAT"]
)  # fmt: skip
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(
        ["RUN", "ABORT", "DELETE", "PENDING", "ARCHIVED", "-1", "0", "1", "2020-01-01"]
    ),
)
PATHS = st.sampled_from(
    ["", "/phase", "/quote", "/owner", "/error", "/parameters", "/parameters/QUERY", "/results",
     "/results/result", "/executionduration", "/destruction", "/nothing"]
)  # fmt: skip


class Sequences(RuleBasedStateMachine):
    """A client that asks for anything in any order; knows in which phases its jobs may be."""

    http: httpx.Client

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.allowed: dict[str, set[str]] = {}
        self.hurried: set[str] = set()

    def ask(self, method: str, url: str, **how: object) -> httpx.Response:
        response = self.http.request(method, url, **how)  # type: ignore[arg-type]  # as httpx takes it
        assert response.status_code < 500, (method, url, how, response.text)
        return response

    @rule(target=jobs, query=QUERIES, run=st.booleans())
    def create(self, query: str, run: bool) -> str:
        form = {"LANG": "ADQL", "QUERY": query} | ({"PHASE": "RUN"} if run else {})
        response = self.ask("POST", "/async", data=form)
        assert response.status_code == 303
        url = response.headers["location"]
        self.allowed[url] = FOLLOWS["QUEUED"] if run else {"PENDING"}
        return str(url)

    @rule(url=jobs)
    def run(self, url: str) -> None:
        response = self.ask("POST", f"{url}/phase", data={"PHASE": "RUN"})
        if self.allowed[url] == {"PENDING"}:
            assert response.status_code == 303
            self.allowed[url] = FOLLOWS["QUEUED"] | ({"ABORTED"} if url in self.hurried else set())
        else:
            assert response.status_code in (303, 403)

    @rule(url=jobs)
    def abort(self, url: str) -> None:
        assert self.ask("POST", f"{url}/phase", data={"PHASE": "ABORT"}).status_code == 303
        ended = self.allowed[url] - {"PENDING", "QUEUED", "EXECUTING"}
        never_ran = self.allowed[url] == {"PENDING"}
        self.allowed[url] = {"ABORTED"} if never_ran else ended | {"ABORTED"}

    @rule(url=consumes(jobs))
    def delete(self, url: str) -> None:
        assert self.ask("DELETE", url).status_code == 303
        del self.allowed[url]
        assert self.ask("GET", url).status_code == 404

    @rule(url=jobs, name=NAMES.filter(lambda n: n.upper() != "PHASE"), value=VALUES)
    def add_parameter(self, url: str, name: str, value: str) -> None:
        response = self.ask("POST", f"{url}/parameters", data={name: value})
        assert response.status_code == (303 if self.allowed[url] == {"PENDING"} else 403)

    @rule(url=jobs, seconds=st.integers(0, 10**6))
    def set_duration(self, url: str, seconds: int) -> None:
        form = {"EXECUTIONDURATION": str(seconds)}
        assert self.ask("POST", f"{url}/executionduration", data=form).status_code == 303
        if 0 < seconds < 60:  # it may be over while we look
            self.hurried.add(url)
            if self.allowed[url] & {"QUEUED", "EXECUTING"}:
                self.allowed[url] = self.allowed[url] | {"ABORTED"}

    @rule(
        method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
        url=jobs,
        path=PATHS.filter(bool),
        query=st.lists(st.tuples(NAMES, VALUES), max_size=3),
    )
    def look(self, method: str, url: str, path: str, query: list[tuple[str, str]]) -> None:
        response = self.ask(method, url + path, params=query)
        assert response.status_code in (200, 404, 405)

    @rule(form=st.dictionaries(NAMES.filter(lambda n: n.upper() != "PHASE"), VALUES, max_size=4))
    def create_odd(self, form: dict[str, str]) -> None:
        response = self.ask("POST", "/async", data=form or {"x": "y"})
        assert response.status_code == 303
        assert self.ask("DELETE", response.headers["location"]).status_code == 303

    @rule(query=st.lists(st.tuples(NAMES, VALUES), max_size=3))
    def list_jobs(self, query: list[tuple[str, str]]) -> None:
        assert self.ask("GET", "/async", params=query).status_code in (200, 400)

    @invariant()
    def every_phase_is_one_that_may_be(self) -> None:
        for url, allowed in self.allowed.items():
            remote = Remote(self.http, url)
            job = remote.xml()
            phase = job.findtext(UWS + "phase") or ""
            assert phase in allowed, (url, phase, allowed)
            # From what was seen, fewer phases can follow than before.
            can = FOLLOWS.get(phase, {phase})
            self.allowed[url] = allowed & (can | ({"ABORTED"} & allowed))
            results = job.find(UWS + "results")
            assert results is not None
            assert (len(results) == 1) == (phase == "COMPLETED")

    def teardown(self) -> None:
        for url in self.allowed:
            self.http.delete(url)


@pytest.fixture
def machine(http: httpx.Client, served: Served) -> type[Sequences]:
    class Bound(Sequences):
        pass

    Bound.http = http
    return Bound


def test_no_sequence_of_requests_leads_to_an_illegal_phase(machine: type[Sequences]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
