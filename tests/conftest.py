"""A private PostgreSQL for the run; a database at the newest schema for each module.

With TEST_DATABASE_URL (of a login that may create databases) that server is used instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.clusters import lay_cluster
from tests.support import settings_at
from vo_service.db.schema import upgrade

_MEMORY = 1024**3

#: Files of half a minute and more, about the longest first: they begin before all others, so that
#: no process of the run is left with one of them at the end (`script/test`).
_LONG = (
    "elsewhere/test_crawl.py", "web/test_restart.py", "cli/test_commands.py",
    "jobs/test_worker.py", "jobs/test_leaving.py", "registry/test_harvest.py",
    "previews/test_coverage.py", "previews/test_previews.py", "hips/test_build.py",
    "web/test_https.py", "web/test_edge.py", "registry/test_oai.py", "jobs/test_kill.py",
    "shards/test_collection_outage.py", "shards/test_moves.py", "shards/test_outage.py",
)  # fmt: skip

# A client is patient with a busy machine, also where a test says nothing of it (else 5 seconds).
httpx._config.DEFAULT_TIMEOUT_CONFIG.read = 60.0

# Commands that tests start are compiled once, whatever our caller likes for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples every time, however busy the machine is: a red run is then a change of ours.
# HYPOTHESIS_PROFILE=search looks for new ones.
hypothesis_settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis_settings.register_profile("search", deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of `_LONG` first; tests of a file stay in their order."""
    tests = Path(__file__).parent
    turns = {tests / name: turn for turn, name in enumerate(_LONG)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))


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
        _drop(given, _newest(given))
        return
    cluster = lay_cluster(place / "server")
    cluster.start(memory=_MEMORY)
    yield make_conninfo(host=str(cluster.socket), dbname="postgres", user="vo_admin")
    cluster.stop()


@contextmanager
def empty_database(server: str) -> Iterator[str]:
    """A database with pgSphere and nothing else in it, for as long as the context lasts."""
    name = _create(server, "template1")
    url = make_conninfo(server, dbname=name)
    with psycopg.connect(url) as inside:
        inside.execute("CREATE EXTENSION pg_sphere")
    yield url
    _drop(server, name)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """A database at the newest schema without any rows, for as long as the context lasts.

    `upgrade` still has to give it its privileges, which PostgreSQL does not copy.
    """
    name = _create(server, _newest(server))
    yield make_conninfo(server, dbname=name)
    _drop(server, name)


@cache
def _newest(server: str) -> str:
    """A database that went through all versions of the schema, to be copied."""
    name = _create(server, "template1")
    upgrade(settings_at(make_conninfo(server, dbname=name), Path()))
    with psycopg.connect(server, autocommit=True) as connection:
        # Nobody, autovacuum neither, is in it when it is to be copied.
        shut = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        connection.execute(shut)
    return name


def _create(server: str, template: str) -> str:
    name = f"test_{uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return name


def _drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database_url(server: str) -> Iterator[str]:
    """Connection string of a database at the newest schema that the tests of a module share."""
    with fresh_database(server) as url:
        yield url


@pytest.fixture
def own_database_url(server: str) -> Iterator[str]:
    """Connection string of a database at the newest schema for one test."""
    with fresh_database(server) as url:
        yield url


@pytest.fixture
def empty_database_url(server: str) -> Iterator[str]:
    """Connection string of an empty database for one test."""
    with empty_database(server) as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    """asyncio: what the server runs on."""
    return "asyncio"
