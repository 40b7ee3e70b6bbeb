"""HTTPS: certificates and keys that fit or do not, read again while connections go on."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from tests.edge.support import Certificates, Served, certificates_in, served_with
from tests.edge.wire import ask
from tests.web.conftest import Archive, free_port
from vo_service.errors import ConfigError
from vo_service.settings import Settings
from vo_service.web.tls import Certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(archive: Archive, certificates: Certificates) -> Iterator[Served]:
    chosen = {"tls_cert": certificates.cert, "tls_key": certificates.key}
    with served_with(archive, **chosen) as server:
        yield server


def test_a_certificate_and_its_key_are_taken(tmp_path: Path) -> None:
    own = certificates_in(tmp_path)
    assert Certificate(own.cert, own.key).context.minimum_version is ssl.TLSVersion.TLSv1_2
    both = tmp_path / "both.pem"
    both.write_bytes(own.key.read_bytes() + own.cert.read_bytes())
    both.chmod(0o600)
    assert Certificate(both, None).until.year >= 2030


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    own, other = certificates_in(tmp_path / "own"), certificates_in(tmp_path / "other")
    nothing, text = tmp_path / "nothing.pem", tmp_path / "text.pem"
    text.write_text("hello")
    locked = tmp_path / "locked.key"
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for cert, secret, said in (
        (nothing, own.key, f"tls_cert: {nothing}: cannot be read: No such file"),
        (text, own.key, f"tls_cert: {text}: expected certificates in PEM"),
        (own.key, own.key, f"tls_cert: {own.key}: expected certificates in PEM"),
        (own.cert, nothing, f"tls_key: {nothing}: cannot be read: No such file"),
        (own.cert, None, f"tls_key: {own.cert}: expected a key in PEM"),
        (own.cert, locked, f"tls_key: {locked}: expected a key in PEM .* without a password"),
        (own.cert, other.key, f"tls_key: {other.key}: is the key of another certificate"),
        (tmp_path, own.key, f"tls_cert: {tmp_path}: cannot be read: Is a directory"),
    ):
        with pytest.raises(ConfigError, match=said):
            Certificate(cert, secret)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_key_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    own = certificates_in(tmp_path)
    own.key.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        Certificate(own.cert, own.key)


def test_a_key_that_everybody_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = certificates_in(tmp_path)
    own.key.chmod(0o644)
    Certificate(own.cert, own.key)
    assert "everybody on this machine can read the key" in caplog.text


def test_settings_that_want_a_certificate_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want a tls_cert"):
        Settings(home=tmp_path, tls_key=tmp_path)
    with pytest.raises(ValueError, match="redirect_port wants a base_url"):
        Settings(home=tmp_path, tls_cert=tmp_path, redirect_port=80)


def test_a_wrong_certificate_is_one_line_and_no_server(archive: Archive, tmp_path: Path) -> None:
    command = (sys.executable, "-c", "from vo_service.cli import main; main()")
    ended = subprocess.run(
        (*command, "serve", "--tls-cert", str(tmp_path / "none.crt")),
        env=os.environ | {"VO_HOME": str(archive.settings.home), "VO_PORT": "0",
                          "VO_DATABASE_URL": archive.settings.database_url or ""},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"vo-service: tls_cert: {tmp_path}/none.crt: cannot be read: No such file or directory"
    )


def test_answers_lead_on_to_https(served: Served, certificates: Certificates) -> None:
    assert served.url.startswith("https://localhost:")
    with httpx.Client(verify=ssl.create_default_context(cafile=certificates.ca)) as client:
        capabilities = client.get(f"{served.url}/tap/capabilities")
        assert f'<accessURL use="base">{served.url}/tap</accessURL>' in capabilities.text
        assert "http://localhost" not in capabilities.text
        # HSTS counts for all ports of a name: localhost is shared with other services.
        assert "Strict-Transport-Security" not in capabilities.headers
        named = client.get(f"{served.url}/", headers={"Host": "archive.example.org"})
        assert named.headers["Strict-Transport-Security"] == "max-age=15552000"


def test_pyvo_and_curl_come_by_https(served: Served, certificates: Certificates) -> None:
    program = (
        "import pyvo, sys\n"
        "service = pyvo.dal.TAPService(sys.argv[1] + '/tap')\n"
        "row = service.search('SELECT TOP 1 access_url FROM ivoa.obscore')[0]\n"
        "print(row['access_url'])\n"
        "print(len(service._session.get(row['access_url']).content) % 2880)\n"
    )
    environment = os.environ | {"REQUESTS_CA_BUNDLE": str(certificates.ca)}
    told = subprocess.run(
        (sys.executable, "-c", program, served.url),
        env=environment, capture_output=True, text=True, check=True, timeout=120,
    ).stdout.split()  # fmt: skip
    assert told[0].startswith(f"{served.url}/data/")
    assert told[1] == "0"
    curl = ("curl", "-sS", "--http1.1", "--cacert", str(certificates.ca), "-o", os.devnull)
    report = ("-w", "%{http_code} %{http_version} %{ssl_verify_result}")
    answer = subprocess.run((*curl, *report, f"{served.url}/"), capture_output=True, text=True,
                            check=True, timeout=30)  # fmt: skip
    assert answer.stdout == "200 1.1 0"


def test_old_tls_is_refused(served: Served) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        peer_certificate(served, context)


def peer_certificate(served: Served, context: ssl.SSLContext) -> str:
    place = httpx.URL(served.url)
    with (
        socket.create_connection((place.host, place.port or 443), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")


def newest(served: Served, certificates: Certificates, expected: bytes) -> bool:
    """Whether new connections get a certificate, within a minute."""
    context = ssl.create_default_context(cafile=certificates.ca)
    wanted = ssl.PEM_cert_to_DER_cert(expected.decode())
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if ssl.PEM_cert_to_DER_cert(peer_certificate(served, context)) == wanted:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.anyio
async def test_a_new_certificate_cuts_nobody(served: Served, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    slow = "/tap/sync?LANG=ADQL&MAXREC=3000&QUERY=SELECT+a.*+FROM+ivoa.obscore+a,ivoa.obscore+b"
    download = asyncio.create_task(ask(served.url + slow, bytes_per_s=100_000, context=context))
    await asyncio.sleep(1.0)
    fresh = certificates.issue()
    served.send_signal(1)  # SIGHUP
    assert await asyncio.to_thread(newest, served, certificates, fresh)
    assert not download.done()
    answer = await download
    assert (answer.status, answer.whole) == (200, True)


def test_a_change_of_files_is_seen_and_a_broken_one_changes_nothing(
    served: Served, certificates: Certificates
) -> None:
    before = certificates.cert.read_bytes()
    fresh = certificates.issue()
    assert newest(served, certificates, fresh)
    certificates.cert.write_bytes(before)  # the key is another's now
    time.sleep(1)
    served.send_signal(1)
    time.sleep(1)
    assert newest(served, certificates, fresh)
    certificates.issue()


def test_the_plain_port_leads_to_the_address_that_was_chosen(
    archive: Archive, certificates: Certificates
) -> None:
    plain = free_port()
    chosen = {"tls_cert": certificates.cert, "tls_key": certificates.key, "redirect_port": plain}
    with (
        served_with(archive, base_url="https://archive.example.org", **chosen),
        httpx.Client(base_url=f"http://127.0.0.1:{plain}") as client,
    ):
        there = client.get("/tap/sync?QUERY=a%20b", headers={"Host": "evil.example"})
        assert there.status_code == 301
        assert there.headers["Location"] == "https://archive.example.org/tap/sync?QUERY=a%20b"
        posted = client.post("/tap/async", content=b"QUERY=1")
        assert posted.status_code == 308
        assert posted.headers["Location"] == "https://archive.example.org/tap/async"
        assert "Strict-Transport-Security" not in posted.headers
