"""Log lines: one JSON object each, with the id of the request and nothing of the person."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.operations.conftest import Operated
from tests.support import settings_at, soon
from vo_service.settings import Settings
from vo_service.telemetry.context import acceptable, working_for
from vo_service.telemetry.logs import FIELDS, set_up_logs
from vo_service.telemetry.statements import marked
from vo_service.web.measured import Measured, Templates


def test_a_request_and_its_slow_query_have_the_id_that_the_client_got(operated: Operated) -> None:
    query = "SELECT COUNT(*) AS n FROM ivoa.obscore WHERE s_ra BETWEEN 123.456 AND 124"
    answer = httpx.get(
        f"{operated.url}/tap/sync",
        params={"LANG": "ADQL", "QUERY": query},
        headers={"X-Request-ID": "mine", "User-Agent": "Somebody/1.0"},
    )
    name = answer.headers["x-request-id"]
    assert name != "mine"  # 127.0.0.1 is no proxy that is trusted
    by_message: dict[str, Any] = {}

    def both_written() -> bool:
        lines = [line for line in operated.lines() if line.get("request_id") == name]
        by_message.update((line["message"], line) for line in lines)
        return {"request", "slow query"} <= by_message.keys()

    assert soon(both_written), by_message
    access = by_message["request"]
    assert (access["endpoint"], access["method"], access["status"]) == ("/tap/sync", "GET", 200)
    assert access["bytes"] > 100
    slow = by_message["slow query"]
    assert (slow["rows"], slow["outcome"]) == (1, "complete")
    assert len(slow["query_hash"]) == 16
    text = operated.log.read_text()
    for secret in ("123.456", "127.0.0.1", "Somebody", "mine", "ivoa.obscore"):
        assert secret not in text, secret


async def _endpoint(request: Request) -> Response:
    logging.getLogger("vo_service.test").info("at work")
    return PlainTextResponse("")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log writes in this process; afterwards it is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("vo_service")
    access = logging.getLogger("vo_service.access")
    before = (root.handlers[:], root.level, ours.level, access.level)
    stream = io.StringIO()
    yield stream
    root.handlers[:] = before[0]
    for logger, level in zip((root, ours, access), before[1:], strict=True):
        logger.setLevel(level)


def _ask(settings: Settings, stream: io.StringIO) -> list[str]:
    set_up_logs(settings)
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    app = Starlette(
        routes=[Route("/", _endpoint)],
        middleware=[Middleware(Measured, settings=settings, templates=Templates())],
    )
    TestClient(app, client=("192.0.2.7", 1)).get("/?QUERY=secret")
    return stream.getvalue().splitlines()


def test_lines_in_an_endpoint_carry_the_id_and_the_access_log_is_off(
    written: io.StringIO, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_at("", tmp_path_factory.mktemp("x"), log_format="json")
    [line] = [json.loads(text) for text in _ask(settings, written)]
    assert (line["message"], line["level"], line["logger"]) == (
        "at work", "info", "vo_service.test",
    )  # fmt: skip
    assert acceptable(line["request_id"])


def test_who_asked_for_what_is_logged_only_where_the_operator_wants_it(
    written: io.StringIO, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("x")
    settings = settings_at("", home, access_log=True, log_personal=True, log_level="warning")
    [line] = _ask(settings, written)  # as text; a line of level info is not wanted
    assert " INFO vo_service.access [" in line
    assert line.endswith("path=/ query=QUERY=secret client=192.0.2.7")


@given(text=st.text(max_size=40))
def test_a_line_of_text_stays_one_line_whatever_is_in_it(text: str) -> None:
    for format_ in ("text", "json"):
        set_up = logging.getLogger()
        before = set_up.handlers[:], set_up.level
        try:
            set_up_logs(Settings.model_construct(
                log_format=format_, log_level="info", access_log=False
            ))  # fmt: skip
            formatter = set_up.handlers[0].formatter
        finally:
            set_up.handlers[:], level = before
            set_up.setLevel(level)
        assert formatter is not None
        record = logging.LogRecord("x", logging.INFO, "", 1, "said %s", (text,), None)
        setattr(record, FIELDS, {"path": text})
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        if format_ == "json":
            assert json.loads(line)["path"] == text


@given(text=st.text(max_size=80))
def test_an_acceptable_id_can_stand_in_a_comment_and_a_header(text: str) -> None:
    if acceptable(text):
        assert text.isascii()
        assert not set(text) & set("*/\r\n ;'\"")
        with working_for(text):
            assert marked("SELECT 1") == f"/* {text} */ SELECT 1"
    assert marked("SELECT 1") == "SELECT 1"
