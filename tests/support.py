"""Helpers that several tests share."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from lxml import etree

from vo_service.db import schema
from vo_service.db.connect import Role, engine
from vo_service.settings import Settings

__all__ = ["XSD", "ended", "settings_at", "soon", "upgrade_to", "validate"]

#: The published schemas; a clone without them skips what needs them.
XSD = Path(__file__).parents[2] / "shared" / "xsd"


def settings_at(conninfo: str, home: Path, **chosen: Any) -> Settings:
    """Settings for a database that somebody else runs."""
    return Settings(home=home, database_url=conninfo, **chosen)


def upgrade_to(settings: Settings, revision: str) -> None:
    """As `schema.upgrade`, but to any version, and without TAP_SCHEMA."""
    schema.prepare(settings)
    config = Config()
    config.set_main_option("script_location", str(schema.schema_directory()))
    config.attributes["partition_bounds"] = settings.partition_bounds
    owner = engine(settings, Role.OWNER)
    with owner.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS archive")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    owner.dispose()


def soon(true: Callable[[], bool], patience_s: float = 30.0) -> bool:
    """Whether something becomes true while one is patient."""
    until = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def ended(process: subprocess.Popen[str]) -> None:
    """Stop a command of ours as Ctrl-C does; one that does not end fails the test, and ends."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()


_OASIS = "{urn:oasis:names:tc:entity:xmlns:xml:catalog}"


def _catalog(name: str) -> dict[str, str]:
    tree = etree.parse(str(XSD / name))
    known: dict[str, str] = {}
    for uri in tree.iter(f"{_OASIS}uri"):
        known.setdefault(str(uri.get("name")), str(XSD / str(uri.get("uri"))))
    for following in tree.iter(f"{_OASIS}nextCatalog"):
        known = _catalog(str(following.get("catalog"))) | known
    return known


class _Local(etree.Resolver):
    def __init__(self, known: dict[str, str]) -> None:
        super().__init__()
        self._known = known

    def resolve(self, url: str, pubid: str, context: object) -> object:  # type: ignore[override]  # stubs differ
        if url in self._known:
            return self.resolve_filename(self._known[url], context)  # type: ignore[attr-defined]  # not in the stubs
        if "://" in url:
            raise LookupError(url)
        return None


@cache
def _schema(name: str, catalog: str) -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True, resolve_entities=False)
    parser.resolvers.add(_Local(_catalog(catalog)))
    return etree.XMLSchema(etree.parse(str(XSD / name), parser))


def validate(document: bytes, schema: str = "driver-all.xsd", catalog: str = "catalog.xml") -> None:
    """Check a document against a schema of *XSD*; nothing is fetched."""
    if not XSD.is_dir():
        pytest.skip(f"no XML Schemas: {XSD} is not there")
    _schema(schema, catalog).assertValid(etree.fromstring(document))
