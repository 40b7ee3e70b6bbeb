"""What a reader of somebody else's makes of a broken file, in words for its sender."""

from __future__ import annotations

from vo_service.errors import UsageError

__all__ = ["unreadable"]


def unreadable(what: str, error: Exception) -> UsageError:
    """The error to raise for a file that *what* names; a want of memory is raised as it is."""
    if isinstance(error, MemoryError):
        raise error
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return UsageError(f"{what} cannot be read: {said[:200]}")
