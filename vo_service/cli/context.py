"""What commands share: settings of the data directory, the cluster held up while they work."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from vo_service.db.cluster_use import used
from vo_service.db.connect import private_cluster
from vo_service.db.schema import require_newest, upgrade
from vo_service.errors import ConfigError, VOError
from vo_service.services.publication import recover
from vo_service.settings import SETTINGS_FILE, Settings, load_settings

__all__ = ["database", "settings_of", "stopping_on_sigterm"]


def settings_of(context: typer.Context, **overrides: object) -> Settings:
    """Settings for the ``--home`` of this call.

    Raises
    ------
    ConfigError
        If there is no data directory yet.
    """
    home: Path | None = context.obj
    settings = load_settings(home, **overrides)
    if not (settings.home / SETTINGS_FILE).is_file():
        raise ConfigError(
            f"{settings.home}: there is no data directory here yet; make one with "
            "'vo-service init' (or name another with --home or VO_HOME)"
        )
    return settings


@contextlib.contextmanager
def database(
    settings: Settings, *, stop: bool = False, upgrading: bool | None = None
) -> Iterator[None]:
    """Hold the database up while a command works, at the newest schema, nothing half-done in it.

    A private cluster that did not run is started, and stopped again by the last command (server,
    worker) that uses it; one that was started to stay is left running, unless *stop* says
    otherwise. The schema is upgraded, or only looked at,
    as *upgrading* says, or else the setting `upgrade_at_start`.
    """
    cluster = private_cluster(settings)
    with used(cluster, stop=stop) if cluster else contextlib.nullcontext():
        if settings.upgrade_at_start if upgrading is None else upgrading:
            upgrade(settings)
        else:
            require_newest(settings)
        finish_what_died(settings)
        yield


def finish_what_died(settings: Settings) -> None:
    """Complete or undo what a command that was killed had begun to publish or to withdraw."""
    try:
        found = recover(settings)
    except VOError as error:
        print(f"vo-service: {error}", file=sys.stderr)
        return
    if found.count or found.problems:
        said = f"completed what a command that died had begun ({found.count} products)"
        print("; ".join((f"vo-service: {said}", *found.problems)), file=sys.stderr)


@contextlib.contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that the cluster is stopped."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
