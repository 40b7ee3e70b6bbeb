"""The private PostgreSQL cluster in the data directory.

Unix socket only, peer authentication, started and stopped by the command line. PostgreSQL
refuses to run as root, so as root its programs run as an unprivileged user through
`runuser`. Layout below ``<home>/postgres``: ``data`` (PGDATA), ``run`` (socket), ``log``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vo_service.db.programs import MINIMUM_VERSION, installed
from vo_service.db.roles import ADMIN, Role
from vo_service.errors import ConfigError, TransientError

__all__ = ["MINIMUM_VERSION", "Cluster", "ClusterStatus", "memory_settings"]

#: A Unix socket's path has at most 107 bytes; PostgreSQL adds ``/.s.PGSQL.5432``.
_SOCKET_LIMIT = 107 - len("/.s.PGSQL.5432")

_START_LIMIT_S = 120
_MIB = 1024 * 1024

#: Log lines after which another try is worth it: the children of a postmaster that was
#: killed hold its shared memory until they notice.
_DYING = re.compile(r"pre-existing shared memory block|lock file .* already exists")


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """Whether the cluster exists and runs, its version, and where it is reached."""

    exists: bool
    running: bool
    version: int | None
    socket: Path


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL cluster below *home*, owned by *user* when the caller is root.

    Its WAL is copied to *wal_archive*, segment by segment, where there is such a directory.
    """

    home: Path
    user: str = "postgres"
    wal_archive: Path | None = None

    @property
    def root(self) -> Path:
        """The directory that holds everything of the cluster."""
        return self.home / "postgres"

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.root / "data"

    @property
    def socket(self) -> Path:
        """The directory of the Unix socket."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.root / "log"

    def status(self) -> ClusterStatus:
        """What there is now; starts nothing."""
        version = self._version()
        running = version is not None and self._pg_ctl("status", check=False).returncode == 0
        return ClusterStatus(version is not None, running, version, self.socket)

    def create(self) -> None:
        """Make the cluster if there is none; complete it or leave nothing.

        Raises
        ------
        ConfigError
            If PostgreSQL or pgSphere is missing, or the place is not usable.
        """
        with self._lock():
            if self._version() is not None:
                return
            if self.wal_archive is not None and any(self.wal_archive.iterdir()):
                raise ConfigError(
                    f"wal_archive: {self.wal_archive} holds WAL of another PostgreSQL, and a new "
                    "one would mix its own with it; move that away or choose another directory"
                )
            shutil.rmtree(self.data, ignore_errors=True)  # what an interrupted initdb left
            self._run(
                self.program("initdb"),
                f"--pgdata={self.data}",
                f"--username={ADMIN}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
                "--auth-local=peer",
                "--auth-host=reject",
                "--no-instructions",
            )

    def start(self, *, memory: int | None = None) -> bool:
        """Start the cluster and wait until it answers.

        Parameters
        ----------
        memory
            Bytes that PostgreSQL may plan with; what the machine has where None.

        Returns
        -------
        bool
            True if this call started it, False if it ran already.

        Raises
        ------
        TransientError
            If it does not come up; names the log file and its last line.
        """
        self.create()
        with self._lock():
            deadline = time.monotonic() + _START_LIMIT_S
            if self._answers(deadline):
                if self._let_in():  # made by an earlier version, which knew fewer roles
                    self._pg_ctl("reload")
                return False
            self._configure(memory or _machine_memory())
            self._let_in()
            while True:
                begin = self.log.stat().st_size if self.log.exists() else 0
                started = self._pg_ctl(
                    "start", "--wait", f"--timeout={_START_LIMIT_S}", f"--log={self.log}",
                    check=False,
                )  # fmt: skip
                if started.returncode == 0:
                    return True
                said = self._log_since(begin)
                if not _DYING.search(said) or time.monotonic() > deadline:
                    last = said.strip().splitlines()[-1:] or [started.stderr.strip()]
                    raise TransientError(
                        f"PostgreSQL did not start: {last[0]} (its log is {self.log})"
                    )
                time.sleep(0.5)

    def died(self) -> bool:
        """Whether the server ended without being stopped: its pid file is there, it is not."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().partition("\n")[0])
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError):  # stopped, just starting, or not ours to signal
            return False
        return False

    def prepare(self) -> None:
        """Make the directories in which a cluster stands, but no cluster.

        Raises
        ------
        ConfigError
            As `create`.
        """
        self._prepare()

    def own(self) -> None:
        """Give all files of PGDATA to the user that PostgreSQL runs as, and to nobody else."""
        owner = self._owner()
        for directory, _, names in os.walk(self.data):
            for name in (".", *names):
                os.chown(Path(directory, name), owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        self.data.chmod(0o700)

    def stop(self) -> bool:
        """Stop the cluster, ending its sessions; False if it did not run."""
        if self._version() is None or self._pg_ctl("status", check=False).returncode != 0:
            return False
        self._pg_ctl("stop", "--mode=fast", "--wait")
        return True

    def _answers(self, deadline: float) -> bool:
        """Whether a server runs and takes connections; waits for one that starts or dies."""
        while self._pg_ctl("status", check=False).returncode == 0:
            ready = (
                self.program("pg_isready"),
                "--quiet",
                f"--host={self.socket}",
                f"--username={ADMIN}",
            )
            if self._run(*ready, check=False).returncode == 0:
                return True
            if time.monotonic() > deadline:
                raise TransientError(f"PostgreSQL runs but does not answer (its log is {self.log})")
            time.sleep(0.2)
        return False

    def _configure(self, memory: int) -> None:
        """Write what the machine decides; read by PostgreSQL at each start."""
        lines = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.socket}'",
            "unix_socket_permissions": "0700",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_line_prefix": "'%m [%p] %q%u '",
            "jit": "off",
            "max_connections": "100",
            **memory_settings(memory, os.cpu_count() or 1),
            **self._archiving(),
        }
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        self._write("vo-service.conf", text)
        include = "include_if_exists = 'vo-service.conf'\n"
        main = self.data / "postgresql.conf"
        if include not in main.read_text("utf-8"):
            with main.open("a", encoding="utf-8") as out:
                out.write(include)

    def _archiving(self) -> dict[str, str]:
        """Copy each segment of WAL once, whole or not at all; its place is in no need of quotes."""
        if self.wal_archive is None:
            return {"archive_mode": "off"}
        there, draft = f"{self.wal_archive}/%f", f"{self.wal_archive}/.%f.draft"
        return {
            "archive_mode": "on",
            "archive_command": f"'test ! -e {there} && cp %p {draft} && mv {draft} {there}'",
            "archive_timeout": "5min",
        }

    def _let_in(self) -> bool:
        """Write who may take which role; True if that changed anything."""
        people = {pwd.getpwuid(os.geteuid()).pw_name, self._owner().pw_name}
        lines = (f"vo {person} {role}\n" for person in sorted(people) for role in (ADMIN, *Role))
        doors = "".join(
            f"local {what} peer map=vo\n" for what in ("all all", f"replication {ADMIN}")
        )
        texts = {"pg_hba.conf": doors, "pg_ident.conf": "".join(lines)}
        changed = {n: t for n, t in texts.items() if (self.data / n).read_text("utf-8") != t}
        for name, text in changed.items():
            self._write(name, text)
        return bool(changed)

    def _write(self, name: str, text: str) -> None:
        file = self.data / name
        file.write_text(text, "utf-8")
        owner = self._owner()
        os.chown(file, owner.pw_uid, owner.pw_gid)

    def _owner(self) -> pwd.struct_passwd:
        if os.geteuid() != 0:
            return pwd.getpwuid(os.geteuid())
        try:
            return pwd.getpwnam(self.user)
        except KeyError:
            raise ConfigError(
                f"cluster_user: there is no user {self.user!r} on this machine; PostgreSQL does "
                "not run as root and needs one (Debian's package postgresql makes 'postgres')"
            ) from None

    def _version(self) -> int | None:
        """Major version of the existing cluster, None where there is none (or half of one)."""
        try:
            complete = (self.data / "global" / "pg_control").exists()
            return int((self.data / "PG_VERSION").read_text()) if complete else None
        except (OSError, ValueError):
            return None

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs, of this cluster's version.

        Raises
        ------
        ConfigError
            If it is not installed.
        """
        wanted = self._version()
        found = installed()
        if wanted is not None:
            found = {version: place for version, place in found.items() if version == wanted}
        if not found:
            need = str(wanted) if wanted else f"{MINIMUM_VERSION} or later"
            raise ConfigError(
                f"PostgreSQL {need} with pgSphere is not installed; on Debian and Ubuntu: "
                f"apt-get install postgresql postgresql-{wanted or '<version>'}-pgsphere"
            )
        return str(found[max(found)] / name)

    def _pg_ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run(self.program("pg_ctl"), f"--pgdata={self.data}", *arguments, check=check)

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        prefix = ("runuser", "-u", self._owner().pw_name, "--") if os.geteuid() == 0 else ()
        # Files, not pipes: the postmaster inherits them and would keep a pipe open for good.
        with (self.root / "output").open("w+") as out:
            done = subprocess.run(
                (*prefix, *command), cwd="/", stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, check=False, text=True,
            )  # fmt: skip
            out.seek(0)
            said = out.read()
        if check and done.returncode != 0:
            raise ConfigError(f"{Path(command[0]).name} failed: {said.strip()}")
        return subprocess.CompletedProcess(done.args, done.returncode, said, said)

    def _log_since(self, offset: int) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode("utf-8", "replace")
        return ""

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One command at a time makes or starts the cluster."""
        self._prepare()
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepare(self) -> None:
        if len(os.fsencode(self.socket)) > _SOCKET_LIMIT:
            raise ConfigError(
                f"home: {self.home} is too long: the path of PostgreSQL's socket below it may "
                f"have {_SOCKET_LIMIT} bytes and has {len(os.fsencode(self.socket))}"
            )
        if any(character in str(self.home) for character in "'\n\\"):
            raise ConfigError(f"home: {self.home} must not hold quotes, backslashes or newlines")
        owner = self._owner()
        self.home.mkdir(parents=True, exist_ok=True)
        if self.wal_archive is not None:
            self.wal_archive.parent.mkdir(parents=True, exist_ok=True)
        for place in filter(None, (self.root, self.socket, self.wal_archive)):
            place.mkdir(mode=0o700, exist_ok=True)
            os.chown(place, owner.pw_uid, owner.pw_gid)
        if os.geteuid() == 0:
            probe = subprocess.run(
                ("runuser", "-u", owner.pw_name, "--", "test", "-w", str(self.root)),
                cwd="/", check=False,
            )  # fmt: skip
            if probe.returncode != 0:
                raise ConfigError(
                    f"home: PostgreSQL runs as {owner.pw_name} and cannot reach {self.root}; "
                    "choose a place (--home, VO_HOME) whose directories others may enter"
                )


def memory_settings(memory: int, cores: int) -> dict[str, str]:
    """PostgreSQL's memory and parallelism for a machine that it shares with our server.

    Parameters
    ----------
    memory
        Bytes that the machine (or the container) has.
    cores
        Processors.
    """
    parallel = max(2, cores)
    return {
        "shared_buffers": _mb(memory // 4, 32, 16 * 1024),
        "effective_cache_size": _mb(memory * 5 // 8, 64, 1024 * 1024),
        "maintenance_work_mem": _mb(memory // 16, 64, 2 * 1024),
        "work_mem": _mb(memory // 256, 8, 256),
        "max_worker_processes": str(parallel + 8),
        "max_parallel_workers": str(parallel),
        "max_parallel_workers_per_gather": str(max(2, cores // 2)),
        "max_wal_size": "4GB",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "100",
    }


def _mb(size: int, low: int, high: int) -> str:
    return f"{max(low, min(high, size // _MIB))}MB"


def _machine_memory() -> int:
    """Bytes of memory, or the container's limit where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return physical
