"""What the files of docker/ promise, read without any engine: compose files, units, scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from vo_service.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = ["compose.yaml", "compose.data.yaml"]
UNITS = sorted((DOCKER / "systemd").glob("*.service"))


def compose(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", COMPOSE)
def test_every_service_has_a_read_only_root_and_no_capability(name: str) -> None:
    for service in compose(name)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSE)
def test_only_the_front_has_ports_and_stands_in_the_network_outside(name: str) -> None:
    services = compose(name)["services"]
    assert [one for one, said in services.items() if "ports" in said] == ["front"]
    for one, said in services.items():
        assert one == "front" or not any("outside" in network for network in said["networks"])


def test_postgresql_stands_in_a_network_that_leads_nowhere() -> None:
    said = compose("compose.yaml")
    assert said["services"]["postgres"]["networks"] == ["database"]
    assert said["networks"]["database"] == {"internal": True}
    assert "database" not in said["services"]["front"]["networks"]


def test_what_runs_for_long_never_sees_the_superusers_secret() -> None:
    services = compose("compose.yaml")["services"]
    holders = {n for n, said in services.items() if "operator-secret" in str(said.get("volumes"))}
    assert holders == {"postgres", "operator", "migrate", "demo"}


@pytest.mark.parametrize("name", COMPOSE)
def test_the_front_is_trusted_at_its_own_address_and_no_other(name: str) -> None:
    services = compose(name)["services"]
    networks = services["front"]["networks"]
    [address] = [said["ipv4_address"] for said in networks.values() if "ipv4_address" in said]
    for said in services.values():
        trusted = said.get("environment", {}).get("VO_TRUSTED_PROXIES")
        assert trusted is None or trusted == f'["{address}"]'


@pytest.mark.parametrize("name", COMPOSE)
def test_volumes_and_networks_that_are_used_are_declared(name: str) -> None:
    said = compose(name)
    for service in said["services"].values():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0]
            assert source in said["volumes"]
        assert set(service["networks"]) <= set(said["networks"])


def variables() -> list[tuple[str, str]]:
    """Every VO_ variable that a file of docker/ sets, with the file."""
    files = [DOCKER / name for name in COMPOSE] + [DOCKER / "app" / "Dockerfile"]
    files += [*UNITS, *(DOCKER / "systemd").glob("*/*.conf")]
    return sorted(
        {
            (file.name, name)
            for file in files
            for name in re.findall(r"\bVO_([A-Z_]+)[=:]", file.read_text("utf-8"))
        }
    )


@pytest.mark.parametrize(("file", "name"), variables())
def test_every_variable_is_a_setting(file: str, name: str) -> None:
    assert name.removesuffix("_FILE").lower() in Settings.model_fields, file


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*/*.sh")), ids=lambda file: file.name)
def test_scripts_are_executable_and_well_formed(file: Path) -> None:
    assert file.stat().st_mode & 0o111
    subprocess.run(("sh", "-n", file), check=True)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    place = tmp_path / "system"
    shutil.copytree(DOCKER / "systemd", place)
    program = tmp_path / "vo-service"  # verify wants it to be there
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for file in place.glob("*.service"):
        text = file.read_text().replace("/opt/vo-service/.venv/bin/vo-service", str(program))
        file.write_text(text.replace("Documentation=file:/opt", "Documentation=file:/etc"))
    path = {"SYSTEMD_UNIT_PATH": f"{place}:/lib/systemd/system", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", place / unit.name),
        env=path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "vo-service" in line]
    assert (done.returncode, said) == (0, [])
    judged = subprocess.run(
        ("systemd-analyze", "security", "--offline=true", unit.name),
        env=path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert level is not None, judged.stderr
    assert float(level[1]) < 2.0
