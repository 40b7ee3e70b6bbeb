"""Signed links: what opens a file, and everything that must not."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import ConfigError, ForbiddenError
from vo_service.services.signing import SignedLinks, is_signed, make_keys, rotate_keys

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PATH = "triccs/2026/10/22/TRCS00300001.fits"


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "signing.keys"
    assert make_keys(file, NOW)
    return file


@pytest.fixture
def links(keys: Path, clock: Clock) -> SignedLinks:
    return SignedLinks(keys, clock)


def pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104, written out."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def test_a_link_opens_its_file_until_it_expires(links: SignedLinks, clock: Clock) -> None:
    signed = pairs(links.sign(PATH, 900))
    links.check(PATH, signed)
    clock.now += 900
    links.check(PATH, signed)
    clock.now += 1
    with pytest.raises(ForbiddenError, match="expired"):
        links.check(PATH, signed)


def test_the_signature_is_hmac_sha256_of_time_key_and_path(links: SignedLinks, keys: Path) -> None:
    name, _, secret = keys.read_text().split()
    signed = dict(pairs(links.sign(PATH, 900)))
    expires = int(NOW.timestamp()) + 900
    message = f"vo-service file\n{expires}\n{name}\n{PATH}".encode()
    expected = hmac_sha256(bytes.fromhex(secret), message)
    assert signed == {"expires": str(expires), "key": name, "signature": expected}


def changed(query: str, **values: str) -> list[tuple[str, str]]:
    return list((dict(pairs(query)) | values).items())


@pytest.mark.parametrize(
    "path",
    [
        "triccs/2026/10/22/TRCS00300002.fits",
        "triccs/2026/10/22/TRCS00300001.fits/",
        "triccs/2026/10/22/./TRCS00300001.fits",
        "triccs/2026/10/../10/22/TRCS00300001.fits",
        "triccs/2026/10/22/TRCS00300001%2Efits",
        "TRICCS/2026/10/22/TRCS00300001.fits",
        " triccs/2026/10/22/TRCS00300001.fits",
        "triccs/2026/10/22/TRCS00300001.fits\n",
        "",
    ],
)
def test_a_link_opens_no_other_path(links: SignedLinks, path: str) -> None:
    with pytest.raises(ForbiddenError, match="not signed for this file"):
        links.check(path, pairs(links.sign(PATH, 900)))


def test_a_changed_link_opens_nothing(links: SignedLinks, keys: Path, tmp_path: Path) -> None:
    query = links.sign(PATH, 900)
    values = dict(pairs(query))
    other = tmp_path / "other.keys"
    make_keys(other, NOW)
    name = keys.read_text().split()[0]
    other.write_text(f"{name} {' '.join(other.read_text().split()[1:])}\n")
    forged = dict(pairs(SignedLinks(other, NOW.timestamp).sign(PATH, 900)))
    assert forged["key"] == values["key"]
    later = str(int(values["expires"]) + 1)
    misuse = [
        changed(query, expires=later),
        changed(query, expires=f"0{values['expires']}"),
        changed(query, expires="-1"),
        changed(query, expires="1e12"),
        changed(query, expires=""),
        changed(query, expires="9" * 400),
        changed(query, expires="\u0661\u0662"),
        changed(query, key="00000000"),
        changed(query, key=""),
        changed(query, signature=""),
        changed(query, signature=values["signature"][:-1]),
        changed(query, signature=values["signature"].upper()),
        changed(query, signature="\u00e9" * 64),
        changed(query, signature=forged["signature"]),
        [*pairs(query), ("expires", later)],
        [("expires", later), *pairs(query)],
        [*pairs(query), ("signature", "x")],
        *[[pair for pair in pairs(query) if pair[0] != name] for name in values],
    ]
    for bad in misuse:
        assert is_signed(bad)
        with pytest.raises(ForbiddenError, match="not signed for this file"):
            links.check(PATH, bad)


@given(path=st.text(max_size=40), other=st.text(max_size=40), seconds=st.integers(1, 10**6))
def test_only_the_very_path_is_opened(
    tmp_path_factory: pytest.TempPathFactory, path: str, other: str, seconds: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "one.keys"
    make_keys(file, NOW)
    links = SignedLinks(file, NOW.timestamp)
    signed = pairs(links.sign(path, seconds))
    links.check(path, signed)
    if other != path:
        with pytest.raises(ForbiddenError):
            links.check(other, signed)


def test_keys_are_for_their_owner_alone_and_made_once(keys: Path) -> None:
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    before = keys.read_bytes()
    assert not make_keys(keys, NOW)
    assert keys.read_bytes() == before
    assert len(bytes.fromhex(before.split()[2].decode())) == 32


def test_a_fresh_key_signs_later_and_the_old_one_still_opens(
    links: SignedLinks, keys: Path, clock: Clock
) -> None:
    first = dict(pairs(links.sign(PATH, 7 * 86_400)))
    fresh = rotate_keys(keys, NOW, NOW + timedelta(hours=24))
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    clock.now += 86_399
    assert dict(pairs(links.sign(PATH, 900)))["key"] == first["key"]
    clock.now += 1
    assert dict(pairs(links.sign(PATH, 900)))["key"] == fresh.name
    links.check(PATH, list(first.items()))


def test_keys_that_were_followed_long_ago_go(keys: Path) -> None:
    old = keys.read_text().split()[0]
    second = rotate_keys(keys, NOW, NOW)
    rotate_keys(keys, NOW + timedelta(days=7), NOW + timedelta(days=7))
    assert old in keys.read_text()
    rotate_keys(keys, NOW + timedelta(days=9), NOW + timedelta(days=9))
    assert old not in keys.read_text()
    assert second.name in keys.read_text()


def test_a_key_that_became_known_is_forgotten_at_once(
    links: SignedLinks, keys: Path, clock: Clock
) -> None:
    signed = pairs(links.sign(PATH, 900))
    rotate_keys(keys, NOW, NOW, forget=True)
    with pytest.raises(ForbiddenError, match="not signed"):
        links.check(PATH, signed)
    links.check(PATH, pairs(links.sign(PATH, 900)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there is no key in it"),
        ("a b\n", "line 1: expected a name"),
        ("k 2026-11-21T00:00:00Z " + "00" * 31, "fewer than 32 bytes"),
        ("k yesterday " + "00" * 32, "line 1: expected"),
        ("k 2026-11-21T00:00:00Z " + "zz" * 32, "line 1: expected"),
    ],
)
def test_a_broken_key_file_is_named_and_never_shown(
    keys: Path, clock: Clock, content: str, said: str
) -> None:
    keys.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        SignedLinks(keys, clock).sign(PATH, 900)
    assert "0000" not in str(caught.value)
    assert "zz" not in str(caught.value)


def test_without_a_key_file_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vo-service data key"):
        SignedLinks(tmp_path / "none").sign(PATH, 900)
