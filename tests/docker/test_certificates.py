"""Certificates of the front: local ones, own ones, and those of an ACME authority (pebble)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from tests.docker.front import FRONT, as_front_user
from tests.web.conftest import free_port


def place_of(tmp_path: Path, **more: str) -> dict[str, str]:
    """The environment of a front below *tmp_path*."""
    for name in ("run/acme", "data/tls"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return {
        **os.environ, "RUN": str(tmp_path / "run"), "TLS": str(tmp_path / "data" / "tls"),
        "TLS_NAMES": "archive.test 127.0.0.1", **more,
    }  # fmt: skip


def certificate(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return subprocess.run(
        (str(FRONT / "certificate.sh"), *arguments),
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def shown(environment: dict[str, str]) -> x509.Certificate:
    """The certificate that nginx would show, if its key fits."""
    tls = Path(environment["TLS"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
    return x509.load_pem_x509_certificate((tls / "certificate.pem").read_bytes())


def test_a_local_ca_signs_for_the_names_and_signs_again_when_they_change(tmp_path: Path) -> None:
    environment = place_of(tmp_path)
    assert certificate(environment).returncode == 0
    first = shown(environment)
    ca = x509.load_pem_x509_certificate((Path(environment["TLS"]) / "ca.pem").read_bytes())
    first.verify_directly_issued_by(ca)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["archive.test"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    lifetime = first.not_valid_after_utc - first.not_valid_before_utc
    assert lifetime.days == 365
    assert certificate(environment, "--renew").returncode == 0
    assert shown(environment) == first
    assert certificate(environment | {"TLS_NAMES": "other.test"}).returncode == 0
    second = shown(environment)
    second.verify_directly_issued_by(ca)
    assert second.serial_number != first.serial_number


def test_keys_can_be_read_by_the_front_alone(tmp_path: Path) -> None:
    environment = place_of(tmp_path)
    certificate(environment)
    for key in ("ca.key", "key.pem", "local.key"):
        assert (Path(environment["TLS"]) / key).stat().st_mode & 0o077 == 0


def test_a_pair_that_does_not_fit_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    ca = trustme.CA()
    mine, other = ca.issue_cert("archive.test"), ca.issue_cert("archive.test")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    environment = place_of(tmp_path, TLS_CERT=str(cert), TLS_KEY=str(key))
    assert certificate(environment).returncode == 0
    before = shown(environment)
    other.private_key_pem.write_to_path(key)
    done = certificate(environment, "--renew")
    assert done.returncode != 0
    assert done.stderr == (
        f"front: {key}: expected the private key (PEM, without a password) of {cert}\n"
    )
    assert shown(environment) == before
    cert.write_text("nonsense")
    assert f"{cert}: expected a certificate (PEM)" in certificate(environment).stderr
    other.cert_chain_pems[0].write_to_path(cert)
    assert certificate(environment, "--renew").returncode == 0
    assert shown(environment) != before


@contextmanager
def authority(tmp_path: Path, http_port: int) -> Iterator[tuple[str, Path]]:
    """Pebble, the ACME authority for tests: its directory, and the CA of its own address."""
    ca = trustme.CA()
    mine = ca.issue_cert("localhost")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "pebble.pem")
    mine.private_key_pem.write_to_path(tmp_path / "pebble.key")
    ca.cert_pem.write_to_path(tmp_path / "pebble-ca.pem")
    port = free_port()
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(tmp_path / "pebble.pem"),
        "privateKey": str(tmp_path / "pebble.key"),
        "httpPort": http_port,
        "tlsPort": free_port(),
    }
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": config}))
    dns = free_port()
    with (
        subprocess.Popen(
            ("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
             "-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-management", f"127.0.0.1:{free_port()}"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as names,
        subprocess.Popen(
            ("pebble", "-config", tmp_path / "pebble.json", "-dnsserver", f"127.0.0.1:{dns}"),
            env=os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as pebble,
    ):  # fmt: skip
        try:
            _wait_for(port)
            yield f"https://localhost:{port}/dir", tmp_path / "pebble-ca.pem"
        finally:
            names.kill()
            pebble.kill()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nobody answers on port {port}")


def test_an_authority_signs_while_nginx_shows_what_it_asks_for(tmp_path: Path, place: Path) -> None:
    for program in ("nginx", "dehydrated", "pebble", "pebble-challtestsrv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    https, http = free_port(), free_port()
    with authority(tmp_path, http) as (directory, ca):
        here = place / "acme"
        environment = place_of(
            here, ACME="1", ACME_DIRECTORY=directory, ACME_CONTACT="a@archive.test",
            TLS_NAMES="archive.test data.archive.test", CURL_CA_BUNDLE=str(here / "ca.pem"),
            HTTPS_PORT=str(https), HTTP_PORT=str(http), BASE_URL="https://archive.test",
            UPSTREAM="127.0.0.1:9", REPORTS="127.0.0.1:9", PUBLIC=str(here),
        )  # fmt: skip
        shutil.copy(ca, here / "ca.pem")
        said = (tmp_path / "said").open("w+")
        with said, subprocess.Popen(
            (*as_front_user(here), str(FRONT / "start.sh")), env=environment, stderr=said
        ) as front:  # fmt: skip
            try:
                _wait_for(https)
                assert "vo-service local CA" in shown(environment).issuer.rfc4514_string()
                deadline = time.monotonic() + 40
                while "Pebble" not in shown(environment).issuer.rfc4514_string():
                    assert time.monotonic() < deadline, (tmp_path / "said").read_text()
                    time.sleep(0.5)
            finally:
                front.send_signal(signal.SIGTERM)
                assert front.wait(20) == 0
    names = shown(environment).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["archive.test", "data.archive.test"]
