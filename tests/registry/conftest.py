"""An archive that has collections and no frames, in a database of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import fresh_database
from tests.support import settings_at
from tests.web.conftest import free_port
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.services.setup import initialise
from vo_service.settings import SETTINGS_FILE, Settings

AUTHORITY = "archive.example.org"


def add_collection(settings: Settings, name: str, title: str, **definition: str) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        connection.execute(
            "INSERT INTO archive.collection (name, title, description, definition) "
            "VALUES (%s, %s, '', %s) ON CONFLICT (name) DO UPDATE SET title = excluded.title",
            (name, title, json.dumps(definition)),
        )


def remove_collection(settings: Settings, name: str) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        connection.execute("DELETE FROM archive.collection WHERE name = %s", (name,))


def make_home(url: str, place: Path, **chosen: int) -> Settings:
    """Settings of an archive with three collections; *chosen* is written into its file."""
    directory = place / f"registry_{uuid4().hex}"
    said = {"authority": AUTHORITY, "publisher": "観測所 <&>", "contact": "archive@example.org"}
    initialise(directory, authority=AUTHORITY, publisher=said["publisher"], contact=said["contact"])
    with (directory / SETTINGS_FILE).open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = {str(value).lower()}\n" for name, value in chosen.items())
    settings = settings_at(url, directory, port=free_port(), **said, **chosen)
    upgrade(settings)
    for name in ("alpha", "beta", "gamma"):
        add_collection(settings, name, f"Collection {name} <&>", facility="Kiso")
    return settings


@pytest.fixture
def home(own_database_url: str, place: Path) -> Settings:
    """An archive of its own, whose pages have four records."""
    return make_home(own_database_url, place, registry_page=4)


@pytest.fixture(scope="module")
def harvester(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with fresh_database(server) as url:
        settings = settings_at(url, tmp_path_factory.mktemp("home"), authority="here.example")
        upgrade(settings)
        yield settings


@pytest.fixture
def here(harvester: Settings) -> Iterator[Settings]:
    """An archive that harvests, and has harvested nothing yet."""
    yield harvester
    with psycopg.connect(conninfo(harvester, Role.OWNER)) as connection:
        connection.execute("DELETE FROM archive.harvest_source")
        connection.execute("DELETE FROM rr.resource")
