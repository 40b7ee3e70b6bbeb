"""The end of a server's life: it takes no more connections, what is under way may finish.

Whoever serves begins it; whoever would let a client wait (UWS WAIT) or tells others whether to
send requests here (readiness) looks at it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Drain"]


class Drain:
    """Whether the end has begun, and who wants to be told; used in one thread."""

    def __init__(self) -> None:
        self._begun = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def begun(self) -> bool:
        """Whether this server is to end; it never goes back."""
        return self._begun

    def begin(self) -> None:
        """Tell everybody."""
        self._begun = True
        for listener in tuple(self._listeners):
            listener()

    @contextlib.contextmanager
    def told(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call *listener* when it begins, while the block lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
