"""Traces: the request, and within it translate, execute and encode; nothing where they are off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from tests.operations.conftest import Operated
from tests.support import settings_at
from vo_service.errors import ConfigError
from vo_service.telemetry import tracing
from vo_service.web.app import create_app


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    monkeypatch.setattr(tracing, "_tracer", None)  # put back at the end
    memory = InMemorySpanExporter()
    tracing.tracing(memory)
    return memory


def test_a_query_has_a_span_for_each_part_of_its_way(
    operated: Operated, exporter: InMemorySpanExporter
) -> None:
    with TestClient(create_app(operated.settings.model_copy(update={"operator_port": 0}))) as http:
        asked = {"LANG": "ADQL", "QUERY": "SELECT TOP 5 obs_id FROM ivoa.obscore"}
        assert http.get("/tap/sync", params=asked).status_code == 200
    tracing.flush()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"GET /tap/sync", "translate", "execute", "encode"}
    whole = spans["GET /tap/sync"]
    for name in ("translate", "execute", "encode"):
        parent = spans[name].parent
        assert parent is not None
        assert whole.context is not None
        assert parent.span_id == whole.context.span_id


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    said = subprocess.run(
        (
            sys.executable, "-c",
            "import sys, vo_service.cli.serve, vo_service.cli.worker; "
            "print([name for name in sys.modules if name.startswith('opentelemetry')])",
        ),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "[]\n"


def test_an_option_that_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'vo-service\[otel\]'"):
        tracing.start_tracing(settings_at("", tmp_path, otel=True))
    tracing.start_tracing(settings_at("", tmp_path))
