"""Who asks: somebody known, with what is theirs before its release, or anybody."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANYBODY", "Visitor"]


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
