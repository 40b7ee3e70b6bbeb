"""What proxies tell of those who asked them, as far as they are believed.

A header tells only what its sender likes to tell. So proxies are believed at the addresses of
``trusted_proxies`` alone, one kind of header (``forwarded_header``: a proxy that writes the one
passes on what a client wrote into the other), and headers are read from the end, where the proxy
nearest to us wrote: the first client there that is no proxy of ours is the client.

Source: RFC 7239 (``Forwarded``); ``X-Forwarded-For``, ``-Proto`` and ``-Host`` as nginx, Apache,
Caddy and HAProxy write them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from vo_service.settings import Settings

__all__ = ["Hop", "Proxies", "is_host"]

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*(?:;|$)')
_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):[0-9_A-Za-z.-]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy tells of who asked it: address, ``http`` or ``https``, name of the host.

    Each is empty where it tells nothing that could be so.
    """

    client: str
    scheme: str
    host: str


class Proxies:
    """The proxies of an archive."""

    def __init__(self, settings: Settings) -> None:
        self._header = settings.forwarded_header
        self._unix = "unix" in settings.trusted_proxies
        self._networks: list[Network] = [
            ipaddress.ip_network(one) for one in settings.trusted_proxies if one != "unix"
        ]

    def trust(self, peer: str) -> bool:
        """Whether *peer* is one of them; at a Unix socket there is no address."""
        if not peer:
            return self._unix
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)

    def outermost(self, headers: Headers) -> Hop | None:
        """What the outermost of ours tells, which alone was asked by none of ours."""
        hops = self._forwarded(headers) if self._header == "forwarded" else _x_forwarded(headers)
        outside = (hop for hop in hops if not hop.client or not self.trust(hop.client))
        return next(outside, hops[-1] if hops else None)

    def _forwarded(self, headers: Headers) -> list[Hop]:
        elements = [
            part for value in headers.getlist("forwarded") for part in _ELEMENT.findall(value)
        ]
        return [_hop(element) for element in reversed(elements)]


def is_host(text: str) -> bool:
    """Whether a text can be a host, with a port or without."""
    return _HOST.fullmatch(text) is not None


def _x_forwarded(headers: Headers) -> list[Hop]:
    """Hops, the one nearest to us first."""
    clients, schemes, hosts = (
        _listed(headers.getlist(f"x-forwarded-{name}"))[::-1] for name in ("for", "proto", "host")
    )
    return [
        _told(client, _at(schemes, place), _at(hosts, place))
        for place, client in enumerate(clients)
    ]


def _listed(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",")]


def _at(values: Sequence[str], place: int) -> str:
    """What was told at a place; a proxy that overwrites the header leaves one value for all."""
    return values[min(place, len(values) - 1)] if values else ""


def _hop(element: str) -> Hop:
    """One element of ``Forwarded``; what is not well formed tells nothing."""
    pairs: dict[str, str] = {}
    place = 0
    while place < len(element):
        found = _PAIR.match(element, place)
        if found is None:
            return Hop("", "", "")
        name, quoted, plain = found.groups()
        pairs[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = found.end()
    return _told(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", ""))


def _told(client: str, scheme: str, host: str) -> Hop:
    """What was told, without what cannot be so."""
    address = _address(client)
    scheme = scheme.lower()
    return Hop(
        str(address) if address else "",
        scheme if scheme in {"http", "https"} else "",
        host.lower() if is_host(host) else "",
    )


def _address(text: str) -> Address | None:
    """An address as proxies write it, with a port or without; None where it is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        bare = _PORT.fullmatch(text)
        text = bare[1] if bare else text
        try:
            found = ipaddress.ip_address(text.strip("[]"))
        except ValueError:
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
