"""PostgreSQL servers on this machine that play the nodes of an archive."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.clusters import lay_cluster
from vo_service.db.cluster import Cluster

__all__ = ["Machine", "machine"]

_MEMORY = 256 * 1024**2

#: As an operator would have it: who administers comes in by the socket, all others say a password.
_HBA = "local all vo_admin peer map=vo\nlocal all all scram-sha-256\n"


@dataclass(frozen=True)
class Machine:
    """A server of a node, that can be hurt."""

    cluster: Cluster

    @property
    def admin(self) -> str:
        return make_conninfo(host=str(self.cluster.socket), dbname="postgres", user="vo_admin")

    def fresh(self) -> str:
        """The URL of a new database, with nothing in it."""
        name = f"node_{uuid4().hex[:12]}"
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return make_conninfo(self.admin, dbname=name)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database, for as long as this is open."""
        url = self.fresh()
        yield url
        name = str(conninfo_to_dict(url)["dbname"])
        self.start()
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
            for end in ("reader", "writer"):
                role = sql.Identifier(f"{name}_vo_{end}")
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))

    def start(self) -> None:
        self.cluster.start(memory=_MEMORY)
        hba = self.cluster.data / "pg_hba.conf"
        hba.write_text(_HBA)
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")

    def processes(self) -> list[int]:
        """The postmaster and all that it started."""
        master = int((self.cluster.data / "postmaster.pid").read_text().split()[0])
        try:
            children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        except FileNotFoundError:
            return []  # it is dead already
        return [master, *map(int, children)]

    def kill(self) -> None:
        """As when the power goes."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Half dead: connections are taken, and nothing is ever said."""
        processes = self.processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(processes):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def machine(home: Path) -> Iterator[Machine]:
    made = Machine(lay_cluster(home))
    made.start()
    try:
        yield made
    finally:
        made.cluster.stop()
