"""The front as tests run it: docker/front/start.sh, as a user without rights."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FRONT", "as_front_user"]

FRONT = Path(__file__).parents[2] / "docker" / "front"

_NOBODY = 65534


def as_front_user(place: Path) -> list[str]:
    """What stands before a command that works in *place*, so that it does not run as root.

    As in its image; and started by root, nginx would give up its rights by itself, to a user who
    cannot read what root makes.
    """
    if os.geteuid() != 0:
        return []
    for path in (place, *place.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
