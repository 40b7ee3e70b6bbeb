"""Links, rows and states change together or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.archive.toy import ask, faults, ingest_toys, numbers, toy_file, write_toys
from vo_service.archive.links import LinkTree
from vo_service.db.connect import Role, conninfo
from vo_service.db.publication import Change, PublicationStore
from vo_service.errors import TransientError
from vo_service.services.checks import find_problems
from vo_service.services.publication import (
    change_states,
    close_again,
    operator,
    publish,
    recover,
    withdraw,
)
from vo_service.settings import Settings

FIRST = "n000/toy00000.fits"


def publish_all(settings: Settings) -> None:
    outcome = publish(settings, numbers(settings, "arrived"), rule="test", actor="me")
    assert outcome.problems == []


def link(settings: Settings, path: str = FIRST) -> Path:
    return settings.public / "toy" / path


def test_published_products_have_links_states_and_a_history(toys: Settings) -> None:
    outcome = publish(toys, iter(numbers(toys, "arrived")), rule="at once", actor="me@here")
    assert (outcome.count, outcome.problems) == (12, [])
    assert faults(toys) == []
    assert len(numbers(toys, "public")) == 12
    assert os.readlink(link(toys)) == str(toy_file(toys.home / "store", 0))
    assert ask(
        toys, "SELECT old_state, new_state, rule, actor, reason, count(*), count(changed) "
        "FROM archive.state_change GROUP BY 1, 2, 3, 4, 5"
    ) == [("arrived", "public", "at once", "me@here", None, 12, 12)]  # fmt: skip
    assert publish(toys, numbers(toys, "public"), rule="again", actor="me").count == 0


def test_states_that_do_not_lead_there_are_passed_over(toys: Settings) -> None:
    everything = numbers(toys, "arrived")
    assert close_again(toys, everything, rule="r", actor="a").count == 0
    assert publish(toys, [*everything[:5], 10**12], rule="r", actor="a").count == 5
    assert close_again(toys, everything, rule="r", actor="a").count == 5
    assert withdraw(toys, everything[:7], rule="r", actor="a", reason="x").count == 7
    assert publish(toys, everything, rule="r", actor="a").count == 5
    assert faults(toys) == []


def test_a_vanished_file_stays_unpublished_and_is_named(toys: Settings) -> None:
    toy_file(toys.home / "store", 0).unlink()
    outcome = publish(toys, numbers(toys, "arrived"), rule="r", actor="a")
    assert outcome.count == 11
    assert len(outcome.problems) == 1
    assert "toy00000.fits: cannot be published: there is no such file" in outcome.problems[0]
    assert faults(toys) == []


def test_a_file_that_changed_since_its_ingest_is_not_published(toys: Settings) -> None:
    toy_file(toys.home / "store", 0).write_bytes(b"")
    outcome = publish(toys, numbers(toys, "arrived"), rule="r", actor="a")
    assert outcome.count == 11
    assert "had 5760 bytes when it was ingested and now has 0" in outcome.problems[0]
    assert faults(toys) == []


def test_what_a_dead_run_had_begun_is_completed_by_the_next(toys: Settings) -> None:
    ids = numbers(toys, "arrived")
    change = Change(before=("arrived",), after="public", rule="r", actor="dead")
    with psycopg.connect(conninfo(toys, Role.WRITER), autocommit=True) as connection:
        assert PublicationStore(connection).intend(ids, change) == 12
    LinkTree(toys.public).publish("toy", FIRST, str(toy_file(toys.home / "store", 0)))
    assert recover(toys).count == 12
    assert faults(toys) == []
    assert recover(toys).count == 0
    assert ask(toys, "SELECT DISTINCT actor FROM archive.state_change") == [("dead",)]


def test_what_cannot_be_completed_is_undone(toys: Settings) -> None:
    """Killed behind the link, and then the file vanished."""
    file = toy_file(toys.home / "store", 0)
    change = Change(before=("arrived",), after="public", rule="r", actor="dead")
    with psycopg.connect(conninfo(toys, Role.WRITER), autocommit=True) as connection:
        PublicationStore(connection).intend(numbers(toys, "arrived")[:1], change)
    LinkTree(toys.public).publish("toy", FIRST, str(file))
    file.unlink()
    outcome = recover(toys)
    assert outcome.count == 0
    assert "there is no such file" in outcome.problems[0]
    assert not link(toys).is_symlink()
    assert faults(toys) == []


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_done(
    toys: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real ENOSPC needs a file system of its own; the call that fails is the same."""
    made = 0
    symlink = os.symlink

    def full(source: str, target: Path) -> None:
        nonlocal made
        if made == 5:
            raise OSError(28, "No space left on device", str(target))
        made += 1
        symlink(source, target)

    monkeypatch.setattr(os, "symlink", full)
    with pytest.raises(TransientError, match="No space left on device"):
        publish(toys, numbers(toys, "arrived"), rule="r", actor="a")
    monkeypatch.undo()
    assert len(numbers(toys, "public")) == 5
    assert faults(toys) == []
    assert publish(toys, numbers(toys, "arrived"), rule="r", actor="a").count == 7
    assert faults(toys) == []


