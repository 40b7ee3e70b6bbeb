#!/usr/bin/env python3
"""``systemctl`` for a tree without systemd: verifies units, and starts and stops what they say.

Put into a tree by tests/debian_page.sh. Of a unit it heeds user, environment, credentials and
command, with its drop-ins, and what it requires; of nginx it knows how to start and to reload it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
PIDS = Path("/run/no-systemd")


def lines(name: str) -> list[tuple[str, str]]:
    """Key and value of each line of a unit and of the drop-ins of its prefix."""
    prefix = name.rpartition("-")[0] + "-"
    files = [UNITS / f"{name}.service", *sorted((UNITS / f"{prefix}.service.d").glob("*.conf"))]
    text = "\n".join(file.read_text() for file in files)
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and line[0] != "#")
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def start(name: str) -> None:
    """Start a unit, after those that it requires; one that is ``oneshot`` is waited for."""
    if name == "nginx":
        subprocess.run(["nginx"], check=True)
        return
    said = lines(name)
    for key, value in said:
        if key == "Requires" and not (PIDS / value).exists():
            start(value.removesuffix(".service"))
    given = PIDS / f"{name}.credentials"
    given.mkdir(parents=True, exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    for key, value in said:
        if key == "LoadCredential":
            label, _, place = value.partition(":")
            (given / label).write_bytes(Path(place).read_bytes())
            (given / label).chmod(0o444)
        elif key == "EnvironmentFile":
            environment |= dict(
                shlex.split(line)[0].split("=", 1)
                for line in Path(value).read_text().splitlines()
                if line
            )
        elif key == "Environment":
            environment |= dict(
                one.replace("%d", str(given)).split("=", 1) for one in shlex.split(value)
            )
    found = dict(said)
    command = ["runuser", "-u", found["User"], "--", *shlex.split(found["ExecStart"])]
    log = (PIDS / f"{name}.log").open("ab")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd="/")
    if found.get("Type") == "oneshot":
        if process.wait() != 0:
            sys.exit(f"{name} failed: {Path(log.name).read_text()}")
        (PIDS / f"{name}.service").touch()
        return
    (PIDS / f"{name}.pid").write_text(str(process.pid))
    wait_for(name, process)


def wait_for(name: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a service says that it is ready; systemd itself would not."""
    for _ in range(600):
        said = (PIDS / f"{name}.log").read_text()
        if "ready: " in said:
            return
        if process.poll() is not None:
            sys.exit(f"{name} ended: {said}")
        time.sleep(0.1)
    sys.exit(f"{name} is not ready after 60 s: {said}")


def stop(name: str) -> None:
    """Stop a unit that runs, and wait for its end."""
    (PIDS / f"{name}.service").unlink(missing_ok=True)
    pid = PIDS / f"{name}.pid"
    if pid.exists():
        number = int(pid.read_text())
        os.kill(number, signal.SIGTERM)
        while Path(f"/proc/{number}").exists() and state(number) != "Z":
            time.sleep(0.1)
        pid.unlink()
        (PIDS / f"{name}.log").unlink()


def state(number: int) -> str:
    """The state of a process, as a letter."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def main() -> None:
    """``systemctl COMMAND [--now] [UNIT]...``."""
    PIDS.mkdir(parents=True, exist_ok=True)
    command, *words = sys.argv[1:]
    names = [word for word in words if not word.startswith("-")]
    if command == "daemon-reload":
        units = sorted(map(str, UNITS.glob("vo-service-*.*[!d]")))
        subprocess.run(["systemd-analyze", "verify", *units], check=True)
    elif command == "enable" and "--now" in words:
        for name in names:
            if not name.endswith(".timer"):
                start(name)
    elif command == "restart":
        for name in reversed(names):
            stop(name)
        for name in names:
            if not (PIDS / f"{name}.service").exists():
                start(name)
    elif command == "reload" and names == ["nginx"]:
        running = Path("/run/nginx.pid").exists() and Path("/run/nginx.pid").read_text().strip()
        subprocess.run(["nginx", "-s", "reload"] if running else ["nginx"], check=True)
    elif names or command not in {"is-system-running", "--version"}:
        sys.exit(f"no_systemd: {command} {' '.join(words)}: not known")


if __name__ == "__main__":
    main()
