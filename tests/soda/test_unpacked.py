"""Files compressed as a whole: what cutouts read of them, and what they may take meanwhile."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.soda.support import opened
from vo_service.errors import TooLargeError, TransientError, UsageError
from vo_service.imaging.unpacked import Unpacker

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "a.fits.gz"
    # Two members, as `cat a.gz b.gz` makes them (RFC 1952, "File format").
    path.write_bytes(gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:]))
    return path


def test_all_of_the_content_can_be_read_at_any_position(packed: Path, tmp_path: Path) -> None:
    unpacker = Unpacker(tmp_path / "unpacked", 2_000_000)
    source = opened(packed)
    found = unpacker.unpack(source)
    assert (found.size, found.name) == (len(CONTENT), "a.fits.gz")
    assert found.tag == source.tag
    for start in (0, 999, 1000, 700_001, len(CONTENT) - 1):
        assert found.read_now(start, 3000) == CONTENT[start : start + 3000]
    with pytest.raises(OSError, match="shorter"):
        found.read_now(len(CONTENT), 1)
    assert list((tmp_path / "unpacked").iterdir()) == []  # it has no name
    found.close()


def test_what_is_open_together_is_bounded_and_given_back(packed: Path, tmp_path: Path) -> None:
    unpacker = Unpacker(tmp_path, 2_000_000)
    first = unpacker.unpack(opened(packed))
    with pytest.raises(TransientError, match="too many files are unpacked"):
        unpacker.unpack(opened(packed))
    first.close()
    first.close()
    unpacker.unpack(opened(packed)).close()


def test_a_bomb_is_refused_at_the_limit(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", 9) as out:
        for _ in range(100):
            out.write(bytes(1 << 20))
    unpacker = Unpacker(tmp_path / "unpacked", 10_000_000)
    with pytest.raises(TooLargeError, match="more than 10000000 bytes when unpacked"):
        unpacker.unpack(opened(bomb))
    unpacker.unpack(opened(_packed(tmp_path, bytes(9_000_000)))).close()  # nothing is held


def test_damage_and_truncation_are_told(packed: Path, tmp_path: Path) -> None:
    content = packed.read_bytes()
    unpacker = Unpacker(tmp_path / "unpacked", 2_000_000)
    damaged = content[:500] + b"\xff" * 500 + content[1000:]
    for name, part in (("cut", content[:-9]), ("damaged", damaged), ("none", content[:1])):
        path = tmp_path / name
        path.write_bytes(part)
        with pytest.raises(UsageError, match="gzip stream is damaged"):
            unpacker.unpack(opened(path))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    path = _packed(tmp_path, dice.integers(0, 4, 30_000_000, dtype=np.uint8).tobytes())
    tracemalloc.start()
    Unpacker(tmp_path / "unpacked", 40_000_000).unpack(opened(path)).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def _packed(place: Path, content: bytes) -> Path:
    path = place / "packed.gz"
    path.write_bytes(gzip.compress(content, 1))
    return path
