"""Where HTTP speaks: the kind of an error to a status.

Each protocol answers errors in its own words; the status is the same for all.
"""

from __future__ import annotations

from vo_service.errors import (
    ForbiddenError,
    GoneError,
    NotFoundError,
    TooLargeError,
    TooManyError,
    TransientError,
    UnauthorizedError,
    UsageError,
    VOError,
)

__all__ = ["STATUS", "error_headers", "status_of"]

STATUS: dict[type[VOError], int] = {
    UsageError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    GoneError: 410,
    TooLargeError: 413,
    TooManyError: 429,
    TransientError: 503,
    VOError: 500,
}

_RETRY_AFTER_S = "10"


def status_of(error: VOError) -> int:
    """The HTTP status for an error, by its nearest kind."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_headers(error: VOError) -> dict[str, str]:
    """Headers that go with the status; challenges are added by the authentication."""
    if isinstance(error, TooManyError):
        return {"Retry-After": str(error.wait_s)}
    return {"Retry-After": _RETRY_AFTER_S} if isinstance(error, TransientError) else {}
