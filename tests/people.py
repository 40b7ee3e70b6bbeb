"""People of a test archive."""

from __future__ import annotations

from vo_service.db.people import Membership
from vo_service.services.people import add_person, grant, make_token
from vo_service.settings import Settings

__all__ = ["bearer", "known_person"]


def known_person(
    settings: Settings,
    name: str,
    *proposals: str,
    password: str | None = None,
    collection: str | None = None,
) -> str:
    """Add a person of proposals (in a collection, or in all); a token of theirs."""
    add_person(settings, name, password)
    for proposal in proposals:
        grant(settings, name, Membership(proposal, collection, None, None))
    token, _ = make_token(settings, name, 1, "test")
    return token


def bearer(token: str) -> dict[str, str]:
    """The header with a token."""
    return {"Authorization": f"Bearer {token}"}
