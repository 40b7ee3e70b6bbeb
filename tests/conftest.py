"""A private PostgreSQL for the run, made by the code under test; a database for each module.

With TEST_DATABASE_URL (of a login that may create databases) that server is used instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from vo_service.db.cluster import Cluster

_MEMORY = 1024**3

# The same examples every time: a red run is then a change of ours. HYPOTHESIS_PROFILE=search
# looks for new ones.
hypothesis_settings.register_profile("fixed", derandomize=True)
hypothesis_settings.register_profile("search")
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's user can enter; pytest's own is closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="vo-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server(place: Path) -> Iterator[str]:
    """Connection string of the server's administrator."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    cluster = Cluster(place / "server")
    cluster.start(memory=_MEMORY)
    yield make_conninfo(host=str(cluster.socket), dbname="postgres", user="vo_admin")
    cluster.stop()


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """A database with pgSphere and nothing else in it, for as long as the context lasts."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = make_conninfo(server, dbname=name)
        with psycopg.connect(url) as inside:
            inside.execute("CREATE EXTENSION pg_sphere")
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database_url(server: str) -> Iterator[str]:
    """Connection string of a fresh database that the tests of a module share."""
    with fresh_database(server) as url:
        yield url


@pytest.fixture
def own_database_url(server: str) -> Iterator[str]:
    """Connection string of a fresh database for one test."""
    with fresh_database(server) as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    """asyncio: what the server runs on."""
    return "asyncio"
