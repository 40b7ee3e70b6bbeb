"""An archive for the tests of a module, and one for a single test."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.datalink.archive import Lab, made


@pytest.fixture(scope="module")
def lab(database_url: str, place: Path) -> Lab:
    """Not to be changed."""
    return made(database_url, place / f"lab-{uuid4().hex}")


@pytest.fixture
def own_lab(own_database_url: str, place: Path) -> Lab:
    """To do with as one likes."""
    return made(own_database_url, place / f"lab-{uuid4().hex}")
