"""A short version of `tests.archive.kill_loop`; the long one is run by hand."""

from __future__ import annotations

from pathlib import Path

from tests.archive import kill_loop
from tests.support import settings_at
from vo_service.db.schema import upgrade


def test_links_rows_and_states_agree_whenever_a_command_is_killed(
    own_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(own_database_url, tmp_path / "home")
    upgrade(settings)
    outcome = kill_loop.run(settings, rounds=8, frames=30, seed=20261121)
    assert outcome.faults == []
    assert sum(outcome.ends.values()) == 8
    assert outcome.changes > 0
