"""What must not grow: memory, descriptors and threads of processes, sessions, temporary files."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.soak.place import Place
from vo_service.db.connect import admin_conninfo

#: A process is young while it fills its caches.
_YOUNG_S = 90.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """A process at a moment: seconds of its life, bytes resident, open descriptors."""

    pid: int
    age_s: float
    resident: int
    descriptors: int


class Watch:
    """Samples of all processes; the most sessions that the database had, by role."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._born: dict[int, float] = {}
        self.samples: dict[str, list[Sample]] = {}
        self.sessions: Counter[str] = Counter()

    def look(self) -> None:
        """Take a sample of everything that is there."""
        for name, process in list(self._place.processes.items()):
            born = self._born.setdefault(process.pid, time.monotonic())
            proc = Path("/proc") / str(process.pid)
            try:
                resident = int((proc / "statm").read_text().split()[1]) * _PAGE
                descriptors = len(list((proc / "fd").iterdir()))
            except (OSError, IndexError):
                continue
            sample = Sample(process.pid, time.monotonic() - born, resident, descriptors)
            self.samples.setdefault(name, []).append(sample)
        for role, count in self.sessions_now().items():
            self.sessions[role] = max(self.sessions[role], count)

    def sessions_now(self) -> dict[str, int]:
        """Sessions by role; empty while there is no database."""
        try:
            with psycopg.connect(admin_conninfo(self._place.settings), connect_timeout=2) as server:
                return dict(
                    server.execute(
                        "SELECT usename, count(*) FROM pg_stat_activity "
                        "WHERE datname = 'vo' AND backend_type = 'client backend' "
                        "AND pid <> pg_backend_pid() GROUP BY 1"
                    ).fetchall()
                )
        except psycopg.Error:
            return {}

    def growth(self) -> Iterator[str]:
        """Lines: memory of the life of each process that lived longest."""
        yield "| process | lived | memory when warm | at its end | most | descriptors, most |"
        yield "|---|---|---|---|---|---|"
        for name, samples in self.samples.items():
            lives: dict[int, list[Sample]] = {}
            for sample in samples:
                lives.setdefault(sample.pid, []).append(sample)
            life = max(lives.values(), key=lambda found: found[-1].age_s)
            warm = next((s for s in life if s.age_s >= _YOUNG_S), life[-1])
            descriptors = max(s.descriptors for s in samples)
            yield (
                f"| {name} | {life[-1].age_s / 60:.1f} min | {warm.resident / 1e6:.0f} MB | "
                f"{life[-1].resident / 1e6:.0f} MB | "
                f"{max(s.resident for s in samples) / 1e6:.0f} MB | {descriptors} |"
            )


def left_over(place: Place) -> list[str]:
    """What nobody needs any more when all is quiet: statements, sessions, drafts, jobs' files."""
    faults = []
    home = place.settings.home
    for pattern in ("jobs/*/draft-*", "jobs/draft-*", "public/**/.*", "uploads/*", "**/*.new"):
        faults += [
            f"left over: {file}" for file in home.glob(pattern) if "postgres" not in file.parts
        ]
    with psycopg.connect(admin_conninfo(place.settings, "vo")) as connection:
        for state, query in connection.execute(
            "SELECT state, left(query, 80) FROM pg_stat_activity WHERE datname = 'vo' "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid() "
            "AND (state LIKE 'idle in%' OR (state = 'active' AND now() - query_start > '10s'))"
        ).fetchall():
            faults.append(f"still {state}: {query}")
        for what, statement in (
            ("the journal", "SELECT count(*) FROM archive.intent"),
            ("tables of uploads", "SELECT count(*) FROM pg_tables WHERE schemaname = 'tap_upload'"),
            (
                "prepared or waiting jobs",
                "SELECT count(*) FROM uws.job WHERE phase IN ('QUEUED', 'EXECUTING')",
            ),
        ):
            row = connection.execute(statement.encode()).fetchone()
            if row and row[0]:
                faults.append(f"{what}: {row[0]} left")
    temporary = list((place.cluster.data / "base" / "pgsql_tmp").glob("*"))
    return faults + [f"left over: {file}" for file in temporary]
