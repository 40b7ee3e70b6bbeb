"""The end of a process that serves or works: nothing more is taken up, what runs may finish.

Who was told to stop begins it; who would let a client wait (UWS WAIT), tells others whether to
send requests here (readiness) or has jobs under way (the worker) looks at it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

__all__ = ["Drain"]


class Drain:
    """Whether the end has begun, how long it may take, who wants to be told; used in one thread."""

    def __init__(self) -> None:
        self._begun = False
        self._until = 0.0
        self._listeners: list[Callable[[], None]] = []

    @property
    def begun(self) -> bool:
        """Whether this server is to end; it never goes back."""
        return self._begun

    @property
    def left_s(self) -> float:
        """Seconds that what is under way may still take."""
        return max(0.0, self._until - time.monotonic()) if self._begun else 0.0

    def hurry(self) -> None:
        """No more time for anybody."""
        self._until = 0.0

    def begin(self, seconds: float = 0.0) -> None:
        """Tell everybody; what is under way may take so many seconds more."""
        self._until = time.monotonic() + seconds
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
