"""Publication: only what changed moves, what is gone is deleted, what is wrong stays out."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from tests.registry.conftest import AUTHORITY, add_collection, remove_collection
from vo_service.errors import ConfigError, NotFoundError
from vo_service.services.registry import (
    list_records,
    publish_records,
    registry_directory,
    show_record,
)
from vo_service.services.registry_check import registry_problems
from vo_service.settings import Settings

BASE = f"ivo://{AUTHORITY}"


def datestamps(settings: Settings) -> dict[str, tuple[datetime, bool]]:
    return {one.identifier: (one.updated, one.deleted) for one in list_records(settings)}


def test_the_second_publication_changes_nothing(home: Settings) -> None:
    first = publish_records(home)
    assert f"{BASE}/alpha" in first.added
    assert first.refused == []
    before = datestamps(home)
    time.sleep(1.1)
    again = publish_records(home)
    assert (again.added, again.changed, again.deleted) == ([], [], [])
    assert again.unchanged == len(first.added)
    assert datestamps(home) == before


def test_a_changed_title_moves_the_records_that_say_it_and_no_other(home: Settings) -> None:
    publish_records(home)
    before = datestamps(home)
    time.sleep(1.1)
    add_collection(home, "beta", "Another title")
    changed = set(publish_records(home).changed)
    assert f"{BASE}/beta" in changed
    assert f"{BASE}/system/tap" in changed  # it says what it serves
    assert not changed & {BASE, f"{BASE}/alpha", f"{BASE}/system/registry"}
    after = datestamps(home)
    assert {name for name in after if after[name] != before[name]} == changed
    assert "Another title" in show_record(home, f"{BASE}/BETA")


def test_a_collection_that_goes_leaves_a_deleted_record_that_stays(home: Settings) -> None:
    publish_records(home)
    created = {one.identifier: one.created for one in list_records(home)}
    remove_collection(home, "beta")
    assert publish_records(home).deleted == [f"{BASE}/beta"]
    gone = datestamps(home)[f"{BASE}/beta"]
    assert gone[1]
    time.sleep(1.1)
    assert publish_records(home).deleted == []
    assert datestamps(home)[f"{BASE}/beta"] == gone
    with pytest.raises(NotFoundError, match="no such record is published"):
        show_record(home, f"{BASE}/beta")
    add_collection(home, "beta", "Back again")
    assert f"{BASE}/beta" in publish_records(home).changed
    assert {one.identifier: one.created for one in list_records(home)} == created


def test_a_collection_can_be_kept_out_by_its_file(home: Settings) -> None:
    publish_records(home)
    directory = registry_directory(home) / "collections"
    directory.mkdir(parents=True)
    (directory / "gamma.yaml").write_text("register: false\n", "utf-8")
    assert publish_records(home).deleted == [f"{BASE}/gamma"]


def test_a_wrong_file_keeps_everything_as_it_was(home: Settings) -> None:
    publish_records(home)
    before = datestamps(home)
    directory = registry_directory(home) / "collections"
    directory.mkdir(parents=True)
    (directory / "alpha.yaml").write_text("subjects: [Galaxies and more]\n", "utf-8")
    with pytest.raises(ConfigError, match=r"alpha.yaml: subjects.0: expected a term"):
        publish_records(home)
    assert datestamps(home) == before
    assert any("subjects.0" in problem for problem in registry_problems(home))


def test_an_invalid_record_is_refused_with_the_reason_and_the_old_one_stays(
    home: Settings,
) -> None:
    publish_records(home)
    old = show_record(home, f"{BASE}/alpha")
    add_collection(home, "alpha", "")
    directory = registry_directory(home) / "collections"
    directory.mkdir(parents=True)
    # The schema's float has no place for such an angle, and no rule of ours forbids the address.
    (directory / "alpha.yaml").write_text(
        "reference_url: 'https://x.example/%%%'\ntitle: New\n", "utf-8"
    )
    done = publish_records(home)
    assert [reason for reason in done.refused if "alpha" in reason]
    assert show_record(home, f"{BASE}/alpha") == old


def test_identifiers_of_data_sets_must_belong_to_a_record(home: Settings) -> None:
    add_collection(home, "delta", "Delta", did="ivo://elsewhere.org/{collection}?{path}")
    add_collection(home, "epsilon", "Epsilon", did="ivo://{authority}/{collection}?{path}")
    found = [p for p in registry_problems(home) if "did:" in p]
    assert any(
        p.startswith("delta: did: identifiers begin with ivo://elsewhere.org") for p in found
    )
    assert not any(p.startswith("epsilon") for p in found)


def test_addresses_that_do_not_answer_are_problems(home: Settings) -> None:
    found = [problem for problem in registry_problems(home) if "accessURL" in problem]
    assert any(f"{home.root_url}/tap: does not answer from here" in p for p in found)
