"""Work that is given up when something else happens first."""

from __future__ import annotations

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
        The one result of *work*, or nothing where it was cancelled. What *work* raises is
        raised as it is, not in a group.
    """
    outcome: list[_T] = []
    failure: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            await event
            group.cancel_scope.cancel()

        group.start_soon(listen)
        try:
            outcome.append(await work)
        except Exception as error:  # raised below: a group would wrap it
            failure.append(error)
        group.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome
