"""The daily run: once a day for all workers, at the next start where it was missed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import anyio
import pytest

from tests.release.archive import Made, Product, make_archive
from vo_service.services import daily, release
from vo_service.services.daily import day_of_archive, run_daily
from vo_service.services.release import release_daily, release_due
from vo_service.worker import work

_TODAY = date(2024, 6, 1)


@pytest.fixture
def archive(made: Made) -> Made:
    products = [Product(f"{n}.fits", date(2024, 5, 1), "P", "X") for n in range(20)]
    make_archive(made, {"days": 31}, products)
    return made


def _runs(made: Made) -> list[tuple[date, bool, int]]:
    return made.connection.execute(
        "SELECT day, daily, published FROM archive.release_run ORDER BY run_id"
    ).fetchall()


@pytest.mark.parametrize(
    ("hour", "now", "day"),
    [
        (0, "2024-06-01T00:00", "2024-06-01"),
        (0, "2024-05-31T23:59", "2024-05-31"),
        (3, "2024-06-01T02:59", "2024-05-31"),
        (3, "2024-06-01T03:00", "2024-06-01"),
        (23, "2024-06-01T22:00", "2024-05-31"),
    ],
)
def test_a_day_begins_at_the_hour_that_the_operator_chose(hour: int, now: str, day: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert day_of_archive(moment, hour) == date.fromisoformat(day)


def test_the_second_worker_finds_it_done(archive: Made) -> None:
    first = release_daily(archive.settings, _TODAY)
    assert first is not None
    assert first.count == 20
    assert release_daily(archive.settings, _TODAY) is None
    assert release_daily(archive.settings, _TODAY - timedelta(1)) is None
    assert _runs(archive) == [(_TODAY, True, 20)]


def test_workers_at_the_same_moment_run_it_once(archive: Made) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: release_daily(archive.settings, _TODAY), range(4)))
    assert [run.count for run in found if run is not None] == [20]
    assert _runs(archive) == [(_TODAY, True, 20)]


def test_a_day_is_run_though_the_operator_released_by_hand(archive: Made) -> None:
    release_due(archive.settings, _TODAY)
    run = release_daily(archive.settings, _TODAY)
    assert run is not None
    assert run.count == 0
    assert _runs(archive) == [(_TODAY, False, 20), (_TODAY, True, 0)]


def test_a_run_that_was_stopped_is_done_again(archive: Made) -> None:
    calls = iter(range(100))
    stopped = release_daily(archive.settings, _TODAY, stopped=lambda: next(calls) >= 7)
    assert stopped is not None
    assert stopped.count == 5  # it asked twice when it planned
    assert archive.public() == archive.linked()
    assert _runs(archive) == []
    again = release_daily(archive.settings, _TODAY)
    assert again is not None
    assert again.count == 15


def test_plans_are_written_in_batches_and_what_is_left_by_the_next_run(
    archive: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_BATCH", 6)
    calls = iter(range(100))
    stopped = release_daily(archive.settings, _TODAY, stopped=lambda: next(calls) >= 2)
    assert stopped is not None
    assert (stopped.planned, stopped.count) == (12, 0)
    days = [day for _, day in archive.states().values()]
    assert (days.count(_TODAY), days.count(None)) == (12, 8)
    assert _runs(archive) == []
    again = release_daily(archive.settings, _TODAY)
    assert again is not None
    assert (again.planned, again.count) == (8, 20)
    assert _runs(archive) == [(_TODAY, True, 20)]


def test_problems_are_written_down_and_not_tried_again_today(archive: Made) -> None:
    (archive.settings.home / "store" / "c" / "3.fits").unlink()
    run = release_daily(archive.settings, _TODAY)
    assert run is not None
    assert run.count == 19
    [(problems,)] = archive.connection.execute(
        "SELECT problems FROM archive.release_run"
    ).fetchall()
    assert problems == run.problems
    assert "3.fits" in problems[0]
    assert release_daily(archive.settings, _TODAY) is None


@pytest.mark.anyio
async def test_two_workers_that_come_late_do_the_run_of_today_once(archive: Made) -> None:
    """Yesterday somebody ran; then nobody did until now."""
    today = datetime.now(UTC).date()
    release_daily(archive.settings, today - timedelta(1))
    archive.connection.execute("UPDATE archive.product SET state = 'arrived'")
    async with work(archive.settings), work(archive.settings):
        for _ in range(600):  # what is awaited happens in the database only
            if len(_runs(archive)) == 2:
                break
            await anyio.sleep(0.05)
        await anyio.sleep(0.3)
    assert [(day, is_daily) for day, is_daily, _ in _runs(archive)] == [
        (today - timedelta(1), True),
        (today, True),
    ]
    assert len(archive.public()) == 20


@pytest.mark.anyio
async def test_a_worker_asked_to_stop_ends_within_its_batch(
    archive: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(settings: object, today: date, *, stopped: object) -> None:
        assert callable(stopped)
        while not stopped():
            pass

    monkeypatch.setattr(daily, "release_daily", endless)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run_daily, archive.settings)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_without_an_hour_nothing_runs(archive: Made) -> None:
    await run_daily(archive.settings.model_copy(update={"release_hour": -1}))
    assert _runs(archive) == []