def test_a_place_that_cannot_be_written_is_a_problem_of_that_product(toys: Settings) -> None:
    (toys.public / "toy").mkdir(parents=True)
    (toys.public / "toy" / "n000").write_text("a file where a directory must be")
    outcome = publish(toys, numbers(toys, "arrived"), rule="r", actor="a")
    assert outcome.count == 2
    assert len(outcome.problems) == 10
    assert all("the link cannot be changed" in problem for problem in outcome.problems)
    assert len(numbers(toys, "public")) == 2


def test_commands_that_come_together_do_not_fight(toys: Settings) -> None:
    ids = numbers(toys, "arrived")
    counts: list[int] = []

    def run() -> None:
        for _ in range(5):
            counts.append(publish(toys, ids, rule="r", actor="a").count)
            counts.append(close_again(toys, ids, rule="r", actor="a").count)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults(toys) == []
    [(changes,)] = ask(toys, "SELECT count(*) FROM archive.state_change")
    assert sum(counts) == changes > 0


def test_a_command_that_waits_too_long_says_so(
    toys: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vo_service.db.publication._WAIT_S", 1)
    with (
        psycopg.connect(conninfo(toys, Role.WRITER), autocommit=True) as other,
        PublicationStore(other).lock(),
        pytest.raises(TransientError, match="another command"),
    ):
        publish(toys, numbers(toys, "arrived"), rule="r", actor="a")
    publish_all(toys)


def test_a_new_version_takes_the_link_of_the_old_one_away(toys: Settings) -> None:
    publish_all(toys)
    write_toys(toys.home / "store", [0], cards=1)
    assert ingest_toys(toys, toys.home / "store").changed == 1
    assert not link(toys).is_symlink()
    assert faults(toys) == []
    assert ask(
        toys,
        "SELECT version, state, current FROM archive.product WHERE path = %s ORDER BY version",
        FIRST,
    ) == [(1, "replaced", False), (2, "arrived", True)]
    publish_all(toys)
    assert link(toys).is_symlink()
    assert faults(toys) == []


def test_a_new_version_of_a_withdrawn_product_stays_withdrawn(toys: Settings) -> None:
    publish_all(toys)
    withdraw(toys, numbers(toys, "public")[:1], rule="r", actor="a", reason="private")
    write_toys(toys.home / "store", [0], cards=1)
    ingest_toys(toys, toys.home / "store")
    publish_all(toys)
    assert not link(toys).is_symlink()
    assert ask(toys, "SELECT count(*) FROM ivoa.obscore") == [(11,)]
    assert faults(toys) == []


def test_check_names_what_does_not_agree(toys: Settings) -> None:
    publish_all(toys)
    assert list(find_problems(toys)) == []
    store, tree = toys.home / "store", toys.public / "toy"
    (tree / "n000/toy00000.fits").unlink()
    (tree / "n000/stray.fits").symlink_to(toy_file(store, 1))
    (tree / "n000/.publishing-0123").symlink_to(toy_file(store, 1))
    toy_file(store, 2).unlink()
    toy_file(store, 3).write_bytes(b"")
    os.utime(toy_file(store, 4), (1, 1))
    (tree / "n000/toy00005.fits").unlink()
    (tree / "n000/toy00005.fits").symlink_to("/etc/passwd")
    said = sorted(find_problems(toys))
    assert len(said) == 7
    for number, words in enumerate(
        (
            ".publishing-0123: was left by a command that died",
            "toy/n000/stray.fits: is linked, but its row is not public",
            "toy/n000/toy00000.fits: is public, but has no link",
            "is gone",
            "has 0 bytes, not 5760 as when it was ingested",
            "was written to since it was ingested",
            "the link leads to /etc/passwd, not to",
        )
    ):
        assert words in said[number]


def test_the_lock_is_held_for_a_batch_and_batches_are_small(
    toys: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A withdrawal comes in between the batches of a long release."""
    monkeypatch.setattr("vo_service.services.publication._BATCH", 3)
    ids = numbers(toys, "arrived")

    def slowly() -> Iterator[int]:
        for number in ids:
            if number == ids[6]:
                assert withdraw(toys, ids[:2], rule="r", actor="b", reason="x").count == 2
            yield number

    assert publish(toys, slowly(), rule="r", actor="a").count == 12
    assert len(numbers(toys, "withdrawn")) == 2
    assert faults(toys) == []


def test_many_links_take_no_descriptors_with_them(toys: Settings) -> None:
    before = len(os.listdir("/proc/self/fd"))
    publish_all(toys)
    withdraw(toys, numbers(toys, "public"), rule="r", actor="a", reason="x")
    change = Change(before=("withdrawn",), after="arrived", rule="r", actor="a")
    assert change_states(toys, numbers(toys, "withdrawn"), change).count == 12
    assert len(os.listdir("/proc/self/fd")) == before
    assert faults(toys) == []


def test_who_works_is_a_name_at_a_machine() -> None:
    name, at, machine = operator().partition("@")
    assert name
    assert at
    assert machine
