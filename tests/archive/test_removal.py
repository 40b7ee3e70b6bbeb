"""Deleting files: the one that was ingested, below a root, and never any other."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vo_service.archive.removal import remove_file
from vo_service.errors import VOError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "store" / "night").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "store"


def made(file: Path) -> tuple[int, datetime]:
    file.write_bytes(b"content")
    return 7, datetime.fromtimestamp(file.stat().st_mtime, UTC)


def test_the_file_is_deleted_and_its_neighbour_is_not(root: Path) -> None:
    file, other = root / "night" / "a.fits", root / "night" / "b.fits"
    made(other)
    assert remove_file(file, [root.parent / "elsewhere", root], *made(file))
    assert not file.exists()
    assert other.exists()


def test_a_file_that_is_gone_is_no_fault(root: Path) -> None:
    assert not remove_file(root / "night" / "a.fits", [root], 1, datetime.now(UTC))
    assert not remove_file(root / "day" / "a.fits", [root], 1, datetime.now(UTC))


def test_nothing_outside_the_roots_is_deleted(root: Path) -> None:
    file = root.parent / "outside" / "a.fits"
    identity = made(file)
    for source in (file, root / ".." / "outside" / "a.fits"):
        with pytest.raises(VOError, match="not below a root"):
            remove_file(source, [root], *identity)
    with pytest.raises(VOError, match="not below a root"):
        remove_file(file, [], *identity)
    assert file.exists()


def test_a_link_is_never_followed(root: Path) -> None:
    file = root.parent / "outside" / "a.fits"
    identity = made(file)
    (root / "way").symlink_to(file.parent)
    with pytest.raises(VOError, match="a part of its path is a link"):
        remove_file(root / "way" / "a.fits", [root], *identity)
    (root / "night" / "a.fits").symlink_to(file)
    with pytest.raises(VOError, match="not a regular file"):
        remove_file(root / "night" / "a.fits", [root], *identity)
    assert file.exists()
    assert (root / "night" / "a.fits").is_symlink()


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    (root.parent / "named").symlink_to(root)
    named = root.parent / "named"
    assert remove_file(named / "night" / "a.fits", [named], *made(root / "night" / "a.fits"))


def test_another_file_in_its_place_stays(root: Path) -> None:
    file = root / "night" / "a.fits"
    identity = made(file)
    os.utime(file, (1, 1))
    with pytest.raises(VOError, match="has changed since it was ingested"):
        remove_file(file, [root], *identity)
    size, modified = made(file)
    with pytest.raises(VOError, match="has changed since it was ingested"):
        remove_file(file, [root], size + 1, modified)
    assert file.exists()
