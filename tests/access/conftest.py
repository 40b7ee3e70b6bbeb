"""The archive with canaries, its twin, and people; served by the real command for clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.access.archive import fill
from tests.conftest import fresh_database
from tests.people import known_person
from tests.web.conftest import free_port, serving
from vo_service.settings import SETTINGS_FILE, Settings

#: That of alice.
PASSWORD = "correct-horse"  # noqa: S105 - opens nothing but a test's archive


@dataclass(frozen=True)
class Twins:
    """Settings of the archive *with* canaries and of that *without*."""

    with_closed: Settings
    without: Settings


@pytest.fixture(scope="session")
def twins(server: str, place: Path) -> Iterator[Twins]:
    """Two archives that must look alike to whoever may not see what is closed."""
    home = place / "access"
    with fresh_database(server) as first, fresh_database(server) as second:
        made = fill(first, home, closed=True, port=free_port())
        with (home / SETTINGS_FILE).open("a", encoding="utf-8") as chosen:
            # A server would write the catalogue anew, and its rows stand in another order then.
            chosen.write("upgrade_at_start = false\n")
        twin = fill(second, place / "twin", closed=False, port=made.port)
        yield Twins(made, twin)
    shutil.rmtree(home)


@dataclass(frozen=True)
class People:
    """Tokens: *alice* is of proposals p1 and canary-p1, *mallory* of another one."""

    alice: str
    mallory: str


@pytest.fixture(scope="session")
def people(twins: Twins) -> People:
    """People of the archive with canaries."""
    settings = twins.with_closed
    return People(
        alice=known_person(settings, "alice", "p1", "canary-p1", password=PASSWORD),
        mallory=known_person(settings, "mallory", "p9"),
    )


@pytest.fixture(scope="session")
def served(twins: Twins, people: People) -> Iterator[str]:
    """Address of the archive with canaries."""
    with serving(twins.with_closed):
        yield twins.with_closed.root_url
