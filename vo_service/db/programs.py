"""Where PostgreSQL's programs are on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["MINIMUM_VERSION", "installed"]

#: Foreign partitions, COPY and planner features that the design rests on.
MINIMUM_VERSION = 15


def installed() -> dict[int, Path]:
    """Directories of PostgreSQL's programs by major version, those with pgSphere only."""
    found: dict[int, Path] = {}
    places = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_config")]
    if anywhere := shutil.which("pg_config"):
        places.append(Path(anywhere).resolve().parent)
    for place in places:
        said = subprocess.run(
            (str(place / "pg_config"), "--version", "--bindir", "--sharedir"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        match said.stdout.splitlines():
            case [version, bindir, sharedir]:
                number = re.search(r"\d+", version)
                server = (Path(bindir) / "initdb").exists()
                sphere = (Path(sharedir) / "extension" / "pg_sphere.control").exists()
                if number and server and sphere and int(number[0]) >= MINIMUM_VERSION:
                    found[int(number[0])] = Path(bindir)
    return found
