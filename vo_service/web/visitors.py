"""Who sends a request: what the authentication found, or anybody at an address."""

from __future__ import annotations

from starlette.requests import Request

from vo_service.model.visitor import Visitor

__all__ = ["visitor_of"]


def visitor_of(request: Request) -> Visitor:
    """The one who asks."""
    found = request.scope.get("visitor")
    if isinstance(found, Visitor):
        return found
    return Visitor(address=request.client.host if request.client else "unknown")
