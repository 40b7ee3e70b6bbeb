"""Progress for people: a bar with rate and remaining time; nothing without a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vo_service.formats.amounts import amount

__all__ = ["amount", "index_progress", "progress_bar"]


class _Rate(ProgressColumn):
    """Files per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "-/s")


def progress_bar() -> Progress:
    """A progress bar on standard error, which shows itself only in a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def index_progress(progress: Progress) -> Callable[[int, int], None]:
    """What to call while indexes are built, with those built and all; a line once there are any."""
    tasks: list[TaskID] = []

    def built(done: int, total: int) -> None:
        if not tasks:
            tasks.append(progress.add_task("indexes", total=total))
        progress.update(tasks[0], completed=done)

    return built
