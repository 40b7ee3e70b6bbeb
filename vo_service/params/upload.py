"""UPLOAD parameters: strings in, `UploadSpec` values out.

Source: TAP 1.1, "UPLOAD"; DALI 1.1, "UPLOAD"; TAP 1.0, "UPLOAD" (several pairs in one value,
between semicolons, as old clients send them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from vo_service.errors import UsageError

__all__ = ["UploadSpec", "parse_uploads", "split_url"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: A semicolon ends a pair only where the next pair begins: URIs may hold semicolons.
_BETWEEN = re.compile(r";(?=\s*[A-Za-z][A-Za-z0-9_]*\s*,\s*[A-Za-z][A-Za-z0-9+.-]*:)|;\s*$")
_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True)
class UploadSpec:
    """A table to upload: ``TAP_UPLOAD.name`` from *uri*.

    *part* is the name of the part of the request that holds it, None where *uri* is a URL.
    """

    name: str
    uri: str
    part: str | None = None


def parse_uploads(pairs: Iterable[tuple[str, str]], limit: int) -> tuple[UploadSpec, ...]:
    """All UPLOAD parameters of a request, in order.

    Parameters
    ----------
    pairs
        All parameters, names in any case.
    limit
        Tables that one query may have.

    Raises
    ------
    UsageError
        Names the value, and what was expected.
    """
    found: dict[str, UploadSpec] = {}
    for key, value in pairs:
        if key.upper() != "UPLOAD" or not value.strip():
            continue
        for text in _BETWEEN.split(value):
            if not text.strip():
                continue
            spec = _parse(text.strip())
            if spec.name.lower() in found:
                raise UsageError(
                    f"UPLOAD: two tables are called {spec.name}: expected different names"
                )
            found[spec.name.lower()] = spec
            if len(found) > limit:
                raise UsageError(f"UPLOAD: expected at most {limit} tables")
    return tuple(found.values())


def _parse(text: str) -> UploadSpec:
    name, comma, uri = (part.strip() for part in text.partition(","))
    if not comma or not uri:
        raise UsageError(f"UPLOAD={_short(text)}: expected name,uri")
    if not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise UsageError(
            f"UPLOAD={_short(text)}: the name {_short(name)} is no table name: expected a letter, "
            f"then letters, digits or _, at most {_NAME_LENGTH} in all"
        )
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "param":
        if not rest:
            raise UsageError(f"UPLOAD={_short(text)}: expected param: and the name of a part")
        return UploadSpec(name, uri, rest)
    split_url(uri)
    return UploadSpec(name, uri)


def split_url(url: str) -> SplitResult:
    """The parts of a URL that may be fetched.

    Raises
    ------
    UsageError
        It is not http or https, has no host, a wrong port, or credentials.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise UsageError(f"the address {_short(url)} holds blanks or control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the address {_short(url)} cannot be read: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            f"the address {_short(url)} cannot be fetched: expected http:, https: or param:"
        )
    if not host:
        raise UsageError(f"the address {_short(url)} names no host")
    if "@" in parts.netloc:
        raise UsageError(f"the address at {host} holds a user name: expected none")
    return parts


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
