"""STILTS taplint: the Virtual Observatory's own validator of TAP services."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.web.conftest import Archive

#: All but LOC, which is about ivoa.obsplan: there is none here.
STAGES = "TMV TME TMS TMC CPV CAP AVV QGE QPO QAS UWS MDQ OBS UPL EXA"

#: ADQL 2.1 has its feature identifiers in lower case; taplint 3.4 knows ADQL 2.0's only.
EXPLAINED = re.compile(r"W-CAP-CULF-\d+ Custom feature type")


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
def test_taplint_finds_no_errors_no_failures_and_only_the_warnings_we_explain(
    archive: Archive,
) -> None:
    done = subprocess.run(
        ("stilts", "taplint", f"tapurl={archive.url}/tap", f"stages={STAGES}", "report=EWF",
         "maxrepeat=99"),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(line.startswith("Totals: Errors: 0;") for line in lines), done.stdout
    found = [line for line in lines if re.match(r"[EWF]-", line)]
    assert [line for line in found if not EXPLAINED.match(line)] == []
