"""Who asks: somebody known, with what is theirs before its release, or anybody."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

__all__ = ["ANYBODY", "Visitor", "network_of"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client of any of the services.

    *name* is that of a known person, None for anybody; *address* that of the client, as far as
    it is known; *proposals* are the proposals whose frames the person may read before their
    release.
    """

    name: str | None = None
    address: str = "unknown"
    proposals: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Among whom workers and limits are shared out."""
        return self.address if self.name is None else f"user {self.name}"


#: Nobody in particular.
ANYBODY = Visitor()


def network_of(address: str) -> str:
    """What is counted for an address: of IPv6 a client has many at will, all in one /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if parsed.version == 4:
        return f"address {parsed}"
    return f"network {ipaddress.ip_network((parsed, 64), strict=False)}"
