"""The images, built and used; minutes of work, so only when asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_services_built_from_the_dockerfiles_pass_the_smoke_test() -> None:
    if os.environ.get("VO_TEST_IMAGES") != "1":
        pytest.skip("builds images for minutes: VO_TEST_IMAGES=1 is not set")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("buildah", "crun", "debootstrap", "curl", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    subprocess.run((ROOT / "tests" / "docker" / "build.sh",), check=True)
    done = subprocess.run(
        (sys.executable, "-m", "tests.docker.smoke"),
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("The smoke test passed.\n")
