"""Traces by OpenTelemetry, where the operator wants them: setting ``otel``, extra ``otel``.

Spans: the request (named by its route), within it translate, execute and encode. Where they go is
said by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT`` and others). Switched off,
nothing of OpenTelemetry is imported and a span costs nothing.
Source: OpenTelemetry specification, "Environment Variable Specification"; W3C Trace Context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vo_service import __version__
from vo_service.errors import ConfigError
from vo_service.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

__all__ = ["flush", "span", "start_tracing", "tracing"]

_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[None]:
    """A span while the block lasts; nothing where tracing is off."""
    if _tracer is None:
        return contextlib.nullcontext()
    return _span(_tracer, name, attributes)


def start_tracing(settings: Settings) -> None:
    """Begin to trace, if the operator wants it.

    Raises
    ------
    ConfigError
        If the packages are not installed.
    """
    if not settings.otel:
        return
    try:
        # An option: nobody who leaves it off needs the packages.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - see above
            OTLPSpanExporter,
        )
    except ImportError:
        raise ConfigError(
            "otel: OpenTelemetry is not installed; pip install 'vo-service[otel]'"
        ) from None
    tracing(OTLPSpanExporter())


def tracing(exporter: SpanExporter) -> None:
    """Trace from now on, to *exporter*."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an option, as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an option, as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    global _tracer, _provider  # noqa: PLW0603 - one for the process, as all of OpenTelemetry is
    _provider = TracerProvider(
        resource=Resource.create({"service.name": "vo-service", "service.version": __version__})
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("vo_service", __version__)


def flush() -> None:
    """Send what waits to be sent; at the end of a process it is sent anyway."""
    if _provider is not None:
        _provider.force_flush()


@contextlib.contextmanager
def _span(tracer: Tracer, name: str, attributes: Mapping[str, str | int | float]) -> Iterator[None]:
    with tracer.start_as_current_span(name, attributes=dict(attributes)):
        yield
