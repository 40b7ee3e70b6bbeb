"""Harvesting from an archive of ours that is served; the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.registry.conftest import AUTHORITY, add_collection, make_home, remove_collection
from tests.registry.repository import ask, found, page, record, repository, resource
from tests.web.conftest import serving
from vo_service.cli.commands import app
from vo_service.errors import UsageError
from vo_service.services.harvest import (
    forget_source,
    harvest,
    harvest_sources,
)
from vo_service.services.registry import list_records, publish_records
from vo_service.settings import Settings

BASE = f"ivo://{AUTHORITY}"
X = "ivo://x.example"


def test_all_records_come_once_changes_follow_and_deleted_ones_go(
    own_database_url: str, place: Path, here: Settings
) -> None:
    there = make_home(own_database_url, place, registry_page=4)
    first = publish_records(there).added
    with serving(there):
        url = f"{there.root_url}/oai"
        done = harvest(here, url, pause_s=0)
        assert (done.new, done.taken, done.reasons) == (len(first), len(first), [])
        assert done.pages == -(-len(first) // 4)
        assert found(here) == {one.lower() for one in first}
        again = harvest(here, url, pause_s=0)
        assert (again.new, again.changed, again.deleted) == (0, 0, 0)
        time.sleep(1.1)
        add_collection(there, "beta", "Another title")
        remove_collection(there, "alpha")
        published = publish_records(there)
        done = harvest(here, url, pause_s=0)
        assert (done.new, done.changed) == (0, len(published.changed))
        assert done.deleted == 1
        assert found(here) == {one.identifier for one in list_records(there) if not one.deleted}
        title = ask(here, "SELECT res_title FROM rr.resource WHERE ivoid = %s", f"{BASE}/beta")
        assert title == ["Another title"]
        full = harvest(here, url, full=True, pause_s=0)
        # The deleted record is listed still, and is known.
        assert (full.changed, full.unchanged, full.deleted) == (len(first) - 1, 0, 1)
    [counts] = harvest_sources(here)
    assert (counts.active, counts.deleted, counts.refused) == (len(first) - 1, 1, 0)
    assert counts.source.name == "観測所 <&>"
    assert forget_source(here, url) == len(first) - 1
    assert found(here) == set()


def test_a_harvest_that_is_killed_goes_on_where_it_was_and_misses_no_change(
    own_database_url: str, place: Path, here: Settings
) -> None:
    there = make_home(own_database_url, place, registry_page=3)
    known = len(publish_records(there).added)
    here.home.mkdir(exist_ok=True)
    (here.home / "settings.toml").write_text('authority = "here.example"\n')
    program = Path(sys.executable).parent / "vo-service"
    environment = os.environ | {
        "VO_HOME": str(here.home), "VO_DATABASE_URL": here.database_url or "",
    }  # fmt: skip
    command = [str(program), "registry", "harvest", f"{there.root_url}/oai", "--pause", "1.5"]
    with serving(there):
        with subprocess.Popen(command, env=environment) as process:
            while not found(here):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        assert len(found(here)) in range(3, known, 3)
        [counts] = harvest_sources(here)
        assert counts.source.taken == len(found(here))
        assert counts.source.token
        time.sleep(1.1)
        add_collection(there, "gamma", "Changed on the way")
        publish_records(there)
        done = subprocess.run(
            [*command[:-1], "0"], env=environment, capture_output=True, text=True, check=True
        )
        assert "going on after" in done.stderr
        assert len(found(here)) == known
        titles = ask(here, "SELECT res_title FROM rr.resource WHERE ivoid = %s", f"{BASE}/gamma")
        assert titles == ["Changed on the way"]


def test_the_command_says_what_it_did_lists_and_forgets(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.home.mkdir(exist_ok=True)
    (here.home / "settings.toml").write_text('authority = "here.example"\n')
    monkeypatch.setenv("VO_DATABASE_URL", here.database_url or "")

    def run(*arguments: str) -> Result:
        command = ["--home", str(here.home), "registry", "harvest", *arguments]
        return CliRunner().invoke(app, command)

    assert "Nothing is harvested yet" in run("--list").output
    assert "No registry is known yet" in run().output
    assert isinstance(run("--list", "--faults").exception, UsageError)
    assert isinstance(run("--forget").exception, UsageError)
    records = [record(f"{X}/a"), record(f"{X}/b", resource(f"{X}/b", title=""))]
    with repository(lambda asked: page(*records)) as there:
        done = run(there.url, "--pause", "0")
        assert f"fault    {X}/b: title" in done.output
        assert f"{there.url}: 1 new, 1 refused." in done.output
        assert f"{there.url} (ivo_managed): 1 records, 0 deleted, 1 refused" in run("--list").output
        assert run("--pause", "0").output == f"{there.url}: 2 as they were.\n"
    assert f"refused  {X}/b: title" in run("--faults", there.url).output
    assert run("--forget", there.url).output == "1 records removed.\n"
    assert isinstance(run("--forget", there.url).exception, UsageError)
    assert isinstance(run("--faults", there.url).exception, UsageError)
