"""Make a data directory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vo_service.services.signing import make_keys
from vo_service.settings import SETTINGS_FILE, Settings, load_settings

__all__ = ["initialise", "initialise_data_server"]


def initialise(
    home: Path,
    *,
    authority: str | None = None,
    publisher: str | None = None,
    contact: str | None = None,
    partition_bounds: Sequence[float] | None = None,
) -> Settings:
    """Write ``settings.toml`` and the directories, if they are not there.

    Settings that exist are kept; the values given are checked before anything is written.

    Raises
    ------
    ConfigError
        If a value is wrong.
    """
    file = home / SETTINGS_FILE
    given = {
        "authority": authority,
        "publisher": publisher,
        "contact": contact,
        "partition_bounds": list(partition_bounds) if partition_bounds else None,
    }
    settings = load_settings(home, **given)
    for place in (settings.home, settings.collections, settings.public):
        place.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        lines = [
            "# Settings of vo-service; docs/settings.md lists them all. Variables VO_* come first.",
            f"authority = {json.dumps(settings.authority)}",
            f"publisher = {json.dumps(settings.publisher)}",
            f"contact = {json.dumps(settings.contact)}",
            "# Bounds of the RA partitions, degrees; fixed once the database is made.",
            f"partition_bounds = {json.dumps(settings.partition_bounds)}",
        ]
        _write(file, lines)
    make_keys(settings.signing_keys, datetime.now(UTC))
    return settings


def initialise_data_server(home: Path, centre: str | None, base_url: str | None) -> Settings:
    """Make the data directory of a server that delivers files for another, if it is not there.

    Raises
    ------
    ConfigError
        If a value is wrong.
    """
    file = home / SETTINGS_FILE
    settings = load_settings(home, centre_url=centre, base_url=base_url, role="data")
    for place in (settings.home, settings.collections, settings.public):
        place.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        lines = [
            "# Settings of a data server; see docs/data-servers.md. Variables VO_* come first.",
            'role = "data"',
            f"centre_url = {json.dumps(settings.centre_url)}",
            f"base_url = {json.dumps(settings.base_url)}",
        ]
        _write(file, lines)
    return settings


def _write(file: Path, lines: Sequence[str]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", "utf-8")
    os.replace(fresh, file)
