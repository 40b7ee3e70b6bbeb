"""The tree of links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vo_service.archive.links import LinkTree
from vo_service.errors import ConfigError, VOError


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "store" / "a.fits"
    file.parent.mkdir()
    file.write_bytes(b"SIMPLE")
    return str(file)


def test_a_published_file_is_a_link_to_it_and_nothing_else(tmp_path: Path, source: str) -> None:
    tree = LinkTree(tmp_path / "public")
    assert tree.publish("c", "2020/a.fits", source)
    link = tmp_path / "public" / "c" / "2020" / "a.fits"
    assert os.readlink(link) == source
    assert list(tree.links("c")) == ["2020/a.fits"]
    assert os.listdir(link.parent) == ["a.fits"]


def test_publishing_again_changes_nothing(tmp_path: Path, source: str) -> None:
    tree = LinkTree(tmp_path / "public")
    tree.publish("c", "a.fits", source)
    assert not tree.publish("c", "a.fits", source)


def test_a_link_is_moved_to_a_new_target(tmp_path: Path, source: str) -> None:
    tree = LinkTree(tmp_path / "public")
    tree.publish("c", "a.fits", source)
    other = tmp_path / "store" / "b.fits"
    other.write_bytes(b"")
    assert tree.publish("c", "a.fits", str(other))
    assert os.readlink(tmp_path / "public" / "c" / "a.fits") == str(other)


def test_a_file_that_is_gone_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.fits: cannot be published: there is no such"):
        LinkTree(tmp_path).publish("c", "gone.fits", str(tmp_path / "gone.fits"))
    assert list(LinkTree(tmp_path).links("c")) == []


def test_something_that_is_no_link_is_never_replaced(tmp_path: Path, source: str) -> None:
    place = tmp_path / "public" / "c"
    place.mkdir(parents=True)
    (place / "a.fits").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="something that is no link is there"):
        LinkTree(tmp_path / "public").publish("c", "a.fits", source)
    assert (place / "a.fits").read_bytes() == b"precious"


def test_withdrawing_removes_the_link_and_leaves_the_file(tmp_path: Path, source: str) -> None:
    tree = LinkTree(tmp_path / "public")
    tree.publish("c", "a.fits", source)
    assert tree.withdraw("c", "a.fits")
    assert not tree.withdraw("c", "a.fits")
    assert Path(source).exists()


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/passwd", "", "a//b", "./a", "a\0b"])
def test_a_path_never_leaves_its_collection(tmp_path: Path, path: str) -> None:
    with pytest.raises(VOError, match="not a path below the collection"):
        LinkTree(tmp_path).place("c", path)
