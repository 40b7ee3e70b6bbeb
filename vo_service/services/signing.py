"""Links that open one closed file for a short while, for a data server that knows nobody.

The centre, which knows who may read a file, signs the path and a time of expiry; the data server
checks both with the same key. A link says nothing of who asked for it and opens nothing else.
Source: MISSION B8; RFC 2104 (HMAC), with SHA-256. Times are seconds since 1970, UTC.

The key file has a line for each key: an identifier, the moment from which it signs, the secret in
hexadecimal. All keys in it open; the one that began last signs. A fresh key begins later, so that
the file can be copied to the data servers first.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from vo_service.errors import ConfigError, ForbiddenError

__all__ = ["SignedLinks", "SigningKey", "is_signed", "make_keys", "rotate_keys"]

_FIELDS = ("expires", "key", "signature")
_SECRET_BYTES = 32

#: A key that was followed by another opens for so long: longer than any link lives.
_KEPT = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and when it begins to sign."""

    name: str
    begins: datetime
    secret: bytes

    def signature(self, path: str, expires: int) -> str:
        """Of ``<collection>/<path>`` and the second after which the link opens nothing."""
        # The lines are told apart: no path can be made to look like a path and a time.
        message = f"vo-service file\n{expires}\n{self.name}\n{path}".encode(
            "utf-8", "surrogatepass"
        )
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()


def is_signed(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether parameters of a request claim to be signed."""
    return any(name in ("signature", "key", "expires") for name, _ in pairs)


class SignedLinks:
    """Signs and opens with the keys of a file, which is read again when it has changed.

    Parameters
    ----------
    file
        The key file; made by `make_keys`.
    clock
        Seconds since 1970.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._read: tuple[tuple[int, int], tuple[SigningKey, ...]] | None = None

    def sign(self, path: str, lifetime_s: int) -> str:
        """The query string that opens ``<collection>/<path>`` from now on.

        Raises
        ------
        ConfigError
            If there is no key file, or none of its keys signs yet.
        """
        now = self._clock()
        begun = [key for key in self._keys() if key.begins.timestamp() <= now]
        if not begun:
            raise ConfigError(f"{self._file}: no key signs yet")
        key = max(begun, key=lambda key: key.begins)
        expires = int(now) + lifetime_s
        signature = key.signature(path, expires)
        return urlencode({"expires": expires, "key": key.name, "signature": signature})

    def check(self, path: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Pass if parameters of a request open ``<collection>/<path>`` now.

        Raises
        ------
        ForbiddenError
            If they do not: signed for something else, by somebody else, or too long ago.
        """
        values = dict(pairs)
        wrong = ForbiddenError("this link is not signed for this file; ask the archive for another")
        if len([name for name, _ in pairs if name in _FIELDS]) != len(_FIELDS):
            raise wrong
        if any(name not in values for name in _FIELDS):
            raise wrong
        text = values["expires"]
        if not re.fullmatch(r"[1-9][0-9]{0,11}", text, re.ASCII):
            raise wrong
        expires = int(text)
        named = [key for key in self._keys() if key.name == values["key"]]
        key = named[0] if named else SigningKey("", datetime.now(UTC), secrets.token_bytes(32))
        given = values["signature"].encode("utf-8", "replace")
        if not hmac.compare_digest(key.signature(path, expires).encode(), given) or not named:
            raise wrong
        if self._clock() > expires:
            raise ForbiddenError("this link has expired; ask the archive for another")

    def _keys(self) -> tuple[SigningKey, ...]:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            raise ConfigError(
                f"{self._file}: there is no key; 'vo-service data key' makes one, or copy the "
                "centre's to a data server"
            ) from None
        stamp = (status.st_mtime_ns, status.st_ino)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, _read_keys(self._file))
        return self._read[1]


def make_keys(file: Path, now: datetime) -> bool:
    """Write a first key, for nobody else to read; False if there are keys already."""
    if file.exists():
        return False
    _write_keys(file, [_fresh(now)])
    return True


def rotate_keys(file: Path, now: datetime, begins: datetime, *, forget: bool = False) -> SigningKey:
    """Add a key that signs from *begins* on; keys that have long been followed go.

    With *forget* all others go at once: every link that they signed is dead.
    """
    fresh = _fresh(begins)
    if forget:
        _write_keys(file, [fresh])
        return fresh
    keys = sorted(_read_keys(file), key=lambda key: key.begins)
    followers = [*[key.begins for key in keys[1:]], fresh.begins]
    kept = [key for key, followed in zip(keys, followers, strict=True) if followed > now - _KEPT]
    _write_keys(file, [*kept, fresh])
    return fresh


def _fresh(begins: datetime) -> SigningKey:
    return SigningKey(secrets.token_hex(4), begins, secrets.token_bytes(_SECRET_BYTES))


def _write_keys(file: Path, keys: Sequence[SigningKey]) -> None:
    lines = [f"{key.name} {key.begins:%Y-%m-%dT%H:%M:%SZ} {key.secret.hex()}\n" for key in keys]
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as out:
        out.writelines(lines)
        out.flush()
        os.fsync(handle)
    os.replace(draft, file)


def _read_keys(file: Path) -> tuple[SigningKey, ...]:
    keys = []
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        parts = line.split()
        try:
            name, begins, secret = parts
            moment = datetime.strptime(begins, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            key = SigningKey(name, moment, bytes.fromhex(secret))
        except ValueError:
            # Nothing of the line itself: it may hold a secret.
            raise ConfigError(
                f"{file}, line {number}: expected a name, a time (2026-01-31T00:00:00Z) and a "
                "secret in hexadecimal"
            ) from None
        if len(key.secret) < _SECRET_BYTES:
            raise ConfigError(f"{file}, line {number}: the secret has fewer than 32 bytes")
        keys.append(key)
    if not keys:
        raise ConfigError(f"{file}: there is no key in it")
    return tuple(keys)
