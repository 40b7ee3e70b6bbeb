"""What `tests.archive.kill_loop` kills: a process that changes states and links all the time."""

from __future__ import annotations

import contextlib
import os
import random
from multiprocessing.synchronize import Event
from pathlib import Path

import psycopg

from tests.archive.toy import ingest_toys, numbers, write_toys
from vo_service.db.publication import Change
from vo_service.services.publication import change_states, close_again, publish, withdraw
from vo_service.settings import Settings

__all__ = ["work"]


def work(values: dict[str, str], seed: float, frames: int, ready: Event) -> None:
    """Change states until killed; what the loss of a session raises ends the process."""
    dice = random.Random(seed)
    settings = Settings.model_validate(values)
    root = settings.home / "store"
    with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        ready.set()
        with contextlib.suppress(psycopg.Error):
            while True:
                _act(settings, root, dice, frames)


def _act(settings: Settings, root: Path, dice: random.Random, frames: int) -> None:
    rule, actor = f"rule {dice.randrange(9)}", f"process {os.getpid()}"
    match dice.choice(["publish", "publish", "withdraw", "undo", "close", "renew"]):
        case "publish":
            publish(settings, numbers(settings, "arrived"), rule=rule, actor=actor)
        case "withdraw":
            some = [n for n in numbers(settings, "arrived", "public") if dice.random() < 0.5]
            withdraw(settings, some, rule=rule, actor=actor, reason="under fire")
        case "undo":
            change = Change(before=("withdrawn",), after="arrived", rule=rule, actor=actor)
            change_states(settings, numbers(settings, "withdrawn"), change)
        case "close":
            some = [n for n in numbers(settings, "public") if dice.random() < 0.3]
            close_again(settings, some, rule=rule, actor=actor)
        case "renew":
            write_toys(root, dice.sample(range(frames), 3), cards=dice.randrange(3))
            with contextlib.suppress(Exception):  # two at once: one of them is refused
                ingest_toys(settings, root)
