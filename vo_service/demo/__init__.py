"""The demonstration archive: real facts of three telescopes, drawn pixels, small on disk.

`make_demo` writes what `vo-service demo` ingests: Tomo-e Gozen stacks and movies, TriCCS
cubes and spectra, Hyper Suprime-Cam chips, each as ``<collection>/<YYYY>/<MM>/<DD>/<file>``
with a file ``md5sums`` per night. Positions, times and names are published ones
(``data/``); the stars are not those of the sky.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from vo_service.demo.files import MD5SUMS, make_file, write_md5sums
from vo_service.demo.plan import Plan
from vo_service.demo.subaru import subaru_plans
from vo_service.demo.tomoe import tomoe_plans
from vo_service.demo.triccs import recent_night, triccs_plans

__all__ = ["DemoArchive", "DemoCollection", "demo_plans", "make_demo"]

#: Called with files done, files in all, and the path of the last one.
Progress = Callable[[int, int, str], None]

_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class DemoCollection:
    """What was made of one collection: its *directory*, FITS *files* and their *size* (bytes)."""

    name: str
    directory: Path
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class DemoArchive:
    """All collections of a demonstration archive."""

    collections: tuple[DemoCollection, ...]

    @property
    def files(self) -> int:
        """FITS files in all."""
        return sum(collection.files for collection in self.collections)

    @property
    def size(self) -> int:
        """Bytes of all FITS files."""
        return sum(collection.size for collection in self.collections)


def make_demo(
    directory: Path,
    *,
    small: bool = False,
    progress: Progress | None = None,
    today: date | None = None,
) -> DemoArchive:
    """Make the demonstration archive, or what is still missing of it.

    Parameters
    ----------
    directory
        Where ``tomoe``, ``triccs`` and ``subaru`` will stand; made if need be.
    small
        For tests: the same files with true headers and sizes in pixels, but no noise and
        few stars: about 10 MB in seconds instead of 300 MB in half a minute.
    progress
        Called in this process after each file.
    today
        The date (UTC) from which the proprietary night is counted; the clock's by default.

    Raises
    ------
    TransientError
        A file cannot be written.
    """
    plans = demo_plans(recent_night(directory, today or datetime.now(UTC).date()))
    written: set[str] = set()
    work = _here(directory, plans) if small else _in_processes(directory, plans)
    for done, (plan, is_new) in enumerate(work, start=1):
        if is_new:
            written.add(plan.night)
        if progress:
            progress(done, len(plans), plan.path)
    for night in sorted({plan.night for plan in plans}):
        if night in written or not (directory / night / MD5SUMS).is_file():
            names = [plan.path for plan in plans if plan.night == night]
            write_md5sums(directory, night, [name.removeprefix(f"{night}/") for name in names])
    return DemoArchive(tuple(_collections(directory, plans)))


def demo_plans(recent: date) -> list[Plan]:
    """Every file of the archive; *recent* is the night of the proprietary one."""
    return [*tomoe_plans(), *triccs_plans(recent), *subaru_plans()]


def _here(directory: Path, plans: list[Plan]) -> Iterator[tuple[Plan, bool]]:
    for plan in plans:
        yield plan, make_file(directory, plan, small=True)


def _in_processes(directory: Path, plans: list[Plan]) -> Iterator[tuple[Plan, bool]]:
    """Two processes; nothing is started if every file is there, nothing is left if we stop."""
    if all((directory / plan.path).is_file() for plan in plans):
        yield from ((plan, False) for plan in plans)
        return
    # Not forked: the caller may run threads, whose locks a fork would copy as they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_PROCESSES, context, _as_helper) as pool:
        futures = {pool.submit(make_file, directory, plan, small=False): plan for plan in plans}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _as_helper() -> None:
    """Ctrl-C is the parent's business; and a helper whose parent was killed ends as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _collections(directory: Path, plans: list[Plan]) -> Iterator[DemoCollection]:
    names = dict.fromkeys(plan.path.split("/")[0] for plan in plans)
    for name in names:
        files = [directory / plan.path for plan in plans if plan.path.startswith(f"{name}/")]
        size = sum(file.stat().st_size for file in files)
        yield DemoCollection(name, directory / name, len(files), size)
