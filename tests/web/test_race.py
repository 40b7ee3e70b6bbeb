"""Work that is given up when something else happens first."""

from __future__ import annotations

import anyio
import pytest

from vo_service.services.race import unless

pytestmark = pytest.mark.anyio


class Watched:
    """A wait, and whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    async def forever(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled = True


async def soon(value: int = 1) -> int:
    await anyio.sleep(0.01)
    return value


async def now() -> None:
    return


async def broken() -> None:
    raise OSError("broken")


async def test_work_that_ends_first_gives_its_result_and_the_event_is_waited_for_no_more() -> None:
    event = Watched()
    assert await unless(event.forever(), soon(7)) == [7]
    await anyio.sleep(0.01)
    assert event.cancelled


async def test_an_event_that_comes_first_cancels_the_work() -> None:
    work = Watched()
    assert await unless(now(), work.forever()) == []
    assert work.cancelled


async def test_what_the_work_raises_is_raised_as_it_is() -> None:
    with pytest.raises(OSError, match="broken"):
        await unless(Watched().forever(), broken())


async def test_what_the_event_raises_is_raised_as_it_is_and_the_work_is_cancelled() -> None:
    work = Watched()
    with pytest.raises(OSError, match="broken"):
        await unless(broken(), work.forever())
    assert work.cancelled


async def test_whoever_waits_for_both_can_be_cancelled() -> None:
    event, work = Watched(), Watched()
    with anyio.move_on_after(0.01) as scope:
        await unless(event.forever(), work.forever())
    await anyio.sleep(0.01)
    assert scope.cancelled_caught
    assert event.cancelled
    assert work.cancelled


async def test_races_within_races_end_alone() -> None:
    """A request waits for its client while its query waits for the planner's opinion."""
    inner = Watched()
    assert await unless(Watched().forever(), unless(now(), inner.forever())) == [[]]
    assert inner.cancelled
