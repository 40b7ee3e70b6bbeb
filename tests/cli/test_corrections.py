"""`vo-service corrections` with the published table of HSC, on the demonstration's HSC frames."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from tests.cli.test_commands import INGEST, ask, bare, files, home, run

__all__ = ["bare", "files", "home"]  # fixtures

HSC = Path(__file__).parents[2] / "vo_service" / "demo" / "data" / "hsc_header_corrections.csv"


def test_a_published_table_is_imported_checked_listed_and_removed(home: Path, files: Path) -> None:
    run(home, *INGEST, "subaru", str(files / "subaru"))
    with HSC.open() as file:
        count = sum(1 for _ in csv.DictReader(file))

    planned = run(home, "corrections", "import", str(HSC), "--dry-run").stdout
    assert f"subaru: {count} corrections would be imported." in planned
    assert ask(home, "SELECT count(*) FROM archive.correction") == [(0,)]

    assert f"{count} corrections imported" in run(home, "corrections", "import", str(HSC)).stdout
    again = run(home, "corrections", "import", str(HSC)).stdout
    assert f"0 corrections imported, {count} known already" in again
    assert run(home, "corrections", "check").returncode == 0
    listed = run(home, "corrections", "list").stdout
    assert listed.count("HSCA15297400") + listed.count("HSCA15297600") == count

    number = listed.splitlines()[1].split()[0]
    assert "removed" in run(home, "corrections", "remove", number).stdout
    assert len(run(home, "corrections", "list").stdout.splitlines()) == count


def test_a_value_that_is_not_what_the_table_says_is_told_and_not_applied(
    home: Path, files: Path
) -> None:
    run(home, *INGEST, "subaru", str(files / "subaru"))
    wrong = home / "wrong.csv"
    shutil.copy(HSC, wrong)
    wrong.write_text(wrong.read_text().replace("T_SEEING,0,", "T_SEEING,7,", 1))
    done = run(home, "corrections", "import", str(wrong), check=False)
    assert done.returncode == 1
    assert "T_SEEING" in done.stdout + done.stderr
    assert "7" in done.stdout + done.stderr
    assert run(home, "corrections", "check", check=False).returncode == 1


def test_a_bad_table_is_refused_whole_with_line_and_field(home: Path, files: Path) -> None:
    run(home, *INGEST, "subaru", str(files / "subaru"))
    bad = home / "bad.csv"
    lines = HSC.read_text().splitlines()
    lines[3] = lines[3].replace("float", "flaot")
    bad.write_text("\n".join(lines) + "\n")
    done = run(home, "corrections", "import", str(bad), check=False)
    assert done.returncode == 1
    assert "line 4" in done.stderr
    assert "flaot" in done.stderr
    assert ask(home, "SELECT count(*) FROM archive.correction") == [(0,)]
