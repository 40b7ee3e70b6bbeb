"""Volatile collections: what goes when, and what never does."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.archive.toy import (
    ask,
    faults,
    ingest_toys,
    numbers,
    toy_file,
    write_collection,
    write_toys,
)
from vo_service.errors import ConfigError
from vo_service.model.collection import load_collection
from vo_service.services.checks import compute_md5, find_problems
from vo_service.services.expiry import expire, outlived
from vo_service.services.publication import publish, withdraw
from vo_service.settings import Settings

LIMIT = "lifetime_days: 9.5\n"
DELETE = LIMIT + "expired_files: delete\n"


def after(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_without_a_lifetime_nothing_expires(toys: Settings) -> None:
    assert outlived(toys, after(30_000)) == []
    assert expire(toys, after(30_000), actor="t")[0].count == 0


def test_the_half_day_counts_and_rows_stay(toys: Settings) -> None:
    publish(toys, numbers(toys, "arrived")[:6], rule="r", actor="a")
    write_collection(toys, more=LIMIT)
    assert outlived(toys, after(9.49)) == []
    assert sorted((part.state, part.files) for part in outlived(toys, after(9.51))) == [
        ("arrived", 6), ("public", 6),
    ]  # fmt: skip
    outcome, deleted = expire(toys, after(9.51), actor="t")
    assert (outcome.count, outcome.problems, deleted) == (12, [], 0)
    assert faults(toys) == []
    assert ask(toys, "SELECT count(*), count(access_url) FROM ivoa.obscore") == [(12, 0)]
    assert all(toy_file(toys.home / "store", n).exists() for n in range(12))
    assert ask(toys, "SELECT DISTINCT rule, actor FROM archive.state_change WHERE new_state = "
                     "'expired'") == [("lifetime_days 9.5", "t")]  # fmt: skip
    assert list(find_problems(toys)) == []


def test_files_are_deleted_where_the_collection_says_so(toys: Settings) -> None:
    write_collection(toys, more=DELETE)
    withdraw(toys, numbers(toys, "arrived")[:1], rule="r", actor="a", reason="held")
    outcome, deleted = expire(toys, after(10), actor="t")
    assert (outcome.count, outcome.problems, deleted) == (11, [], 11)
    left = sorted(path.name for path in (toys.home / "store").rglob("*.fits"))
    assert left == ["toy00000.fits"]
    assert compute_md5(toys, pytest.fail) == 1
    assert expire(toys, after(10), actor="t")[1] == 0


def test_what_could_not_be_deleted_is_told_and_tried_again(toys: Settings) -> None:
    write_collection(toys, more=DELETE)
    file = toy_file(toys.home / "store", 3)
    times = file.stat()
    os.utime(file, (1, 1))
    outcome, deleted = expire(toys, after(10), actor="t")
    assert (outcome.count, deleted) == (12, 11)
    assert outcome.problems == [f"{file}: not deleted: it has changed since it was ingested"]
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    outcome, deleted = expire(toys, after(10), actor="t")
    assert (outcome.count, outcome.problems, deleted) == (0, [], 1)


def test_a_directory_that_became_a_link_loses_nothing(toys: Settings, tmp_path: Path) -> None:
    write_collection(toys, more=DELETE)
    night = toys.home / "store" / "n001"
    night.rename(tmp_path / "precious")
    night.symlink_to(tmp_path / "precious")
    outcome, deleted = expire(toys, after(10), actor="t")
    assert (outcome.count, deleted, len(outcome.problems)) == (12, 10, 2)
    assert len(list((tmp_path / "precious").iterdir())) == 2


def test_a_wrong_collection_file_ends_nothing(toys: Settings) -> None:
    write_collection(toys, more=DELETE)
    expire(toys, after(1), actor="t")  # the lifetime is known now
    write_collection(toys, more="lifetime_days: many\nexpired_files: delete\n")
    outcome, deleted = expire(toys, after(10), actor="t")
    assert (outcome.count, deleted) == (0, 0)
    assert 'lifetime_days: expected a valid number, found "many"' in outcome.problems[0]
    assert len(numbers(toys, "arrived")) == 12


def test_a_longer_lifetime_counts_at_once(toys: Settings) -> None:
    write_collection(toys, more=LIMIT)
    expire(toys, after(1), actor="t")
    write_collection(toys, more="lifetime_days: 30\n")
    assert expire(toys, after(10), actor="t")[0].count == 0


def test_a_new_version_of_an_expired_file_arrives_anew(toys: Settings) -> None:

    write_collection(toys, more=LIMIT)
    expire(toys, after(10), actor="t")
    write_toys(toys.home / "store", [5], cards=1)
    counts = ingest_toys(toys, toys.home / "store")
    assert (counts.changed, counts.unchanged) == (1, 11)
    assert len(numbers(toys, "arrived")) == 1
    assert faults(toys) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lifetime_days: 0", "greater than 0"),
        ("lifetime_days: true", "lifetime_days"),
        ("lifetime_days: .inf", "less than or equal to 36500"),
        ("expired_files: burn", "'keep' or 'delete'"),
        ("withdrawn: maybe", "'hide' or 'keep'"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, line: str, said: str) -> None:
    settings = Settings(home=tmp_path)
    write_collection(settings, more=line)
    with pytest.raises(ConfigError, match=said):
        load_collection(settings.collections / "toy.yaml")
