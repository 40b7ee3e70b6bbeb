"""The meters of a process, in one registry of prometheus-client; `/metrics` writes them.

Labels are taken from finite sets only (route templates, methods, names of pools): nothing that a
client chooses becomes one. Units are seconds and bytes, as Prometheus, "Metric and label naming",
wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = [
    "REGISTRY",
    "REQUESTS",
    "REQUEST_BYTES",
    "REQUEST_SECONDS",
    "ROWS",
    "STATEMENT_SECONDS",
    "UNDER_WAY",
    "PoolUse",
    "watch_gauge",
    "watch_pools",
]

# When a counter was made says nothing that anybody asks for, and doubles what is sent.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

REQUESTS = Counter(
    "vo_requests", "Requests that were answered", ("endpoint", "method", "status"),
    registry=REGISTRY,
)  # fmt: skip
REQUEST_SECONDS = Histogram(
    "vo_request_seconds", "From the request to the last byte of its answer", ("endpoint",),
    buckets=_BUCKETS, registry=REGISTRY,
)  # fmt: skip
REQUEST_BYTES = Counter(
    "vo_response_bytes", "Bytes of answers, without their heads", ("endpoint",), registry=REGISTRY
)
UNDER_WAY = Gauge("vo_requests_under_way", "Requests that are being answered", registry=REGISTRY)
ROWS = Counter("vo_rows", "Rows read from the database for answers", registry=REGISTRY)
STATEMENT_SECONDS = Histogram(
    "vo_statement_seconds", "Waited for the database by a query from outside",
    buckets=_BUCKETS, registry=REGISTRY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of a pool: how many it may have, how many work, and who waits for one."""

    size: int
    used: int
    waiting: int


class _Pools(Collector):
    """The pools of this process, asked when somebody wants to know."""

    def __init__(self) -> None:
        self._pools: dict[str, Callable[[], PoolUse]] = {}

    def watch(self, pools: Mapping[str, Callable[[], PoolUse]]) -> None:
        self._pools |= pools

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not known beforehand."""
        return ()

    def collect(self) -> Iterator[Metric]:
        size = GaugeMetricFamily("vo_pool_size", "Connections at most", labels=["pool"])
        used = GaugeMetricFamily("vo_pool_used", "Connections at work", labels=["pool"])
        waiting = GaugeMetricFamily("vo_pool_waiting", "Waiting for one", labels=["pool"])
        for name, look in self._pools.items():
            use = look()
            size.add_metric([name], use.size)
            used.add_metric([name], use.used)
            waiting.add_metric([name], use.waiting)
        yield from (size, used, waiting)


_POOLS = _Pools()
REGISTRY.register(_POOLS)


def watch_pools(pools: Mapping[str, Callable[[], PoolUse]]) -> None:
    """Show the use of pools by their names; the last one of a name counts."""
    _POOLS.watch(pools)


class _Gauges(Collector):
    """Numbers of things that come and go, asked when somebody wants to know."""

    def __init__(self) -> None:
        self._looks: dict[str, tuple[str, str, Callable[[], Mapping[str, float]]]] = {}

    def watch(
        self, name: str, said: str, label: str, look: Callable[[], Mapping[str, float]]
    ) -> None:
        self._looks[name] = said, label, look

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not known beforehand."""
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, (said, label, look) in list(self._looks.items()):
            gauge = GaugeMetricFamily(name, said, labels=[label])
            for thing, value in look().items():
                gauge.add_metric([thing], value)
            yield gauge


_GAUGES = _Gauges()
REGISTRY.register(_GAUGES)


def watch_gauge(name: str, said: str, label: str, look: Callable[[], Mapping[str, float]]) -> None:
    """Show numbers by the names of what they are of; the last *look* of a meter counts."""
    _GAUGES.watch(name, said, label, look)
