"""Whether a server can do its work, and the numbers of the archive that its operator watches.

Asked by the operator's port only. The database is asked for numbers once in some seconds, however
many ask us.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vo_service.db.connect import Role, conninfo
from vo_service.db.operations import Gauge, gauges
from vo_service.settings import Settings

__all__ = ["ArchiveMeters", "file_systems", "why_not_ready"]

_PATIENCE_S = 3
_FRESH_S = 10.0

_HELP = {
    "vo_jobs": "Jobs by service and phase",
    "vo_queue_length": "Jobs that wait for a worker",
    "vo_queue_age_seconds": "How long the job that waits longest has waited",
    "vo_database_bytes": "Size of the database",
    "vo_database_connections": "Sessions of the database by login",
    "vo_database_connections_limit": "Sessions that the database takes",
    "vo_files": "Files by state",
    "vo_files_bytes": "Bytes of files by state",
    "vo_release_due_files": "Files whose release date is here and that are not public",
    "vo_release_last_run_timestamp_seconds": "When the release rules were last run",
    "vo_ingest_last_end_timestamp_seconds": "When an ingest last ended",
    "vo_refused_files": "Files that could not be mapped",
    "vo_wal_archive_failures": "Segments of WAL whose copy failed, since PostgreSQL began to count",
    "vo_wal_archive_last_timestamp_seconds": "When a segment of WAL was last copied",
}


def why_not_ready(settings: Settings) -> str | None:
    """What keeps this machine from serving, in a few words; None where nothing does. Blocks."""
    if not settings.public.is_dir():
        return "the link tree is not there"
    if settings.role == "data" and settings.database_url is None:
        return None
    try:
        with _door(settings) as connection:
            connection.execute("SELECT")
    except psycopg.Error:
        return "the database does not answer"
    return None


def file_systems(settings: Settings) -> Iterator[Path]:
    """Our directories, one for each file system that they are on."""
    seen = set()
    for place in (settings.home, settings.home / "postgres", settings.public, settings.jobs):
        try:
            device = os.stat(place).st_dev
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            yield place


class ArchiveMeters(Collector):
    """Numbers of the database and the disks, as meters; the former at most some seconds old."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._asked = -_FRESH_S
        self._known: list[Gauge] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is not asked before somebody wants to know."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The meters now."""
        yield from self._disks()
        if self._settings.role == "data" and self._settings.database_url is None:
            return
        known = self._gauges()
        yield GaugeMetricFamily(
            "vo_database_up", "Whether the database answers", float(known is not None)
        )
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in known or ():
            family = families.get(gauge.name)
            if family is None:
                family = families[gauge.name] = GaugeMetricFamily(
                    gauge.name, _HELP.get(gauge.name, ""), labels=list(gauge.labels)
                )
            family.add_metric([gauge.labels[name] or "" for name in gauge.labels], gauge.value)
        yield from families.values()

    def _gauges(self) -> list[Gauge] | None:
        with self._lock:
            if time.monotonic() - self._asked >= _FRESH_S:
                try:
                    with _door(self._settings) as connection:
                        self._known = gauges(connection)
                except psycopg.Error:
                    self._known = None
                self._asked = time.monotonic()
            return self._known

    def _disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("vo_disk_free_bytes", "Free for us", labels=["place"])
        total = GaugeMetricFamily("vo_disk_bytes", "Size of the file system", labels=["place"])
        for place in file_systems(self._settings):
            usage = shutil.disk_usage(place)
            free.add_metric([str(place)], usage.free)
            total.add_metric([str(place)], usage.total)
        yield from (free, total)


def _door(settings: Settings) -> psycopg.Connection:
    limit = {"statement_timeout": f"{_PATIENCE_S}s"}
    return psycopg.connect(
        conninfo(settings, Role.DOOR, **limit), connect_timeout=_PATIENCE_S, autocommit=True
    )
