"""The certificate of this server, read again when it changes; connections go on meanwhile.

A `Certificate` hands out one SSL context for good, which passes every new connection on to the
newest that could be read: a broken file keeps the one before, and the log says so. TLS 1.2 is the
least. Source: RFC 8446, RFC 9325 ("Recommendations for Secure Use of TLS").
"""

from __future__ import annotations

import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from vo_service.errors import ConfigError

__all__ = ["Certificate"]

_log = logging.getLogger(__name__)

#: Before the end of a certificate, from which on its operator is told, once a day.
_NEAR = timedelta(days=14)


class Certificate:
    """A certificate (with those that vouch for it) and its key, from PEM files.

    Parameters
    ----------
    cert
        The certificate first, then the chain.
    key
        Its key, not encrypted; None where it is in the same file.

    Raises
    ------
    ConfigError
        If they cannot be used: names the file and what was expected.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key or cert
        self._seen = self._state()
        self._newest, self._until = self._load()
        self._warned = datetime.min.replace(tzinfo=UTC)
        #: For the listening socket.
        self.context = self._newest
        self.context.sni_callback = self._choose
        self.look()

    @property
    def until(self) -> datetime:
        """When the certificate in use ends (UTC)."""
        return self._until

    def reload(self) -> bool:
        """Read the files again; whether the connections of now on get what is in them."""
        self._seen = self._state()
        try:
            self._newest, self._until = self._load()
        except ConfigError as error:
            _log.error("the certificate before stays in use, until %s: %s", self._until, error)
            return False
        _log.info("a certificate was read: %s, good until %s", self._cert, self._until)
        return True

    def look(self) -> None:
        """Read the files again if they have changed; tell of an end that is near."""
        if self._state() != self._seen:
            self.reload()
        now = datetime.now(UTC)
        near, told = self._until - now < _NEAR, now - self._warned < timedelta(days=1)
        if near and not told:
            self._warned = now
            _log.warning("%s: the certificate ends at %s; renew it", self._cert, self._until)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_state(path) for path in (self._cert, self._key))

    def _load(self) -> tuple[ssl.SSLContext, datetime]:
        certificates = _certificates(self._cert)
        if _public_key(self._key) != certificates[0].public_key():
            raise ConfigError(
                f"tls_key: {self._key}: is the key of another certificate than the first one in "
                f"{self._cert}"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"tls_cert: {self._cert}: cannot be used: {error}") from error
        return context, certificates[0].not_valid_after_utc


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes with the content of a file, or with where a link to it leads."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: cannot be read: {error.strerror}") from error


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read("tls_cert", path))
    except ValueError as error:
        raise ConfigError(
            f"tls_cert: {path}: expected certificates in PEM (-----BEGIN CERTIFICATE-----), that "
            "of this server first"
        ) from error


def _public_key(path: Path) -> PublicKeyTypes:
    expected = "expected a key in PEM (-----BEGIN PRIVATE KEY-----) without a password"
    try:
        key = serialization.load_pem_private_key(_read("tls_key", path), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise ConfigError(f"tls_key: {path}: {expected}") from error
    if path.stat().st_mode & 0o004:
        _log.warning("%s: everybody on this machine can read the key (chmod o-r)", path)
    return key.public_key()
