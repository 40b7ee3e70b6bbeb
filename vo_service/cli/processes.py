"""Several server processes on one socket, kept alive and replaced one by one.

The parent binds, the children serve (`vo-service serve --fd`), the kernel shares connections out
among them. A child that dies is started again. SIGHUP goes to all children (they read the
certificate again); SIGUSR2 replaces them: each leaves when its successor answers, and finishes
what it has under way, so a new version or new settings cost nobody a connection. SIGTERM and
Ctrl-C end all. Only the first child runs a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from vo_service.errors import ConfigError
from vo_service.settings import Settings
from vo_service.web.serving import Listening

__all__ = ["serve_in_processes"]

_log = logging.getLogger(__name__)

_READY_S = 120.0
_AGAIN_S = 1.0
_CLOSING_S = 15.0


def serve_in_processes(settings: Settings, listening: Listening, ready: Callable[[], None]) -> None:
    """Serve with ``settings.processes`` processes; calls *ready* when all answer.

    Raises
    ------
    ConfigError
        If a process ends before it has answered; it has said why.
    """
    asyncio.run(_Family(settings, listening).run(ready))


@dataclass(slots=True)
class _Family:
    """The children, by their places, and who looks after them."""

    settings: Settings
    listening: Listening
    children: dict[int, Process] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    replacing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, ready: Callable[[], None]) -> None:
        """Start all, look after them, end all."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._later(self._replace_all()))
        places = range(self.settings.processes)
        try:
            await asyncio.gather(*map(self._start, places))
            ready()
            for place in places:
                self._later(self._look_after(place))
            await self.ended.wait()
        finally:
            self.ended.set()
            self._tell(signal.SIGTERM)
            await asyncio.gather(*(self._wait(child) for child in self.children.values()))
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _start(self, place: int) -> None:
        """A process that answers, in a place."""
        child = await asyncio.create_subprocess_exec(
            *self._command(), env=self._environment(place), stdout=PIPE, pass_fds=self._fds()
        )
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        self.children.setdefault(place, child)
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                line = await child.stdout.readline()
                if not line:
                    await child.wait()
        if not line:
            if child.returncode is None:
                child.kill()
            await child.wait()
            raise ConfigError(f"process {place + 1} of {self.settings.processes} did not start")
        self.children[place] = child

    async def _look_after(self, place: int) -> None:
        """Start a process again that ended by itself."""
        while not self.ended.is_set():
            child = self.children[place]
            await child.wait()
            if self.ended.is_set() or child is not self.children[place]:
                continue
            _log.error("process %s ended with %s; again", child.pid, child.returncode)
            await asyncio.sleep(_AGAIN_S)
            async with self.replacing:
                try:
                    await self._start(place)
                except ConfigError as error:
                    _log.error("%s; it is tried again", error)

    async def _replace_all(self) -> None:
        """A successor for each, which leaves when that answers."""
        async with self.replacing:
            for place, child in tuple(self.children.items()):
                if self.ended.is_set():
                    return
                try:
                    await self._start(place)
                except ConfigError as error:
                    _log.error("%s: those before go on", error)
                    return
                if child.returncode is None:
                    child.terminate()
                    self._later(self._wait(child))

    async def _wait(self, child: Process) -> None:
        """Wait for the end of a process that was told to end; longer than it may take, no more."""
        try:
            async with asyncio.timeout(self.settings.drain_s + _CLOSING_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    def _tell(self, number: signal.Signals) -> None:
        for child in self.children.values():
            if child.returncode is None:
                child.send_signal(number)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _fds(self) -> list[int]:
        both = (self.listening.main, self.listening.redirect)
        return [sock.fileno() for sock in both if sock is not None]

    def _command(self) -> list[str]:
        start = "from vo_service.cli import main; main()"
        fds = [part for fd in self._fds() for part in ("--fd", str(fd))]
        parent = ["--parent", str(os.getpid())]
        return [sys.executable, "-c", start, "serve", *fds, *parent]

    def _environment(self, place: int) -> dict[str, str]:
        """What was chosen for all, and the share of one."""
        chosen = self.settings
        shared: dict[str, object] = {
            "HOME": chosen.home,
            "PORT": chosen.port,
            "ROLE": chosen.role,
            "PROCESSES": 1,
            "UPGRADE_AT_START": False,  # the parent did
            "READER_CONNECTIONS": -(-chosen.reader_connections // chosen.processes),
            "MEMBER_CONNECTIONS": -(-chosen.member_connections // chosen.processes),
        }
        if place > 0:
            shared["WORKER_IN_SERVE"] = False
        if chosen.operator_port:
            shared["OPERATOR_PORT"] = chosen.operator_port + place
        for name in ("tls_cert", "tls_key", "redirect_port"):
            if value := getattr(chosen, name):
                shared[name.upper()] = value
        return os.environ | {f"VO_{name}": str(value) for name, value in shared.items()}
