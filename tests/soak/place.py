"""The archive under load: the demonstration and a collection that changes, its processes, kills.

A web process and two workers are looked after as systemd would: what died is started again.
They look after the private PostgreSQL themselves. `Killer` chooses what dies.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg

from tests.archive.toy import write_collection, write_toys
from tests.web.conftest import free_port
from vo_service.db.cluster import Cluster
from vo_service.db.connect import admin_conninfo
from vo_service.services.setup import initialise
from vo_service.settings import Settings

PROGRAM = str(Path(sys.executable).parent / "vo-service")

#: Processes by name, and what starts them.
PROCESSES = {"serve": ["serve"], "worker 1": ["worker"], "worker 2": ["worker"]}

_START_LIMIT_S = 120


class Place:
    """An archive of its own below *home*."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(
            home=home, port=free_port(), operator_port=free_port(), worker_in_serve=False,
            job_attempts=20, log_format="json",
        )  # fmt: skip
        self.cluster = Cluster(home)
        self.commands: dict[int, subprocess.Popen[bytes]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: Counter[str] = Counter()
        self._over = threading.Event()
        self._ports = dict.fromkeys(PROCESSES, self.settings.operator_port)
        for name in ("worker 1", "worker 2"):
            self._ports[name] = free_port()

    @property
    def logs(self) -> Path:
        """A file of log lines for each process."""
        return self.settings.home / "logs"

    def make(self) -> None:
        """The demonstration, and a collection whose frames come and go."""
        initialise(self.settings.home)
        self.logs.mkdir(exist_ok=True)
        self.store = write_collection(self.settings, more='withdrawn: hide\nmetadata: "open"\n')
        write_toys(self.store, range(20))
        self.cluster.start(memory=1024**3)
        for words in (["demo", "--small", "--make-only"], ["ingest", "toy", str(self.store)]):
            self.cluster.start(memory=1024**3)  # the demonstration stops it
            self.run(*words)
        self.cluster.start(memory=1024**3)
        self.run("md5")
        self.run("registry", "publish")

    def environment(self, name: str = "") -> dict[str, str]:
        given = self.settings.model_dump(exclude={"home"}, exclude_defaults=True, mode="json")
        if name:
            given["operator_port"] = self._ports[name]
        return (
            os.environ
            | {"VO_HOME": str(self.settings.home)}
            | {f"VO_{key.upper()}": str(value) for key, value in given.items()}
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end; its status (-9: killed) and what it said."""
        while not self._over.is_set() and not self._up():
            time.sleep(0.2)  # it would start PostgreSQL, and stop it again at its end
        process = subprocess.Popen(
            (PROGRAM, *words), env=self.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.commands[process.pid] = process
        try:
            said, _ = process.communicate(timeout=300)
        finally:
            del self.commands[process.pid]
        return process.returncode, said.decode("utf-8", "replace")

    def start(self) -> None:
        """Start what is not there, and see to it from now on."""
        for name in PROCESSES:
            self._start(name)
        threading.Thread(target=self._look_after, daemon=True).start()

    def stop(self) -> None:
        """End everything as an operator would."""
        self._over.set()
        time.sleep(1.5)
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                self.restarts[f"{name} did not end in 60 s"] += 1
        self.cluster.stop()

    def _up(self) -> bool:
        try:
            with psycopg.connect(admin_conninfo(self.settings), connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    def _start(self, name: str) -> None:
        with (self.logs / f"{name.replace(' ', '-')}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                (PROGRAM, *PROCESSES[name]), env=self.environment(name), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def _look_after(self) -> None:
        while not self._over.wait(1.0):
            for name, process in list(self.processes.items()):
                if process.poll() is not None and not self._over.is_set():
                    self.restarts[name] += 1
                    self._start(name)


class Killer:
    """Kills with -9."""

    def __init__(self, place: Place, dice: random.Random) -> None:
        self._place = place
        self._dice = dice
        self.kills: Counter[str] = Counter()
        self.last = 0.0

    def strike(self) -> None:
        """Kill something; the postmaster seldom."""
        kinds = [*PROCESSES, *PROCESSES, "backend", "backend", "backend", "command", "postmaster"]
        kind = self._dice.choice(kinds)
        victim = self._victim(kind)
        if victim is None:
            kind = "worker 1"
            victim = self._place.processes[kind].pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.kills[kind] += 1
            self.last = time.monotonic()

    def _victim(self, kind: str) -> int | None:
        match kind:
            case "command":
                return next(iter(list(self._place.commands)), None)
            case "postmaster":
                with contextlib.suppress(OSError, ValueError):
                    return int((self._place.cluster.data / "postmaster.pid").read_text().split()[0])
                return None
            case "backend":
                return self._backend()
        return self._place.processes[kind].pid

    def _backend(self) -> int | None:
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(admin_conninfo(self._place.settings, "vo")) as connection:
                rows = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                    "AND datname = 'vo' AND pid <> pg_backend_pid()"
                ).fetchall()
            if rows:
                return int(self._dice.choice(rows)[0])
        return None
