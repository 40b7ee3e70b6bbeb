"""`withdraw`, `history` and `expire` as an operator types them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from tests.archive.toy import ask, faults, ingest_toys, numbers, write_collection, write_toys
from tests.support import settings_at
from vo_service.cli.commands import app
from vo_service.cli.withdraw import nights_of
from vo_service.db.connect import Role, conninfo
from vo_service.db.publication import Change, PublicationStore
from vo_service.db.schema import upgrade
from vo_service.errors import UsageError, VOError
from vo_service.services.publication import publish
from vo_service.settings import Settings

FIRST = "toy/n000/toy00000.fits"


@pytest.fixture(scope="module")
def toys(database_url: str, place: Path) -> Settings:
    """Thirty public frames of three nights and three proposals; one has been downloaded."""
    settings = settings_at(database_url, place / "cli-withdraw")
    upgrade(settings)
    root = write_collection(settings, more="lifetime_days: 9.5\n")
    (settings.home / "settings.toml").write_text("")
    write_toys(root, range(30))
    ingest_toys(settings, root)
    publish(settings, numbers(settings, "arrived"), rule="test", actor="test")
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute(
            "INSERT INTO archive.download (product_id, ended, kind, method, whole, complete, "
            "bytes, person) SELECT product_id, %s, 'file', 'GET', true, true, size, 'hanako' "
            "FROM archive.product WHERE path = 'n000/toy00000.fits'",
            (datetime(2026, 11, 20, 10, 30, tzinfo=UTC),),
        )
    return settings


def run(settings: Settings, *arguments: str, status: int = 0) -> str:
    """What a command says, in this process, for speed; nobody is there to be asked."""
    done = CliRunner().invoke(
        app, ["--home", str(settings.home), *arguments],
        env={"VO_DATABASE_URL": settings.database_url or "", "COLUMNS": "200"},
    )  # fmt: skip
    said = done.output
    if isinstance(done.exception, VOError):  # one line and exit status 1, as `cli.main` has it
        said += str(done.exception)
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, said
    return said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((FIRST,), "--reason is missing"),
        (("--reason", "x", "-y"), "expected frames, or one of --collection"),
        ((FIRST, "--reason", "x"), "nobody is there to be asked; say --yes"),
        ((FIRST, "toy/none.fits", "--reason", "x", "-y"), "there is no product 'toy/none.fits'"),
        (("--night", "2020-13-01", "--reason", "x", "-y"), "--night: expected a date such as"),
        (("--query", "SELEC 1", "--reason", "x", "-y"), "line 1, column 1"),
        (
            ("--query", "SELECT obs_id FROM ivoa.obscore", "--reason", "x", "-y"),
            "--query: expected a column obs_publisher_did, found obs_id",
        ),
    ],
)
def test_a_wrong_call_changes_nothing(
    toys: Settings, arguments: tuple[str, ...], said: str
) -> None:
    assert said in run(toys, "withdraw", *arguments, status=1)
    assert numbers(toys, "withdrawn") == []


def test_a_withdrawal_says_what_it_does_and_who_had_it_and_can_be_undone(
    toys: Settings, tmp_path: Path
) -> None:
    report = tmp_path / "had.csv"
    said = run(
        toys, "withdraw", FIRST, "ivo://vo-service.example/toy?n001/toy00011.fits",
        str(toys.home / "store" / "n002" / "toy00022.fits"),
        "--reason", "wrong [target]", "--yes", "--report", str(report),
    )  # fmt: skip
    assert "toy         public      3  17.3 kB" in said
    assert "3 withdrawn." in said
    assert "1 had downloaded them (the log goes back 365 days at most)" in said
    assert "hanako" in said
    assert "2026-11-20 10:30" in said
    with report.open() as file:
        [row] = csv.DictReader(file)
    assert (row["person"], row["path"]) == ("hanako", "n000/toy00000.fits")
    assert faults(toys) == []

    life = run(toys, "history", FIRST)
    assert "version 1: withdrawn" in life
    assert "wrong [target]" in life
    assert life.index("arrived") < life.index("public") < life.index("withdraw  ")

    again = run(toys, "withdraw", FIRST, "--reason", "x", "--yes")
    assert "Nothing of it is to withdraw" in again
    assert "Left as they are: 1 of toy (withdrawn)" in again

    undone = run(toys, "withdraw", "--undo", "--collection", "toy", "--reason", "ok", "--yes")
    assert "3 put back; 3 are public by the rules of today." in undone
    assert numbers(toys, "withdrawn") == []
    assert faults(toys) == []
    assert "withdraw --undo" in run(toys, "history", FIRST)


def test_conditions_are_taken_together(toys: Settings) -> None:
    said = run(
        toys, "withdraw", "--collection", "toy", "--instrument", "Toy", "--proposal", "p1",
        "--night", "2020-01-01..2020-01-02", "--reason", "x", "-y",
        "--query", "SELECT obs_publisher_did FROM ivoa.obscore WHERE s_ra < 15",
    )  # fmt: skip
    assert "5 withdrawn." in said
    rows = ask(toys, "SELECT path FROM archive.product WHERE state = 'withdrawn' ORDER BY path")
    assert [path[-7:-5] for (path,) in rows] == ["01", "04", "07", "10", "13"]
    run(toys, "withdraw", "--undo", "--proposal", "p1", "--reason", "x", "-y")


def test_a_query_that_finds_nothing_withdraws_nothing(toys: Settings) -> None:
    query = "SELECT obs_publisher_did FROM ivoa.obscore WHERE s_ra < -1"
    said = run(toys, "withdraw", "--query", query, "--reason", "x", "-y")
    assert "Nothing of it is to withdraw" in said
    assert numbers(toys, "withdrawn") == []


def test_what_is_to_expire_is_told_before_and_files_are_kept_unless_asked(toys: Settings) -> None:
    assert "Nothing has outlived its time." in run(toys, "expire", "--dry-run")
    with psycopg.connect(conninfo(toys, Role.OWNER)) as connection:
        connection.execute(
            "UPDATE archive.product SET arrived = now() - interval '9.6 days' WHERE night = %s",
            ("2020-01-03",),
        )
    assert "toy: 10 files (public), 57.6 kB" in run(toys, "expire", "--dry-run")
    assert numbers(toys, "expired") == []
    assert "10 expired, 0 files deleted." in run(toys, "expire")
    assert len(list((toys.home / "store" / "n002").iterdir())) == 10
    assert faults(toys) == []
    assert "lifetime_days 9.5" in run(toys, "history", "toy/n002/toy00020.fits")


def test_any_command_completes_what_one_that_died_had_begun(toys: Settings) -> None:
    change = Change(before=("public",), after="arrived", rule="r", actor="dead")
    with psycopg.connect(conninfo(toys, Role.WRITER), autocommit=True) as connection:
        assert PublicationStore(connection).intend(numbers(toys, "public")[:2], change) == 2
    said = run(toys, "check")
    assert "completed what a command that died had begun (2 products)" in said
    assert "All is well." in said
    assert faults(toys) == []
    assert "completed" not in run(toys, "check")


def test_an_unknown_frame_has_no_history(toys: Settings) -> None:
    assert "there is no product 'toy/none'" in run(toys, "history", "toy/none", status=1)


@pytest.mark.parametrize("text", ["", "x", "2020-01-02..2020-01-01", "2020-01-01..", "..", "2020"])
def test_nights_are_one_date_or_two_in_order(text: str) -> None:
    with pytest.raises(UsageError, match="--night: expected a date"):
        nights_of(text)
    assert nights_of("2020-01-01")[0] == nights_of("2020-01-01..2020-02-01")[0]
