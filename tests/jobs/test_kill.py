"""A short version of `tests.jobs.kill_loop`; the long one is run by hand."""

from __future__ import annotations

from pathlib import Path

from tests.jobs import kill_loop


def test_jobs_end_with_whole_results_whatever_is_killed(place: Path) -> None:
    outcome = kill_loop.run(place, jobs=8, seed=20261121)
    assert outcome.faults == []
    assert sum(outcome.phases.values()) >= 8
    assert set(outcome.phases) <= kill_loop.ENDED
    assert outcome.kills
