"""STILTS, and TOPCAT's own copy of it: what they make of the simple protocols' answers."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.web.conftest import Archive

STILTS, TOPCAT = ("stilts",), ("topcat", "-stilts")

#: Two fields of the demonstration archive, and a place where there is nothing.
POSITIONS = "id,ra,dec\n1,149.38,69.65\n2,325.678,43.586\n3,10,10\n"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_votlint_finds_nothing_in_any_answer(archive: Archive, tmp_path: Path) -> None:
    field = "POS=149.38,69.65&SIZE=0.2"
    for number, path in enumerate((
        "sia2/query?POS=CIRCLE+149.38+69.65+0.1",
        "sia2/query?POS=CIRCLE+149.38+69.65+0.1&RESPONSEFORMAT=votable/td",
        "sia2/query?MAXREC=0", "sia2/query?POS=x",
        f"sia/query?{field}", "sia/query?FORMAT=METADATA", "sia/query",
        "scs/ivoa.obscore?RA=149.38&DEC=69.65&SR=0.2", "scs/ivoa.obscore?RA=149.38",
        "ssa/query?REQUEST=queryData", "ssa/query?REQUEST=queryData&FORMAT=METADATA", "ssa/query",
    )):  # fmt: skip
        file = tmp_path / f"{number}.xml"
        file.write_bytes(httpx.get(f"{archive.url}/{path}", timeout=60).content)
        assert run("stilts", "votlint", str(file)) == "", path


@pytest.mark.parametrize(
    ("program", "kind", "path", "counts"),
    [
        (STILTS, "cone", "scs/ivoa.obscore?", {"1": 18, "2": 6}),
        (STILTS, "sia2", "sia2/query", {"1": 18, "2": 3}),
        (TOPCAT, "sia2", "sia2/query", {"1": 18, "2": 3}),
        (STILTS, "sia", "sia/query?", {"1": 18, "2": 3}),
        (STILTS, "ssa", "ssa/query?", {"2": 3}),
    ],
)
def test_a_list_of_positions_is_searched(
    archive: Archive,
    tmp_path: Path,
    program: tuple[str, ...],
    kind: str,
    path: str,
    counts: dict[str, int],
) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    table = tmp_path / "positions.csv"
    table.write_text(POSITIONS)
    found = run(
        *program, "coneskymatch", f"serviceurl={archive.url}/{path}", f"servicetype={kind}",
        f"in={table}", "ifmt=csv", "ra=ra", "dec=dec", "sr=0.3", "find=all", "ofmt=csv",
    )  # fmt: skip
    rows = [row["id"] for row in csv.DictReader(io.StringIO(found))]
    assert {name: rows.count(name) for name in set(rows)} == counts
