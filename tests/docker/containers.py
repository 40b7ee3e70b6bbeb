"""Runs docker/compose.yaml without a container engine: images of buildah, containers of crun.

What the compose file says of a service is done as an engine does it: user, environment,
read-only root, volumes (filled from the image), tmpfs, no capabilities, a process namespace of
its own, networks (a bridge each; `internal` ones without a way in), order by health checks.
Left out: limits of memory and processes (no cgroups are wanted here), `init`, ports, restarts.

To be used by root in namespaces of its own, `python -m tests.docker.smoke` makes them; whatever
runs ends with them. Source: Compose Specification; OCI Runtime Specification 1.0.2.
"""

from __future__ import annotations

import ipaddress
import json
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Stack", "isolate", "run"]

_DOCKER = Path(__file__).parents[2] / "docker"

_DEVICES = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]


def run(*command: str | Path, **options: Any) -> str:
    """Run a command to its end; what it says on standard output."""
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: status {done.returncode}: {done.stdout}{done.stderr}")
    return str(done.stdout)


@dataclass
class Stack:
    """The services of a compose file.

    Parameters
    ----------
    place
        Empty directory for volumes and bundles.
    chosen
        Variables of the compose file.
    file
        Which one, in docker/.
    """

    place: Path
    chosen: Mapping[str, str]
    file: str = "compose.yaml"
    services: dict[str, Any] = field(init=False)
    networks: dict[str, ipaddress.IPv4Network] = field(default_factory=dict, init=False)
    addresses: dict[tuple[str, str], str] = field(default_factory=dict, init=False)
    _roots: dict[str, Path] = field(default_factory=dict, init=False)
    _containers: list[str] = field(default_factory=list, init=False)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        text = re.sub(
            r"\$\{(\w+):-([^}]*)\}",
            lambda found: self.chosen.get(found[1]) or found[2],
            (_DOCKER / self.file).read_text("utf-8"),
        )
        compose = yaml.safe_load(text)
        self.services = compose["services"]
        for number, (name, said) in enumerate(compose["networks"].items()):
            config = (said.get("ipam") or {}).get("config")
            subnet = config[0]["subnet"] if config else f"172.31.{240 + number}.0/27"
            self._bridge(name, ipaddress.IPv4Network(subnet), said.get("internal", False))

    def _bridge(self, name: str, subnet: ipaddress.IPv4Network, internal: bool) -> None:
        self.networks[name] = subnet
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "link", "set", name, "up")
        if not internal:
            run("ip", "address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", name)
        number = 16
        for service, said in self.services.items():
            wanted = said["networks"]
            if name in wanted:
                fixed = wanted[name].get("ipv4_address") if isinstance(wanted, dict) else None
                self.addresses[service, name] = fixed or str(subnet[number])
                number += 1

    def start(self, service: str, **environment: str) -> None:
        """Start a service when what it depends on is there; one that is to end ends first."""
        said = self.services[service]
        for other, how in said.get("depends_on", {}).items():
            if other not in self._processes:
                self.start(other)
            if how["condition"] == "service_healthy":
                self.wait_healthy(other)
        self._network(service)
        bundle = self.place / "bundles" / service
        bundle.mkdir(parents=True, exist_ok=True)
        config = json.dumps(self._config(service, environment))
        (bundle / "config.json").write_text(config, "utf-8")
        with (bundle / "log").open("ab") as log:
            self._processes[service] = subprocess.Popen(
                ("crun", "--cgroup-manager=disabled", "run", "--bundle", bundle, service),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if said.get("restart") == "no" and self._processes[service].wait() != 0:
            raise RuntimeError(f"{service} failed: {self.log(service)}")

    def log(self, service: str) -> str:
        """What a service has written."""
        return (self.place / "bundles" / service / "log").read_text("utf-8", "replace")

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's container, as its user."""
        return run("crun", "exec", "--user", self.image(service)["User"], service, *command)

    def wait_healthy(self, service: str, limit_s: float = 180) -> None:
        """Wait until a service's health check, as in its image, passes."""
        check = self.image(service)["Healthcheck"]["Test"]
        command = check[1:] if check[0] == "CMD" else ["sh", "-c", check[1]]
        deadline = time.monotonic() + limit_s
        while True:
            process = self._processes[service]
            if process.poll() is not None:
                raise RuntimeError(f"{service} ended: {self.log(service)}")
            try:
                self.execute(service, *command)
            except RuntimeError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{service}: {error}: {self.log(service)}") from error
                time.sleep(0.5)
            else:
                return

    def stop(self, service: str, limit_s: float = 100) -> int:
        """Stop a service as an engine does; its exit status."""
        name = self.image(service).get("StopSignal") or "SIGTERM"
        run("crun", "kill", service, name)
        status = self._processes.pop(service).wait(limit_s)
        run("ip", "netns", "delete", service)
        return status

    def kill(self, service: str) -> None:
        """End a service at once."""
        run("crun", "kill", "--all", service, "KILL")
        self._processes.pop(service).wait(30)
        run("ip", "netns", "delete", service)

    def image(self, service: str) -> dict[str, Any]:
        """Configuration of a service's image."""
        tag = f"localhost/{self.services[service]['image']}"
        found = json.loads(run("buildah", "inspect", "--type", "image", tag))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    def root(self, service: str) -> Path:
        """The tree of a service's image, for this service alone; it runs with it read-only."""
        if service not in self._roots:
            image = f"localhost/{self.services[service]['image']}"
            container = run("buildah", "from", "--pull-never", image).strip()
            self._containers.append(container)
            self._roots[service] = Path(run("buildah", "mount", container).strip())
        return self._roots[service]

    def volume(self, name: str) -> Path:
        """Where a named volume lies."""
        return self.place / "volumes" / name

    def close(self) -> None:
        """End everything and remove buildah's containers."""
        for process in self._processes.values():
            process.send_signal(signal.SIGKILL)
        for container in self._containers:
            run("buildah", "rm", container)

    def _network(self, service: str) -> None:
        run("ip", "netns", "add", service)
        run("ip", "-netns", service, "link", "set", "lo", "up")
        names = [name for name in self.networks if (service, name) in self.addresses]
        for number, name in enumerate(names):
            outer, inner = f"{service[:9]}{number}", f"eth{number}"
            run(
                "ip", "link", "add", outer, "type", "veth", "peer", "name", inner,
                "netns", service,
            )  # fmt: skip
            run("ip", "link", "set", outer, "master", name, "up")
            address = f"{self.addresses[service, name]}/{self.networks[name].prefixlen}"
            # Engines derive it from the address as well: a restart leaves nobody with a stale one.
            hardware = ipaddress.IPv4Address(self.addresses[service, name]).packed.hex(":")
            run("ip", "-netns", service, "link", "set", inner, "address", f"02:42:{hardware}")
            run("ip", "-netns", service, "address", "add", address, "dev", inner)
            run("ip", "-netns", service, "link", "set", inner, "up")

    def _hosts(self, service: str) -> str:
        """Names that an engine's DNS would give: services with which a network is shared."""
        mine = {name for one, name in self.addresses if one == service}
        lines = [f"{a} {one}" for (one, name), a in self.addresses.items() if name in mine]
        return "\n".join(["127.0.0.1 localhost", *lines, ""])

    def _mounts(self, service: str) -> list[dict[str, Any]]:
        said = self.services[service]
        hosts = self.place / "bundles" / service / "hosts"
        hosts.write_text(self._hosts(service), "utf-8")
        mounts = [
            _mount("/proc", "proc"),
            _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            _mount("/dev/pts", "devpts", _DEVICES),
            _mount("/dev/shm", "tmpfs", ["nosuid", "nodev", "mode=1777", "size=1g"]),  # noqa: S108 - in a container
            _mount("/etc/hosts", "bind", ["bind", "ro"], hosts),
        ]
        for one in said.get("tmpfs", []):
            target, _, options = one.partition(":")
            mounts.append(_mount(target, "tmpfs", ["nosuid", "nodev", *options.split(",")]))
        # What lies within another comes after it.
        for one in sorted(said.get("volumes", []), key=lambda one: str(one).split(":")[1]):
            name, target, *how = one.split(":")
            source = Path(name) if name.startswith("/") else self._filled(service, name, target)
            mounts.append(_mount(target, "bind", ["bind", *(how or ["rw"])], source))
        return mounts

    def _filled(self, service: str, name: str, target: str) -> Path:
        """A named volume; new, it has what the image has there, owner and mode included."""
        place = self.volume(name)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            inside = self.root(service) / target.lstrip("/")
            if inside.is_dir():
                run("cp", "--archive", inside, place)
            else:
                place.mkdir()
        return place

    def _config(self, service: str, more: Mapping[str, str]) -> dict[str, Any]:
        said, image = self.services[service], self.image(service)
        user, _, group = image["User"].partition(":")
        pairs = dict(pair.split("=", 1) for pair in image.get("Env", []))
        environment = {**pairs, **said.get("environment", {}), **more}
        command: Sequence[str] = said.get("command") or image.get("Cmd") or []
        spaces: list[dict[str, str]] = [
            {"type": kind} for kind in ("pid", "ipc", "uts", "mount")
        ] + [{"type": "network", "path": f"/run/netns/{service}"}]
        return {
            "ociVersion": "1.0.2",
            "hostname": service,
            "root": {"path": str(self.root(service)), "readonly": said["read_only"]},
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": [*image["Entrypoint"], *command],
                "env": [f"{key}={value}" for key, value in environment.items()],
                "cwd": image.get("WorkingDir") or "/",
                "noNewPrivileges": "no-new-privileges:true" in said["security_opt"],
                "capabilities": {} if said["cap_drop"] == ["ALL"] else None,
            },
            "mounts": self._mounts(service),
            "linux": {"namespaces": spaces},
        }


def _mount(
    target: str, kind: str, options: Sequence[str] = (), source: Path | None = None
) -> dict[str, Any]:
    return {
        "destination": target, "type": kind, "source": str(source or kind),
        "options": list(options),
    }  # fmt: skip


def isolate() -> None:
    """Make the mount and network namespaces of this process fit for a `Stack`."""
    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")
    # crun wants one kind of cgroups; of this one nothing is used.
    run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    for place in ("/run/netns", "/run/crun"):
        Path(place).mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", place)
