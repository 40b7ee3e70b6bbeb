"""Whose jobs are whose, once an authentication middleware names users."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from lxml import etree
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.jobs.archive import QUICK
from tests.jobs.client import UWS
from vo_service.model.visitor import Visitor
from vo_service.settings import Settings
from vo_service.web.app import create_app

pytestmark = pytest.mark.anyio


class _Named:
    """Believes what a header says: a stand-in for the authentication."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = Headers(scope=scope).get("X-Test-User") if scope["type"] == "http" else None
        if name:
            scope["visitor"] = Visitor(name=name, address="192.0.2.1")
        await self._app(scope, receive, send)


@pytest.fixture
async def http(filled: Settings) -> AsyncIterator[httpx.AsyncClient]:
    closed = filled.model_copy(
        update={
            "list_anonymous_jobs": False,
            "jobs_per_client": 5,
            "upload_bytes_limit": 10_000_000,
        }
    )
    app = create_app(closed)
    app.add_middleware(_Named)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost/tap") as client,
    ):
        yield client


def as_user(name: str) -> dict[str, str]:
    return {"X-Test-User": name}


async def create(http: httpx.AsyncClient, headers: dict[str, str]) -> str:
    form = {"LANG": "ADQL", "QUERY": QUICK}
    response = await http.post("/async", data=form, headers=headers)
    assert response.status_code == 303
    return "/async/" + str(response.headers["location"]).rsplit("/", 1)[1]


async def listed(http: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    response = await http.get("/async", headers=headers)
    return [f"/async/{ref.get('id')}" for ref in etree.fromstring(response.content)]


async def test_a_users_job_is_closed_to_all_others(http: httpx.AsyncClient) -> None:
    alice, bob = as_user("alice"), as_user("bob")
    job = await create(http, alice)
    document = await http.get(job, headers=alice)
    assert etree.fromstring(document.content).findtext(UWS + "ownerId") == "alice"
    assert (await http.get(f"{job}/owner", headers=alice)).text == "alice"
    for other in (bob, {}):
        for path in ("", "/phase", "/parameters", "/results/result", "/error", "?WAIT=1"):
            assert (await http.get(job + path, headers=other)).status_code == 403
        for path, form in (
            ("/phase", {"PHASE": "RUN"}),
            ("/phase", {"PHASE": "ABORT"}),
            ("/parameters", {"QUERY": "x"}),
            ("/destruction", {"DESTRUCTION": "2020-01-01"}),
            ("/executionduration", {"EXECUTIONDURATION": "1"}),
            ("", {"ACTION": "DELETE"}),
        ):
            response = await http.post(job + path, data=form, headers=other)
            assert response.status_code == 403
        assert (await http.delete(job, headers=other)).status_code == 403
    assert (await http.get(f"{job}/phase", headers=alice)).text == "PENDING"
    assert (await http.delete(job, headers=alice)).status_code == 303


async def test_the_list_shows_a_user_his_own_and_strangers_nothing(
    http: httpx.AsyncClient,
) -> None:
    alice, bob = as_user("alice"), as_user("bob")
    mine, his, nobodys = await create(http, alice), await create(http, bob), await create(http, {})
    assert await listed(http, alice) == [mine]
    assert await listed(http, bob) == [his]
    assert await listed(http, {}) == []
    # Who has the identifier has the job.
    assert (await http.get(f"{nobodys}/phase")).text == "PENDING"
    for job, headers in ((mine, alice), (his, bob), (nobodys, {})):
        assert (await http.delete(job, headers=headers)).status_code == 303


async def test_a_client_may_have_so_many_unfinished_jobs(http: httpx.AsyncClient) -> None:
    carol = as_user("carol")
    jobs = [await create(http, carol) for _ in range(5)]
    refused = await http.post("/async", data={"QUERY": QUICK}, headers=carol)
    assert refused.status_code == 403
    assert b"5 jobs" in refused.content
    assert (await http.delete(jobs[0], headers=carol)).status_code == 303
    await create(http, carol)


async def test_inline_parts_together_are_limited(http: httpx.AsyncClient) -> None:
    job = await create(http, {})
    part = {"t": ("t", b"x" * 6_000_000)}
    assert (await http.post(f"{job}/parameters", files=part)).status_code == 303
    again = await http.post(f"{job}/parameters", files=part)
    assert again.status_code == 413
    assert b"10000000 bytes" in again.content


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://localhost.elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
    ],
)
async def test_pages_of_other_sites_change_nothing_in_the_name_of_a_user(
    http: httpx.AsyncClient, said: dict[str, str], status: int
) -> None:
    dora = as_user("dora")
    job = await create(http, dora)
    form = {"EXECUTIONDURATION": "7"}
    for answer in (
        await http.post(f"{job}/executionduration", data=form, headers=dora | said),
        await http.post(f"{job}/phase", data={"PHASE": "ABORT"}, headers=dora | said),
        await http.post("/async", data={"QUERY": QUICK}, headers=dora | said),
        await http.delete(job, headers=dora | said),
    ):
        assert answer.status_code == status
    for left in await listed(http, dora):
        assert (await http.delete(left, headers=dora)).status_code == 303
