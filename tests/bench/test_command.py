"""`vo-service bench` as an operator calls it, on a small archive."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_commands import ask, bare, home, run

__all__ = ["bare", "home"]  # fixtures


def test_it_measures_writes_what_it_found_and_leaves_nothing(home: Path) -> None:
    file, plot = home / "figures.json", home / "figures.svg"
    done = run(
        home, "bench", "--rows", "1000", "--only", "shapes,jobs", "--json", str(file),
        "--plot", str(plot),
    )  # fmt: skip
    assert "search: polygon of 1 deg, p50" in done.stdout
    written = json.loads(file.read_text())
    assert written["conditions"]["rows"] == 1000
    assert {figure["group"] for figure in written["figures"]} == {"load", "search", "job"}
    assert "<svg" in plot.read_text()
    assert ask(home, "SELECT count(*) FROM pg_database WHERE datname LIKE 'vo_bench%'") == [(0,)]
    assert ask(home, "SELECT count(*) FROM archive.product") == [(0,)]


def test_a_measure_that_is_not_there_is_refused_with_those_that_are(home: Path) -> None:
    done = run(home, "bench", "--only", "speed", check=False)
    assert done.returncode == 1
    assert "there is no measure 'speed'; those are memory, cones" in done.stderr


def test_a_measure_that_fails_costs_no_other(home: Path) -> None:
    """Uploads are refused by the operator's limit; what was measured before is written down."""
    file = home / "figures.json"
    with (home / "settings.toml").open("a", encoding="utf-8") as chosen:
        chosen.write("\nupload_bytes_limit = 10\n")
    done = run(
        home, "bench", "--rows", "1000", "--only", "aggregates,uploads,jobs", "--json", str(file),
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "uploads: not measured" in done.stderr
    written = json.loads(file.read_text())
    assert {figure["group"] for figure in written["figures"]} == {"load", "aggregate", "job"}
