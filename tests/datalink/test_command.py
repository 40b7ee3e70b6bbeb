"""`vo-service provenance` as an operator types it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.datalink.archive import Lab
from vo_service.cli.commands import app
from vo_service.errors import ConfigError, UsageError


def test_import_and_update_say_what_they_did(own_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VO_DATABASE_URL", own_lab.settings.database_url or "")
    home = ["--home", str(own_lab.settings.home), "provenance"]
    table = own_lab.table("product,role,used,run", "A1,flat,FLAT-7,night-8", "A2,flat,A1,")
    run = CliRunner()
    dry = run.invoke(
        app, [*home, "import", str(table), "--collection", "reduced", "--dry-run"],
        catch_exceptions=False,
    )  # fmt: skip
    assert dry.output == (
        "reduced: would be imported: 2 files, 1 with their run; 2 files that were used, 1 of them "
        "not in this archive.\n"
    )
    done = run.invoke(
        app, [*home, "import", str(table), "--collection", "reduced"], catch_exceptions=False
    )
    assert done.output == dry.output.replace("would be imported", "imported")
    read = run.invoke(app, [*home, "update", "reduced"], catch_exceptions=False)
    assert read.output == (
        "reduced: read from headers: 2 files, 2 with their run; 7 files that were used, 1 of them "
        "not in this archive.\n"
    )
    with pytest.raises(ConfigError, match="there is no collection 'other'"):
        run.invoke(app, [*home, "update", "other"], catch_exceptions=False)
    table.write_text("product\n")
    with pytest.raises(UsageError, match="there is nothing in it"):
        run.invoke(
            app, [*home, "import", str(table), "--collection", "reduced"], catch_exceptions=False
        )
