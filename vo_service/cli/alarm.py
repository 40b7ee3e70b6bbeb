"""`vo-service alarm`: whether messages arrive at the webhook."""

from __future__ import annotations

import typer
from rich.console import Console

from vo_service.cli.context import settings_of
from vo_service.services.alarm import send_test

__all__ = ["alarm"]

alarm = typer.Typer(no_args_is_help=True, help="Alarms to a webhook (docs/operating.md, 'Alarms').")


@alarm.callback()
def _group() -> None:
    """Let a single command be named."""


@alarm.command("test")
def test_command(context: typer.Context) -> None:
    """Send a message, to see whether it arrives."""
    send_test(settings_of(context))
    Console(highlight=False).print("sent: look whether it has arrived")
