"""The image is made of libraries in fixed versions, which are what the project asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
AGAIN = "python docker/app/pin.py >docker/constraints.txt"


def _pins() -> dict[str, Requirement]:
    lines = (ROOT / "docker" / "constraints.txt").read_text("ascii").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def _wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def _version(pin: Requirement) -> str:
    [specifier] = pin.specifier
    assert specifier.operator == "==", f"{pin}: {AGAIN}"
    return specifier.version


def test_every_dependency_has_a_pin_that_satisfies_it() -> None:
    pins = _pins()
    for wanted in _wanted():
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin is not None, f"{wanted.name} has no pin: {AGAIN}"
        assert wanted.specifier.contains(_version(pin)), f"{pin} is not {wanted}: {AGAIN}"


def test_what_libraries_need_in_turn_has_one_too() -> None:
    pins = _pins()
    # By hand, from their own metadata: of extras, of extras of those, and plain.
    for name in ("psycopg-binary", "psycopg-pool", "uvloop", "greenlet", "pydantic-core", "idna"):
        assert name in pins, f"{name} has no pin: {AGAIN}"
    for pin in pins.values():
        assert _version(pin)


def test_the_dockerfile_gives_them_to_pip() -> None:
    text = (ROOT / "docker" / "app" / "Dockerfile").read_text("utf-8")
    assert "COPY pyproject.toml docker/constraints.txt" in text
    assert "--constraint constraints.txt" in text
