"""Work that a worker does beside its jobs: looked for now and then, in a process of its own.

Such a process gives way to everything else (nice), keeps its memory to itself, and ends with the
one that started it, however that ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn, TypeVar

import anyio
import psycopg
from anyio import to_thread

from vo_service.errors import TransientError, VOError
from vo_service.services.daily import set_when_cancelled

__all__ = ["in_other_process", "look_again_and_again"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_NICE = 15
_POLL_S = 0.2
_LAST_WORDS_S = 5.0


async def look_again_and_again(
    look: Callable[[threading.Event], None], look_s: float, name: str
) -> None:
    """Call *look* in a thread every *look_s* seconds, until cancelled; its event is then set.

    Errors are logged, once while they last; *name* says in the log what failed.
    """
    stopped = threading.Event()
    told = ""
    async with anyio.create_task_group() as group:
        group.start_soon(set_when_cancelled, stopped)
        while True:
            try:
                await to_thread.run_sync(look, stopped)
                told = ""
            except (VOError, psycopg.Error, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("%s: failed and is tried again: %s", name, told.strip())
            except Exception as error:
                if repr(error) != told:
                    told = repr(error)
                    _log.exception("defect in %s", name)
            await anyio.sleep(look_s)


def in_other_process(
    work: Callable[..., _T], *arguments: Any, stopped: threading.Event
) -> _T | None:
    """What *work*, a function of a module, gives; None if it was stopped.

    Raises
    ------
    TransientError
        If the process died. What *work* raises is raised here too.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy locks as they are
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(there, work, arguments), daemon=True)
    process.start()
    there.close()
    try:
        while not here.poll(_POLL_S):
            if stopped.is_set():
                process.terminate()
                return None
        found, error = here.recv()
    except EOFError:
        process.join(_LAST_WORDS_S)
        raise TransientError(f"its process ended with status {process.exitcode}") from None
    finally:
        process.join(_LAST_WORDS_S)
        process.kill()
        here.close()
    if error is not None:
        raise error
    result: _T = found
    return result


def _run(there: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICE)
    try:
        there.send((work(*arguments), None))
    except Exception as error:
        there.send((None, error))
    except KeyboardInterrupt:
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # which also takes back what the database is just doing for us


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
