"""The arithmetic of tar archives against Python's `tarfile` and the tar program."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vo_service.archive.bundle import (
    content_of,
    end_of,
    header_of,
    member_end,
    padding,
    pieces,
    place,
    tar_size,
)
from vo_service.model.bundle import Member

_PART = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda part: part not in {".", ".."})
_NAMES = st.lists(_PART, min_size=1, max_size=6).map("/".join)
_SMALL = st.builds(Member, _NAMES, st.integers(0, 3000), st.integers(0, 2**33))
_LARGE = st.builds(Member, _NAMES, st.integers(0, 2**62), st.integers(-(2**33), 2**36))


def _content(member: Member) -> bytes:
    return (member.name.encode() + b"!" * member.size)[: member.size]


def _reference(members: list[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime = member.size, member.mtime
            tar.addfile(info, io.BytesIO(_content(member)))
    return out.getvalue()


def _bytes(members: list[Member], start: int, end: int) -> bytes:
    """The bytes of an archive, put together from its pieces."""
    parts = []
    for piece in pieces(members, start, end):
        whole = piece.content if isinstance(piece.content, bytes) else _content(piece.content)
        parts.append(whole[piece.start : piece.end])
    last = member_end(members[-1]) if members else 0
    tail = end_of(last)
    parts.append(tail[max(start - last, 0) : max(end - last, 0)])
    return b"".join(parts)


@given(st.lists(_SMALL, max_size=8), st.data())
def test_any_span_is_what_tarfile_writes(members: list[Member], data: st.DataObject) -> None:
    placed = list(place(members))
    expected = _reference(members)
    size = tar_size(member_end(placed[-1]) if placed else 0)
    assert size == len(expected)
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    assert _bytes(placed, start, end) == expected[start:end]
    assert _bytes(placed, 0, size) == expected


@given(_LARGE)
def test_a_header_is_read_back_whatever_name_and_size(member: Member) -> None:
    header = header_of(member)
    assert len(header) % 512 == 0
    assert content_of(member) == len(header)
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024))) as tar:
        info = tar.next()
    assert info is not None
    assert (info.name, info.size, info.mtime) == (
        member.name.rstrip("/"),
        member.size,
        member.mtime,
    )
    assert (info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, "", "", 0o644)


def test_places_are_what_is_worked_out_by_hand() -> None:
    # 512 of header, content, padding to 512; the second has a pax header of 1024 before it.
    placed = list(place([Member("a", 1, 0), Member("b", 8**11, 0), Member("c", 512, 0)]))
    assert [member.position for member in placed] == [0, 1024, 1024 + 1536 + 8**11]
    assert content_of(placed[1]) == 1024 + 1536
    assert member_end(placed[-1]) == 1024 + 1536 + 8**11 + 1024
    assert (padding(0), padding(1), padding(512), padding(513)) == (0, 511, 0, 511)
    assert tar_size(0) == 10240
    assert tar_size(9216) == 10240
    assert tar_size(9217 + 511) == 20480


def test_gnu_tar_lists_and_unpacks_it(tmp_path: Path) -> None:
    members = [
        Member("plain", 700, 1_000_000_000),
        Member("d/" * 60 + "deep.fits", 10, 1_700_000_000),
        Member("名前 with blank.fits", 0, 0),
        Member("n" * 200, 513, 1_500_000_000),
    ]
    archive = tmp_path / "it.tar"
    placed = list(place(members))
    archive.write_bytes(_bytes(placed, 0, tar_size(member_end(placed[-1]))))
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        ("tar", "-xf", archive, "-C", out), check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    for member in members:
        file = out / member.name
        assert file.read_bytes() == _content(member)
        assert int(file.stat().st_mtime) == member.mtime


def test_a_span_in_a_hundred_thousand_members_looks_at_few() -> None:
    placed = list(place(Member(f"frame-{n}", 2880 * n, 0, n) for n in range(100_000)))
    middle = placed[50_000]
    found = list(pieces(placed, content_of(middle) + 5, content_of(middle) + 15))
    assert [(p.content, p.start, p.end) for p in found] == [(middle, 5, 15)]
