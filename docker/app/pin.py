"""Write down the versions of all libraries that the image gets: those of this environment.

    .venv/bin/python docker/app/pin.py >docker/constraints.txt

What the project needs, and what that needs in turn, in the versions with which the tests have just
passed (run it in their environment). The Dockerfile gives the file to pip, so that an image made
next year is made of the same.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def needed(requirements: list[str]) -> dict[str, str]:
    """Names and installed versions of requirements, and of what they need here."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        installed = distribution(wanted.name)
        found[canonicalize_name(wanted.name)] = installed.version
        for extra in ("", *wanted.extras):
            if (wanted.name, extra) not in seen:
                seen.add((wanted.name, extra))
                waiting += list(_of_extra(installed.requires or [], extra))
    return found


def _of_extra(texts: list[str], extra: str) -> Iterator[Requirement]:
    for text in texts:
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


def main() -> None:
    """Print the file."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"# Libraries of the image, for Python {python}: made by docker/app/pin.py, not by hand.")
    for name, version in sorted(needed(project["dependencies"]).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
