"""Fetch a file from an address that a client gave, without being led where it may not go.

Only http and https; a host name is resolved once, all of its addresses must be public (but for a
host that the operator named), and one of those very addresses is connected to; each redirect is
checked like the first address.
No proxy and no credentials are taken from the environment. Limits: bytes, seconds in all.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlunsplit

import anyio
import httpcore
from anyio import to_thread

from vo_service import __version__
from vo_service.errors import TooLargeError, UsageError
from vo_service.params.upload import split_url

__all__ = ["fetch", "is_public"]

_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_EXCERPT, _EXCERPT_BYTES = 300, 20_000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def fetch(
    url: str,
    target: Path,
    *,
    bytes_limit: int,
    limit_s: float,
    private: bool = False,
    named: frozenset[tuple[str, int]] = frozenset(),
) -> str | None:
    """Write what lies at *url* to *target*.

    Parameters
    ----------
    url, target
        An address, http or https; the file to write.
    bytes_limit, limit_s
        Bytes of the file, seconds for everything.
    private
        Whether private, loopback and other special addresses may be connected to.
    named
        Hosts and ports that the operator named, whatever their addresses; what they say in an
        error is told, which a client who gave the address must not see.

    Returns
    -------
    str or None
        The Content-Type.

    Raises
    ------
    UsageError
        The address is not allowed or does not give the file; says why.
    TooLargeError
        There are more than *bytes_limit* bytes.
    """
    try:
        with anyio.fail_after(limit_s):
            backend = _PublicBackend(private, named)
            # One connection and no waiting for more; HTTP/1.1, no proxy.
            async with httpcore.AsyncConnectionPool(
                max_connections=1, network_backend=backend
            ) as pool:
                return await _follow(pool, url, target, bytes_limit, telling=bool(named))
    except TimeoutError:
        raise UsageError(f"{url[:200]} took longer than {limit_s:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        said = str(error) or type(error).__name__
        raise UsageError(f"{url[:200]} cannot be fetched: {said[:200]}") from error


async def _follow(
    pool: httpcore.AsyncConnectionPool, url: str, target: Path, limit: int, *, telling: bool
) -> str | None:
    for _ in range(_REDIRECTS + 1):
        parts = split_url(url)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        plain = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        try:
            wanted = httpcore.URL(plain.encode("ascii"))
        except UnicodeEncodeError:
            raise UsageError(f"{url[:200]} is no URL: expected ASCII, others as %XX") from None
        headers: dict[bytes | str, bytes | str] = {
            "Host": parts.netloc,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"vo-service/{__version__}",
        }
        async with pool.stream("GET", wanted, headers=headers) as response:
            answer = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
            if response.status in _MOVED and "location" in answer:
                url = urljoin(url, answer["location"])
                continue
            if response.status != 200:
                said = await _excerpt(response) if telling else ""
                raise UsageError(f"{url[:200]} answered {response.status}: expected 200{said}")
            await _save(response, target, limit, url)
            return answer.get("content-type")
    raise UsageError(f"{url[:200]} is one redirect too many: expected at most {_REDIRECTS}")


async def _excerpt(response: httpcore.Response) -> str:
    """The beginning of what an answer says, without markup."""
    start = b""
    async for chunk in response.aiter_stream():
        start += chunk
        if len(start) > _EXCERPT_BYTES:
            break
    text = re.sub(r"<[^<>]*>|[^ -~]", " ", start[:_EXCERPT_BYTES].decode("utf-8", "replace"))
    said = " ".join(text.split())[:_EXCERPT]
    return f"; it says: {said}" if said else ""


async def _save(response: httpcore.Response, target: Path, limit: int, url: str) -> None:
    size = 0
    async with await anyio.open_file(target, "wb") as out:
        async for chunk in response.aiter_stream():
            size += len(chunk)
            if size > limit:
                raise TooLargeError(f"{url[:200]} has more than {limit} bytes")
            await out.write(chunk)


class _PublicBackend(httpcore.AnyIOBackend):
    """Connections to the addresses of a host, if they are all public."""

    def __init__(self, private: bool, named: frozenset[tuple[str, int]]) -> None:
        self._private = private
        self._named = named

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to *host*, whose name is looked up here and nowhere else."""
        addresses = await _resolve(host, port)
        for address in addresses:
            if not (self._private or (host, port) in self._named or is_public(address)):
                said = f"{host} has the address {address}: expected a public one"
                if not self._named:
                    said += " (the operator may allow others: upload_private_addresses)"
                raise UsageError(said)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await super().connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except httpcore.NetworkError as error:
                failure = error
        raise UsageError(f"{host} cannot be reached, port {port}: {failure}")


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await to_thread.run_sync(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host} has no address: {error}") from error
    # A scope ("%eth0") belongs to link-local addresses alone and does not matter here.
    return list(dict.fromkeys(ipaddress.ip_address(str(f[4][0]).split("%")[0]) for f in found))


def is_public(address: Address) -> bool:
    """Whether an address, and the IPv4 address inside an IPv6 one, is one of the open internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved
