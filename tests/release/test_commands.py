"""`vo-service release`, `status` and `transfers` as an operator uses them.

The command line runs in this process: each would take seconds to start.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from vo_service.cli import main
from vo_service.demo import make_demo
from vo_service.services.setup import initialise


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def run(database_url: str, place: Path) -> Run:
    """TriCCS of the demonstration, ingested with an origin; 3 of 13 frames are not public yet."""
    home = place / "rules"
    initialise(home)

    def called(*arguments: str, status: int = 0) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["vo-service", "--home", str(home), *arguments])
            for name in [name for name in os.environ if name.startswith("VO_")]:
                patch.delenv(name)
            patch.setenv("VO_DATABASE_URL", database_url)
            with pytest.raises(SystemExit) as ended:
                main()
        done = Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
        assert done.status == status, done
        return done

    make_demo(place / "rules-files", small=True)
    files = str(place / "rules-files" / "triccs")
    called("ingest", "triccs", files, "--origin", "disk 7 from Okayama", "--processes", "0")
    return called


def _status(run: Run) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads(
        run("status", "--json", "--weeks", "100").stdout
    )
    return found


def test_status_shows_nights_and_coming_weeks(run: Run) -> None:
    assert "The rules have not been run over all collections yet" in run("status").stdout
    run("release")
    said = run("status").stdout
    assert "Latest nights" in said
    assert "2021-11-09" in said
    assert "To be released, by week" in said
    assert "Last release: " in said
    found = _status(run)
    [collection] = found["collections"]
    assert (collection["files"], collection["public"], collection["waiting"]) == (13, 10, 3)
    [week] = found["weeks"]
    night = date.fromisoformat(str(found["nights"][0]["night"]))
    monday = date.fromisoformat(str(week["week"]))
    assert monday.weekday() == 0
    assert timedelta(540 - 10) < monday - night < timedelta(560)
    assert week["files"] == 3


def test_transfers_are_csv_with_origin_checksums_and_rule(run: Run) -> None:
    rows = list(csv.DictReader(run("transfers", "--night", "2021-11-09").stdout.splitlines()))
    assert len(rows) == 10
    assert {row["origin"] for row in rows} == {"disk 7 from Okayama"}
    assert all(len(row["md5_given"]) == 32 for row in rows)
    [dark] = [row for row in rows if row["proposal_id"] == "CAL"]
    assert (dark["release_date"], dark["release_rule"]) == ("2021-11-09", "calibration: at once")
    assert (dark["data_typ"], dark["state"]) == ("DARK", "public")


def test_from_a_hold_to_its_end(run: Run, tmp_path: Path) -> None:
    held = tmp_path / "held.csv"
    held.write_text("night,instrument,reason\n2021-11-09,TriCCS,mirrored images\n")
    taken = run("release", "import", str(held), "--collection", "triccs")
    assert "held.csv: 1 lines about holds taken in" in taken.stdout
    assert "held.csv" in run("release", "lists").stdout
    dry = run("release", "--dry-run").stdout
    assert "triccs: 10 files (" in dry
    assert "to be closed again: hold of night 2021-11-09 of TriCCS (mirrored images)" in dry
    assert "2021/11/09/TRCS00112231.fits" in dry
    assert "... and 5 more" in dry
    assert dry.endswith("This was a dry run: nothing was changed.\n")
    every = run("release", "--dry-run", "--verbose").stdout
    assert every.count("2021/11/09/TRCS") == 10
    assert "(was planned for 2021-11-09: calibration: at once)" in every
    found = json.loads(run("release", "--dry-run", "--json", "--verbose").stdout)
    [[action]] = [one["actions"] for one in found["collections"]]
    assert (action["action"], action["files"]) == ("close", 10)
    assert len(found["collections"][0]["steps"]) == 10
    assert _status(run)["collections"][0]["public"] == 10
    done = run("release")
    assert done.stdout == "0 products released, 10 closed again, 10 planned anew.\n"
    assert run("check").stdout == "All is well.\n"
    said = run("status").stdout
    assert "no day" in said
    run("release", "forget", "held.csv", "--collection", "triccs")
    done = run("release")
    assert done.stdout == "10 products released, 0 closed again, 10 planned anew.\n"
    assert run("check").stdout == "All is well.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--collection", "nothing"), "nothing of a collection 'nothing' has been ingested"),
        (("import", "absent.csv", "--collection", "triccs"), "absent.csv: cannot be read: No such"),
        (("forget", "x", "--collection", "triccs"), "no list 'x' was imported for 'triccs'"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run("release", *arguments, status=1)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_list_is_told_line_by_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prolonged.csv"
    file.write_text("proposal_id,until\nCAL,2030-13-01\nCAL,2030-01-01\nNONE,x\n")
    done = run("release", "import", str(file), "--collection", "triccs", status=1)
    assert done.stderr.splitlines() == [
        f"vo-service: {file}: line 2: until: there is no such day in the calendar, "
        "found '2030-13-01'",
        f"{file}: line 4: until: expected a date as YYYY-MM-DD, found 'x'",
    ]


def test_an_origin_that_cannot_be_shown_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("ingest", "triccs", str(tmp_path), "--origin", "a\nb", status=1)
    assert "origin: expected 1 to 200 printable characters" in done.stderr
