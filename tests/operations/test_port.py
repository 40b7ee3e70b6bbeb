"""The operator's port of a served archive: health and meters, there and nowhere else."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.operations.conftest import Operated
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.services.drain import Drain
from vo_service.web.measured import Measured, Templates
from vo_service.web.operator import operator_app

_COUNT = {"LANG": "ADQL", "RESPONSEFORMAT": "csv", "QUERY": "SELECT obs_id FROM ivoa.obscore"}


def test_a_server_says_that_it_is_ready_on_the_operators_port_only(operated: Operated) -> None:
    for place in ("/health", "/health/ready", "/health/live"):
        answer = httpx.get(operated.operator + place)
        assert (answer.status_code, answer.json()["status"]) == (
            200, "live" if place.endswith("live") else "ready",
        )  # fmt: skip
    for place in ("/health", "/health/live", "/metrics"):
        assert httpx.get(operated.url + place).status_code == 404
    assert httpx.get(f"{operated.operator}/tap/tables").status_code == 404


def test_requests_rows_and_bytes_are_counted_by_route(operated: Operated) -> None:
    before = operated.meters()
    answer = httpx.get(f"{operated.url}/tap/sync", params=_COUNT)
    assert httpx.get(f"{operated.url}/tap/async/{'secret' * 6}/phase").status_code == 404
    assert httpx.get(f"{operated.url}/secret/place").status_code == 404
    assert httpx.get(f"{operated.url}/data/secret/frame.fits").status_code == 404
    assert httpx.request("PATCH", f"{operated.url}/tap/sync").status_code == 405
    after = operated.meters()

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    rows = len(answer.text.splitlines()) - 1
    assert rows > 100
    assert grown("vo_rows_total") == rows
    assert grown('vo_response_bytes_total{endpoint="/tap/sync"}') >= len(answer.content) / 20
    expected = {("/tap/sync", "GET", 200), ("/tap/async/{job}/phase", "GET", 404),
                ("(none)", "GET", 404), ("/data/{path}", "GET", 404),
                ("/tap/sync", "other", 405)}  # fmt: skip
    for endpoint, method, status in expected:
        labels = f'endpoint="{endpoint}",method="{method}",status="{status}"'
        assert grown(f"vo_requests_total{{{labels}}}") == 1, labels
    assert grown('vo_request_seconds_count{endpoint="/tap/sync"}') == 2
    assert grown("vo_statement_seconds_count") == 1
    assert not any("secret" in name.lower() for name in after)


def test_meters_tell_of_database_disks_pools_jobs_and_releases(operated: Operated) -> None:
    found = operated.meters()
    assert found["vo_database_up"] == 1
    assert found["vo_database_bytes"] > 5e6
    assert found['vo_files{state="public"}'] == 124  # the demonstration: 127, of which 3 wait
    assert found['vo_files{state="arrived"}'] == 3
    assert found["vo_release_due_files"] == 0
    assert found['vo_pool_size{pool="reader"}'] == 16
    assert found['vo_pool_waiting{pool="reader"}'] == 0
    assert 0 < found["vo_ingest_last_end_timestamp_seconds"] <= time.time()
    free = [value for name, value in found.items() if name.startswith("vo_disk_free_bytes")]
    assert free
    assert all(value > 0 for value in free)
    assert found["process_resident_memory_bytes"] > 5e7


def test_who_is_not_ready_says_why_and_nothing_else(tmp_path: Path) -> None:
    settings = settings_at("host=127.0.0.1 port=1 password=secret", tmp_path / "home")
    client = TestClient(operator_app(settings))
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the link tree is not there")
    settings.public.mkdir(parents=True)
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (
        503, {"status": "not ready", "reason": "the database does not answer"},
    )  # fmt: skip
    meters = client.get("/metrics")
    assert "vo_database_up 0.0" in meters.text
    assert "secret" not in meters.text


def test_who_is_about_to_stop_is_alive_but_not_ready(operated: Operated) -> None:
    drain = Drain()
    client = TestClient(operator_app(operated.settings, drain))
    assert client.get("/health/ready").status_code == 200
    drain.begin()
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "this process is about to stop")


def test_the_view_of_numbers_is_for_the_door_alone(operated: Operated) -> None:
    for role in (Role.READER, Role.MEMBER, Role.JOBS):
        with (
            psycopg.connect(conninfo(operated.settings, role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM archive.gauge")


async def _nothing(request: Request) -> Response:
    return PlainTextResponse("")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/tap/sync", "/tap/sync"),
        ("/tap/async/phase/phase", "/tap/async/{job}/phase"),
        ("/tap/async/sync", "/tap/async/{job}"),
        ("/data/data/data", "/data/{path}"),
        ("/data/", "/data/{path}"),
        ("/other", "(none)"),
        ("//", "(none)"),
        ("/{path}", "(none)"),
    ],
)
def test_a_path_has_the_template_of_its_route(path: str, template: str) -> None:
    routes = [
        Route("/", _nothing),
        Mount("/tap", routes=[
            Route("/sync", _nothing), Route("/async/{job}", _nothing),
            Route("/async/{job}/phase", _nothing),
        ]),
        Mount("/data", Starlette(routes=[Route("/{path:path}", _nothing)])),
    ]  # fmt: skip
    templates = Templates()
    templates.learned(Starlette(routes=routes))
    assert templates.of(path) == template


@pytest.mark.parametrize(
    ("sent", "peer", "kept"),
    [
        ("front-7.a_b", "10.0.0.7", True),
        ("front-7.a_b", "10.0.1.7", False),  # nobody who is trusted
        ("front-7.a_b", "somewhere", False),
        ("*/; DROP TABLE x --", "10.0.0.7", False),
        ("x" * 65, "10.0.0.7", False),
        ("", "10.0.0.7", False),
    ],
)
def test_an_id_of_a_request_is_taken_from_trusted_proxies_only(
    sent: str, peer: str, kept: bool, tmp_path: Path
) -> None:
    settings = settings_at("", tmp_path, trusted_proxies=("10.0.0.0/24",))
    app = Starlette(
        routes=[Route("/", _nothing)],
        middleware=[Middleware(Measured, settings=settings, templates=Templates())],
    )
    answer = TestClient(app, client=(peer, 1)).get("/", headers={"X-Request-ID": sent})
    given = answer.headers["x-request-id"]
    assert (given == sent) is kept
    assert given
    twice = TestClient(app, client=(peer, 1)).get(
        "/", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")]
    )
    assert twice.headers["x-request-id"] not in {"a", "b"}
