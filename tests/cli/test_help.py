"""What ``--help`` prints is what was written: nothing of it is taken for markup."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from vo_service.cli.commands import app

Parts = tuple[str, ...]


def _texts(command: object, path: Parts = ()) -> Iterator[tuple[Parts, list[str]]]:
    """Each command with all of its help texts."""
    options = getattr(command, "params", [])
    found = [getattr(command, "help", None), *(getattr(one, "help", None) for one in options)]
    yield path, [text for text in found if text]
    for name, inner in getattr(command, "commands", {}).items():
        yield from _texts(inner, (*path, name))


TEXTS = dict(_texts(get_command(app)))


def test_all_commands_are_looked_at() -> None:
    assert {("serve",), ("hips", "build"), ("shard", "add"), ("db", "upgrade")} <= set(TEXTS)


@pytest.mark.parametrize("path", TEXTS, ids=" ".join)
def test_no_help_text_has_brackets_that_would_be_swallowed(path: Parts) -> None:
    assert isinstance(app, typer.Typer)
    for text in TEXTS[path]:
        assert "[" not in text, f"{' '.join(path)}: write ({text}) with other brackets"


@pytest.mark.parametrize("path", [("user", "grant"), ("hips", "build")], ids=" ".join)
def test_defaults_in_words_are_printed(path: Parts) -> None:
    printed = " ".join(CliRunner().invoke(app, [*path, "--help"]).output.split())
    word = {"user": "(for ever)", "hips": "(png)"}[path[0]]
    assert word in printed
