"""Rate and places: who waits, who is sent away and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from vo_service.errors import TooManyError, VOError
from vo_service.model.visitor import Visitor, network_of
from vo_service.settings import Settings
from vo_service.web.limits import Kind, Places, Rate, kind_of

pytestmark = pytest.mark.anyio

Endpoint = Callable[[Request], Awaitable[Response]]


def settings(**chosen: object) -> Settings:
    return Settings(home=Path("/nowhere"), **chosen)  # type: ignore[arg-type]  # checked by pydantic


async def in_words(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyError)
    return PlainTextResponse(f"TAP says: {error}", 429, {"Retry-After": str(error.wait_s)})


def application(endpoint: Endpoint, *middleware: Middleware) -> Starlette:
    tap = Starlette(routes=[Route("/sync", endpoint)], exception_handlers={VOError: in_words})
    return Starlette(
        routes=[Mount("/tap", tap), Route("/soda/sync", endpoint), Route("/", endpoint)],
        middleware=list(middleware),
    )


def client(app: Starlette, address: str = "203.0.113.7") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30)


class Held:
    """An endpoint that answers when it may, and knows how many ask at the same time."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()
        self.now = self.most = 0

    async def answer(self, request: Request) -> Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.may_go.wait()
        self.now -= 1
        return PlainTextResponse("done")


async def quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)


async def test_sixteen_connections_of_one_program_are_all_served() -> None:
    held = Held()
    app = application(held.answer, Middleware(Places, settings=settings()))
    async with client(app) as topcat:
        asked = [asyncio.create_task(topcat.get("/tap/sync")) for _ in range(16)]
        await quiet()
        assert held.now == 8  # client_queries
        held.may_go.set()
        assert [response.status_code for response in await asyncio.gather(*asked)] == [200] * 16
    assert held.most == 8


async def test_who_has_too_many_waiting_is_told_when_to_come_again() -> None:
    held = Held()
    chosen = settings(client_queries=2, client_waiting=3)
    app = application(held.answer, Middleware(Places, settings=chosen))
    async with client(app) as greedy, client(app, "198.51.100.1") as other:
        asked = [asyncio.create_task(greedy.get("/tap/sync")) for _ in range(9)]
        await quiet()
        refused = [task.result() for task in asked if task.done()]
        assert [response.status_code for response in refused] == [429] * 4
        assert refused[0].headers["Retry-After"] == "10"
        assert refused[0].text == (
            "TAP says: you have 2 queries under way and as many waiting as may wait; "
            "try again in 10 s"
        )
        elsewhere = asyncio.create_task(other.get("/tap/sync"))
        cutout = asyncio.create_task(greedy.get("/soda/sync"))
        await quiet()
        assert held.now == 4  # another client, and another kind, have places of their own
        held.may_go.set()
        assert (await elsewhere).status_code == (await cutout).status_code == 200
        assert (await greedy.get("/tap/sync")).status_code == 200


async def test_waiting_has_an_end() -> None:
    held = Held()
    chosen = settings(client_queries=1, queue_s=0.05)
    app = application(held.answer, Middleware(Places, settings=chosen))
    async with client(app) as one:
        first = asyncio.create_task(one.get("/tap/sync"))
        await quiet()
        second = await one.get("/tap/sync")
        assert second.status_code == 429
        assert "none ended within 0.05 s" in second.text
        held.may_go.set()
        assert (await first).status_code == 200
        assert (await one.get("/tap/sync")).status_code == 200


async def test_all_together_have_an_end_too() -> None:
    held = Held()
    app = application(held.answer, Middleware(Places, settings=settings(queries_limit=5)))
    clients = [client(app, f"203.0.113.{n}") for n in range(7)]
    asked = [asyncio.create_task(one.get("/tap/sync")) for one in clients]
    await quiet()
    assert sorted(task.done() and task.result().status_code for task in asked) == [
        False, False, False, False, False, 429, 429,
    ]  # fmt: skip
    async with client(app) as another:
        page = asyncio.create_task(another.get("/"))  # costs little: is not counted
        await quiet()
        held.may_go.set()
        assert (await page).status_code == 200
    await asyncio.gather(*asked)


