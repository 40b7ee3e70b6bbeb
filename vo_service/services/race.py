"""Work that is given up when something else happens first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import anyio

__all__ = ["unless"]

_T = TypeVar("_T")


async def unless(event: Awaitable[None], work: Awaitable[_T]) -> list[_T]:
    """Wait for *work*; if *event* comes first, cancel it.

    Returns
    -------
    list
        The one result of *work*, or nothing where it was cancelled. What *work* or *event* raises
        is raised as it is, not in a group.

    Notes
    -----
    A task and a scope, and not a task group: every request passes here several times.
    """
    outcome: list[_T] = []
    failure: list[BaseException | None] = []
    with anyio.CancelScope() as scope:

        def happened(seen: asyncio.Future[None]) -> None:
            if not seen.cancelled():
                failure.append(seen.exception())
                scope.cancel()

        watch = asyncio.ensure_future(event)
        watch.add_done_callback(happened)
        try:
            outcome.append(await work)
        finally:
            watch.cancel()
    if not outcome and failure and failure[0] is not None:
        raise failure[0]
    return outcome
