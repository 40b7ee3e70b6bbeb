"""`vo-service user`: the commands, what they print, what they refuse."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from tests.support import settings_at
from vo_service.cli.commands import app
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.errors import VOError
from vo_service.services.setup import initialise


@pytest.fixture(scope="module")
def home(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("home")
    initialise(place)
    (place / "settings.toml").write_text(f'database_url = "{database_url}"\n')
    settings = settings_at(database_url, place)
    upgrade(settings)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as writer:
        FrameStore(writer).register("tomoe", "T", "", "{}")
    return place


def user(home: Path, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "user", *words], input=typed)


def refused(result: Result) -> str:
    assert isinstance(result.exception, VOError), result.output
    return str(result.exception)


def test_a_person_is_added_granted_given_a_token_listed_and_removed(home: Path) -> None:
    assert "Nobody is known" in user(home, "list").output
    assert user(home, "add", "alice", typed="correct horse\n").exit_code == 0
    assert user(home, "grant", "alice", "26B-N-CN05", "--until", "2030-01-31").exit_code == 0
    assert user(home, "grant", "alice", "o18431", "--collection", "tomoe").exit_code == 0
    made = user(home, "token", "alice", "--days", "7", "--label", "laptop")
    token = made.stdout.splitlines()[0]
    assert re.fullmatch(r"vo_[A-Za-z0-9_-]{43}", token)
    listed = user(home, "list").output
    assert token not in listed
    assert "26B-N-CN05 until 2030-01-31" in listed
    assert "o18431 in tomoe" in listed
    assert "laptop until" in listed
    assert user(home, "password", "alice", typed="another horse\n").exit_code == 0
    assert user(home, "revoke", "alice", "o18431").exit_code == 0
    assert "1 tokens of alice are worthless" in user(home, "token", "alice", "--revoke").output
    assert user(home, "remove", "alice").exit_code == 0
    assert "Nobody is known" in user(home, "list").output


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (("add", "Alice"), "long enough\n", "expected a lower-case letter"),
        (("add", "a:b"), "long enough\n", "expected a lower-case letter"),
        (("add", "bob"), "short\n", "5 characters: expected 8"),
        (("add", "bob"), "", "0 characters: expected 8"),
        (("grant", "nobody", "p"), None, "there is no person 'nobody'"),
        (("revoke", "nobody", "p"), None, "there is no person 'nobody'"),
        (("token", "nobody"), None, "there is no person 'nobody'"),
        (("password", "nobody"), "long enough\n", "there is no person 'nobody'"),
        (("remove", "nobody"), None, "there is no person 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    home: Path, words: tuple[str, ...], typed: str | None, said: str
) -> None:
    assert said in refused(user(home, *words, typed=typed))
    assert "Nobody is known" in user(home, "list").output


def test_grants_are_checked(home: Path) -> None:
    user(home, "add", "carol", "--no-password")
    assert "already" in refused(user(home, "add", "carol", "--no-password"))
    wrong = user(home, "grant", "carol", "p", "--collection", "nowhere")
    assert "there is no collection 'nowhere'" in refused(wrong)
    days = ("--from", "2030-01-02", "--until", "2030-01-01")
    assert "lies before the first" in refused(user(home, "grant", "carol", "p", *days))
    assert "not of proposal 'p'; of: none" in refused(user(home, "revoke", "carol", "p"))
    assert user(home, "grant", "carol", "p", "--from", "tomorrow").exit_code == 2
    user(home, "remove", "carol")


def test_no_password_is_taken_from_the_arguments(home: Path) -> None:
    assert user(home, "add", "dave", "--password", "long enough").exit_code == 2
    assert user(home, "add", "dave", "long enough").exit_code == 2
