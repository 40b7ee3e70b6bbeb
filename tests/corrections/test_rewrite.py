"""Corrected headers as bytes: what was asked is there, the rest and the data are untouched."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.corrections.support import (
    KEYWORDS,
    VALUES,
    Value,
    cards_of,
    corrected,
    fix,
    found_in,
    image,
    opened,
    primary,
    value_of,
    write,
)
from vo_service.errors import HeaderError, UsageError
from vo_service.ingest.checksum import encode_checksum, sum32
from vo_service.ingest.rewrite import card_records, corrected_headers
from vo_service.model.correction import Datatype

SUMS = ("CHECKSUM", "DATASUM")


def statuses(found: Any) -> list[str]:
    return [outcome.status for outcome in found.outcomes]


def test_a_card_keeps_its_place_its_comment_and_its_form(tmp_path: Path) -> None:
    before: list[tuple[str, Value, str]] = [
        ("A", 1, "first"),
        ("SEEING", 0.0, "[arcsec] seeing"),
        ("B", "x", "last"),
    ]
    path = write(tmp_path / "a.fits", primary(before))
    content, found = corrected(path, [fix("SEEING", "0", "-9999")])
    assert statuses(found) == ["applied"]
    assert found.size == len(content) == path.stat().st_size
    assert b"SEEING  =              -9999.0 / [arcsec] seeing".ljust(80) in content
    (tmp_path / "b.fits").write_bytes(content)
    with fits.open(path) as old, opened(tmp_path / "b.fits") as new:
        changed = [
            (a, b)
            for a, b in zip(cards_of(old[0].header), cards_of(new[0].header), strict=True)
            if a != b
        ]
        assert [a[:8].strip() for a, _ in changed] == ["SEEING", "CHECKSUM"]
        assert new[0].header.comments["CHECKSUM"] == "when it was made"
    assert content[-2880:] == path.read_bytes()[-2880:]


def test_a_comment_that_is_given_replaces_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, "old"), ("L", 0, "x" * 47)]))
    content, _ = corrected(path, [fix("K", "0", "1", "int", comment="new")])
    assert b"K       =                    1 / new".ljust(80) in content
    # Beyond the end of a card nothing is written, whatever is too long.
    long = "".join(str(n % 10) for n in range(70))
    content, _ = corrected(path, [fix("K", "0", "1", "int", comment=long)])
    assert (b"K       =                    1 / " + long.encode())[:80] in content


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ("short", ["KEY     = 'short   '           / why"]),
        ("", ["KEY     = '        '           / why"]),
        ("it's", ["KEY     = 'it''s   '           / why"]),
        ("x" * 68, [f"KEY     = '{'x' * 68}'"]),
        ("x" * 69, [f"KEY     = '{'x' * 67}&'", "CONTINUE  'xx      '           / why"]),
        # A quote that is written twice is not torn apart.
        ("x" * 66 + "''", [f"KEY     = '{'x' * 66}&'", "CONTINUE  '''''    '           / why"]),
        (
            "y" * 140,
            [f"KEY     = '{'y' * 67}&'", f"CONTINUE  '{'y' * 67}&'", "CONTINUE  'yyyyyy  '"],
        ),
    ],
)
def test_a_string_takes_as_many_records_as_it_needs(text: str, records: list[str]) -> None:
    made = [r.decode() for r in card_records("KEY", text, "why", quoted=True)]
    assert all(len(record) == 80 for record in made)
    if text == "y" * 140:
        records[-1] += "           / why"
    assert [record.rstrip() for record in made] == records
    assert fits.Card.fromstring("".join(made)).value == text


@pytest.mark.parametrize(("count", "grown"), [(35, 0), (36, 2880)])
def test_a_header_grows_by_a_block_when_it_must(tmp_path: Path, count: int, grown: int) -> None:
    # SIMPLE, BITPIX, NAXIS, NAXIS1 and NAME, and END: with *count* - 6 more.
    filled = [(f"K{n}", n, "") for n in range(count - 6)]
    path = write(tmp_path / "a.fits", primary([("NAME", "x", ""), *filled]), checksum=False)
    content, _ = corrected(path, [fix("NAME", "x", "y" * 100, "string")])
    assert len(content) - path.stat().st_size == grown
    (tmp_path / "b.fits").write_bytes(content)
    with opened(tmp_path / "b.fits") as hdus:
        assert hdus[0].header["NAME"] == "y" * 100
        assert np.array_equal(hdus[0].data, np.arange(30, dtype=np.float32))
    # And back: the block is not needed any more.
    back, _ = corrected(tmp_path / "b.fits", [fix("NAME", "y" * 100, "x", "string")])
    assert back == path.read_bytes()


def test_several_hdus_are_corrected_by_number_by_name_and_all(tmp_path: Path) -> None:
    cards: list[tuple[str, Value, str]] = [("K", 0, ""), ("OBJECT", "old", "")]
    path = write(
        tmp_path / "a.fits", primary([]), image(cards, "SCI", 1), image(cards, "ERR", 2),
        image([], "DQ", 3),
    )  # fmt: skip
    content, found = corrected(
        path,
        [
            fix("K", "0", "1", "int", hdu="2"),
            fix("K", "0", "5", "int", hdu="sci"),
            fix("OBJECT", "old", "new", "string", hdu="all"),
            fix("K", "0", "1", "int", hdu="3"),
            fix("K", "0", "1", "int", hdu="9"),
            fix("K", "0", "1", "int", hdu="NONE"),
        ],
    )
    assert statuses(found) == ["applied", "applied", "applied", "applied", *["absent"] * 3]
    (tmp_path / "b.fits").write_bytes(content)
    with opened(tmp_path / "b.fits") as hdus, fits.open(path) as old:
        assert [hdu.header.get("K") for hdu in hdus] == [None, 5, 1, None]
        assert [hdu.header.get("OBJECT") for hdu in hdus] == [None, "new", "new", None]
        for before, after in zip(old, hdus, strict=True):
            assert np.array_equal(before.data, after.data)
        # What is not corrected is the same in all its bytes.
        assert hdus[0].header.tostring() == old[0].header.tostring()
        assert hdus[3].header.tostring() == old[3].header.tostring()


def test_without_an_hdu_the_first_that_has_the_keyword_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([]), image([("K", 0, "")]), image([("K", 0, "")]))
    content, _ = corrected(path, [fix("K", "0", "1", "int")])
    (tmp_path / "b.fits").write_bytes(content)
    with opened(tmp_path / "b.fits") as hdus:
        assert [hdu.header.get("K") for hdu in hdus] == [None, 1, 0]


def test_a_chain_of_corrections_is_applied_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, "c")]))
    chain = [fix("K", "0", "1", "int"), fix("K", "1", "2", "int"), fix("K", "0", "3", "int")]
    content, found = corrected(path, chain)
    assert statuses(found) == ["applied", "applied", "different"]
    assert found.outcomes[2].found == 2
    assert str(found.outcomes[2]) == "HDU 0, K: found 2, expected '0'"
    assert b"K       =                    2 / c" in content
    # In another order, only what still fits.
    content, found = corrected(path, chain[1::-1])
    assert statuses(found) == ["different", "applied"]
    assert b"K       =                    1 / c" in content


def test_a_corrected_file_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, "c"), ("S", "a", "")]))
    some = [fix("K", "0", "1", "int"), fix("K", "1", "2", "int"), fix("S", "a", "b", "string")]
    content, _ = corrected(path, some)
    again = tmp_path / "b.fits"
    again.write_bytes(content)
    twice, found = corrected(again, some)
    assert statuses(found) == ["already", "already", "already"]
    assert (twice, found.digest) == (content, "")


def test_a_wrong_current_changes_nothing_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", "0", ""), ("U", None, "")]))
    content, found = corrected(path, [fix("K", "0", "1"), fix("U", "0", "1"), fix("V", "0", "1")])
    assert statuses(found) == ["different", "different", "absent"]
    assert [str(outcome) for outcome in found.outcomes] == [
        "HDU 0, K: found '0', expected '0.0'",
        "HDU 0, U: found no value, expected '0.0'",
        "HDU any, V: there is no such keyword, expected '0.0'",
    ]
    assert content == path.read_bytes()


def test_the_header_of_a_compressed_image_is_that_of_its_table(tmp_path: Path) -> None:
    data = np.arange(200 * 300, dtype=np.int16).reshape(200, 300)
    header = fits.Header([("T_SEEING", 0.0, "seeing"), ("OBJECT", "x", "")])
    hdu = fits.CompImageHDU(data, header, compression_type="RICE_1", tile_shape=(20, 300))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as raw:
        raw[1].header["ZHECKSUM"] = ("0" * 16, "of the image before")
        raw[1].header["ZDATASUM"] = ("123", "of the image before")
        raw[1].add_checksum()
        raw.writeto(tmp_path / "b.fits")
    content, _ = corrected(tmp_path / "b.fits", [fix("T_SEEING", "0", "1.25")])
    (tmp_path / "c.fits").write_bytes(content)
    with opened(tmp_path / "c.fits") as hdus:
        # It spoke of a header that is not that of this file any more.
        assert "ZHECKSUM" not in hdus[1].header
        assert hdus[1].header["ZDATASUM"] == "123"
    with fits.open(tmp_path / "c.fits") as hdus:
        assert hdus[1].header["T_SEEING"] == 1.25
        assert np.array_equal(hdus[1].data, data)


def test_without_datasum_a_checksum_stays_as_right_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, "")]))
    raw = path.read_bytes()
    with fits.open(path) as hdus:
        del hdus[0].header["DATASUM"]
        header = hdus[0].header.tostring().encode()
    place = header.index(b"CHECKSUM= '") + 11
    zeroed = header[:place] + b"0" * 16 + header[place + 16 :]
    total = sum32(zeroed + raw[2880:])
    good = zeroed[:place] + encode_checksum(total).encode() + zeroed[place + 16 :] + raw[2880:]
    for content, right in ((good, True), (good.replace(b"K  ", b"K X"), False)):
        path.write_bytes(content)
        new, _ = corrected(path, [fix("K", "0", "12345.6")])
        assert (sum32(new) in (0, 0xFFFFFFFF)) is right


def test_an_hdu_without_checksum_gets_none(tmp_path: Path) -> None:
    for sums in ((), ("DATASUM",)):
        hdu = primary([("K", 0, "")])
        if sums:
            hdu.add_datasum()
        path = write(tmp_path / "a.fits", hdu, checksum=False)
        content, _ = corrected(path, [fix("K", "0", "1", "int")])
        assert b"CHECKSUM" not in content
        assert (b"DATASUM" in content) is bool(sums)


def test_a_file_compressed_as_a_whole_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, "")]))
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UsageError, match="compressed as a whole"):
        corrected(packed, [fix("K", "0", "1")])


@pytest.mark.parametrize("content", [b"", b"SIMPLE  = nonsense", b"%PDF", bytes(5760)])
def test_what_is_no_fits_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(HeaderError):
        corrected(path, [fix("K", "0", "1")])


def test_only_headers_of_a_huge_file_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary([("K", 0, ""), ("NAME", "x", "")]))
    header = path.read_bytes()[:2880].replace(b"NAXIS1  =                   30",
                                              b"NAXIS1  =           7500000000")  # fmt: skip
    path.write_bytes(header)
    os.truncate(path, 2880 + 10_416_667 * 2880)  # 30 GB, on disk one block
    descriptor = os.open(path, os.O_RDONLY)
    try:
        before = _bytes_read()
        found = corrected_headers(
            descriptor, path.stat().st_size, [fix("NAME", "x", "y" * 2000, "string")]
        )
        assert _bytes_read() - before < 100_000
    finally:
        os.close(descriptor)
    assert found.parts[1] == (2880, path.stat().st_size)
    assert found.size == path.stat().st_size + 2880


def _bytes_read() -> int:
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("rchar")).split()[1])


@given(
    st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]), st.integers(0, 2**32 - 1)
)
def test_checksums_add_up_to_all_ones(data: bytes, start: int) -> None:
    total = sum32(data, start)
    text = encode_checksum(sum32(b"0" * 16, total))
    assert text.isascii()
    assert text.isalnum()
    rotated = (text[1:] + text[0]).encode()  # as it lies across the words of a header
    assert sum32(rotated, total) in (0, 0xFFFFFFFF)


_CARDS = st.lists(
    st.tuples(st.sampled_from(KEYWORDS), VALUES, st.text("abc /'", max_size=30)),
    unique_by=lambda card: card[0],
    max_size=8,
)
_CHANGING = [*KEYWORDS, "CHECKSUM"]
_NEW = st.lists(st.tuples(st.sampled_from(KEYWORDS), VALUES, st.booleans()), max_size=6)


@given(
    first=_CARDS,
    second=_CARDS,
    wanted=_NEW,
    checksum=st.booleans(),
    hdu=st.sampled_from(["", "all", "1"]),
)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_whatever_is_corrected_astropy_reads_what_was_asked(
    tmp_path: Path,
    first: list[tuple[str, tuple[str, Datatype], str]],
    second: list[tuple[str, tuple[str, Datatype], str]],
    wanted: list[tuple[str, tuple[str, Datatype], bool]],
    checksum: bool,
    hdu: str,
) -> None:
    headers = [[(key, value_of(*value), comment.strip()) for key, value, comment in cards]
               for cards in (first, second)]  # fmt: skip
    try:
        path = write(tmp_path / "a.fits", primary(headers[0]), image(headers[1]), checksum=checksum)
    except ValueError:
        assume(False)  # a keyword and value that astropy does not fit into one card
    with fits.open(path) as hdus:
        expected = [{key: found_in(h.header, key) for key, _, _ in cards}
                    for h, cards in zip(hdus, headers, strict=True)]  # fmt: skip
        others = [cards_of(hdu.header, without=_CHANGING) for hdu in hdus]
        data = [np.array(hdu.data) for hdu in hdus]
    corrections = []
    for keyword, (new_text, new_type), fits_now in wanted:
        targets = [e for n, e in enumerate(expected) if keyword in e and (hdu != "1" or n == 1)]
        if hdu == "":
            targets = targets[:1]
        now = _as_text(targets[0][keyword]) if targets else ("", "int")
        # A table has one datatype for both of its values.
        datatype = now[1] if now[0] else new_type
        text = new_text if datatype == new_type or not new_text else now[0]
        current = now[0] if fits_now else "12345678"
        if datatype == "logical" and not fits_now:
            continue
        corrections.append(fix(keyword, current, text, datatype, hdu=hdu))
        for target in targets:
            if fits_now and _as_text(target[keyword])[0] == now[0]:
                target[keyword] = value_of(text, datatype)
    content, found = corrected(path, corrections)
    new = tmp_path / "b.fits"
    new.write_bytes(content)
    with opened(new) as hdus:
        for index, header in enumerate(hdu.header for hdu in hdus):
            for keyword, value in expected[index].items():
                assert _same(found_in(header, keyword), value), (keyword, value)
            assert cards_of(header, without=_CHANGING) == others[index]
            assert np.array_equal(hdus[index].data, data[index])
    assert found.size == len(content)
    again, _ = corrected(new, [c for c in corrections if c.current == c.updated])
    assert len(again) == len(content)


def _as_text(value: Value) -> tuple[str, Datatype]:
    if value is None:
        return "", "float"
    if isinstance(value, bool):
        return "FT"[value], "logical"
    if isinstance(value, str):
        return value, "string"
    return repr(value), "int" if isinstance(value, int) else "float"


def _same(found: Value, wanted: Value) -> bool:
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