async def test_a_place_comes_back_however_a_request_ends() -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("defect")

    app = application(broken, Middleware(Places, settings=settings(client_queries=1, queue_s=0.1)))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as one:
        for _ in range(5):
            assert (await one.get("/tap/sync")).status_code == 500
        held = Held()
        waiting = application(held.answer, Middleware(Places, settings=settings(client_queries=1)))
        async with client(waiting) as two:
            left = asyncio.create_task(two.get("/tap/sync"))
            await quiet()
            left.cancel()
            await quiet()
            held.may_go.set()
            assert (await two.get("/tap/sync")).status_code == 200


async def test_known_people_have_places_of_their_own() -> None:
    held = Held()
    app = application(
        held.answer, Middleware(Places, settings=settings(client_queries=1, queue_s=0.05))
    )

    class Known:
        def __init__(self, app: Starlette) -> None:
            self._app = app

        async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # ASGI
            for name, value in scope["headers"]:
                if name == b"x-name":
                    scope["visitor"] = Visitor(value.decode(), scope["client"][0])
            await self._app(scope, receive, send)

    transport = httpx.ASGITransport(Known(app), client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as institute:
        asked = [
            asyncio.create_task(
                institute.get("/tap/sync", headers={"X-Name": name} if name else {})
            )
            for name in ("", "", "alice", "bob")
        ]
        await asyncio.sleep(0.3)
        assert held.now == 3
        held.may_go.set()
        statuses = [response.status_code for response in await asyncio.gather(*asked)]
        assert statuses == [200, 429, 200, 200]


async def test_a_burst_passes_and_a_flood_does_not() -> None:
    now = 1000.0

    async def answer(request: Request) -> Response:
        return PlainTextResponse("")

    app = application(
        answer,
        Middleware(Rate, settings=settings(client_requests_per_s=10), clock=lambda: now),
    )
    async with client(app) as one, client(app, "203.0.113.8") as other:
        got = [(await one.get("/tap/sync")).status_code for _ in range(203)]
        assert got == [200] * 200 + [429] * 3  # 20 s of the usual rate at once
        refused = await one.get("/tap/sync")
        assert refused.headers["Retry-After"] == "5"
        assert refused.text.startswith("TAP says: more than 10 requests per second came from")
        assert (await other.get("/tap/sync")).status_code == 200
        now += 5  # as told: 50 more
        got = [(await one.get("/tap/sync")).status_code for _ in range(51)]
        assert got == [200] * 50 + [429]


async def test_no_rate_is_no_limit() -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse("")

    app = application(answer, Middleware(Rate, settings=settings(client_requests_per_s=0)))
    async with client(app) as one:
        assert {(await one.get("/")).status_code for _ in range(300)} == {200}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tap/sync", Kind.QUERY),
        ("/tap/async", None),
        ("/tap/async/0123/results/result", Kind.DOWNLOAD),
        ("/tap/capabilities", None),
        ("/sia2/query", Kind.QUERY),
        ("/sia/tomoe/query", Kind.QUERY),
        ("/scs/ivoa.obscore", Kind.QUERY),
        ("/datalink/links", Kind.QUERY),
        ("/soda/sync", Kind.CUTOUT),
        ("/soda/async/0123", None),
        ("/data/tomoe/a.fits", Kind.DOWNLOAD),
        ("/bundles", Kind.DOWNLOAD),
        ("/bundles/async/01/results/tar", Kind.DOWNLOAD),
        ("/hips/tomoe/Norder3/Dir0/Npix1.jpg", None),
        ("/oai", None),
    ],
)
async def test_what_costs_much_is_counted(path: str, kind: Kind | None) -> None:
    assert kind_of({"path": path, "headers": []}) is kind


async def test_an_upload_is_no_plain_query() -> None:
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    assert kind_of({"path": "/tap/sync", "headers": headers}) is Kind.UPLOAD


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "address 203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "network 2001:db8:1:2::/64"),
        ("unknown", "address unknown"),
    ],
)
async def test_an_address_of_ipv6_counts_with_its_network(address: str, counted: str) -> None:
    assert network_of(address) == counted
