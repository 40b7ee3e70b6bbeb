"""Servers of the test archive's contents with settings of our own, and certificates for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.web.conftest import Archive, free_port

__all__ = ["Certificates", "Served", "certificates_in", "served_with"]

COMMAND = (sys.executable, "-c", "from vo_service.cli import main; main()", "serve")


class Served(subprocess.Popen[str]):
    """A server, and where it is (as its ready line says)."""

    url: str = ""


class Certificates:
    """A certificate authority of our own, and files that a server reads."""

    def __init__(self, place: Path) -> None:
        self._ca = trustme.CA()
        self.place = place
        self.ca = place / "ca.pem"
        self.cert, self.key = place / "server.crt", place / "server.key"
        self._ca.cert_pem.write_to_path(str(self.ca))

    def issue(self, *names: str) -> bytes:
        """Write a new certificate and its key; the certificate (PEM)."""
        made = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1")))
        chain = b"".join(part.bytes() for part in made.cert_chain_pems)
        self.key.write_bytes(made.private_key_pem.bytes())
        self.key.chmod(0o600)
        self.cert.write_bytes(chain)
        return made.cert_chain_pems[0].bytes()


def certificates_in(place: Path) -> Certificates:
    """A new authority with a first certificate for localhost."""
    place.mkdir(parents=True, exist_ok=True)
    certificates = Certificates(place)
    certificates.issue()
    return certificates


def environment(archive: Archive, **chosen: object) -> dict[str, str]:
    """Variables for a server of the archive's contents."""
    values = {"port": free_port(), "worker_in_serve": False} | chosen
    return os.environ | {
        "VO_HOME": str(archive.settings.home),
        "VO_DATABASE_URL": archive.settings.database_url or "",
        **{
            f"VO_{name.upper()}": json.dumps(value) if isinstance(value, list) else str(value)
            for name, value in values.items()
        },
    }


@contextmanager
def served_with(archive: Archive, *options: str, **chosen: object) -> Iterator[Served]:
    """`vo-service serve` with settings of our own, from its ready line to its end."""
    with Served(
        (*COMMAND, *options),
        env=environment(archive, **chosen),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready: "), (line, process.stderr and process.stderr.read())
            process.url = line.removeprefix("ready: ").strip().rstrip("/")
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
