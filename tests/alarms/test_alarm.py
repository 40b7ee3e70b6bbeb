"""Alarms at a real webhook: what arrives, how often, and that nothing breaks on its account."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import settings_at
from vo_service.db.schema import upgrade
from vo_service.errors import ConfigError, TransientError, VOError
from vo_service.services.alarm import (
    AlarmKind,
    alarm_if_broken,
    alarm_of_problems,
    raise_alarm,
    send_test,
)
from vo_service.services.setup import initialise
from vo_service.services.watch import look_at_disks
from vo_service.settings import Settings, load_settings


@dataclass
class Webhook:
    """A server that keeps what it is sent, and answers as it is told."""

    url: str
    status: int = 200
    location: str = ""
    wait_s: float = 0.0
    got: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, _, body in self.got]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((self.path, str(self.headers["Content-Type"]), json.loads(body)))
            time.sleep(hook.wait_s)
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            hook.got.append((self.path, "a redirect was followed", None))

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hook
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def home(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("alarms")
    initialise(place)
    upgrade(settings_at(database_url, place))
    return place


@pytest.fixture
def settings(database_url: str, home: Path, webhook: Webhook) -> Settings:
    with psycopg.connect(database_url) as connection:
        connection.execute("TRUNCATE archive.alarm")
    return settings_at(database_url, home, alarm_url=webhook.url)


def test_an_alarm_is_what_slack_takes(settings: Settings, webhook: Webhook) -> None:
    raise_alarm(settings, AlarmKind.RELEASE, "release: 3 problems")
    assert webhook.got == [
        (
            "/services/T0/B0/secret",
            "application/json",
            {"text": f"vo-service at {settings.root_url}: release: 3 problems"},
        )
    ]


def test_names_in_files_can_neither_call_people_nor_link(
    settings: Settings, webhook: Webhook
) -> None:
    raise_alarm(settings, AlarmKind.INGEST, "<!channel> <http://x|y> a&b \x1b[31m\x00" + "z" * 9000)
    (text,) = webhook.texts
    assert "&lt;!channel&gt; &lt;http://x|y&gt; a&amp;b" in text
    assert "<" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert len(text) < 4000


def test_of_a_kind_one_is_sent_and_the_next_says_how_many_were_not(
    settings: Settings, webhook: Webhook, database_url: str
) -> None:
    for number in range(5):
        raise_alarm(settings, AlarmKind.INGEST, f"ingest {number}")
    raise_alarm(settings, AlarmKind.RELEASE, "another kind")
    assert [text.rpartition(": ")[2] for text in webhook.texts] == ["ingest 0", "another kind"]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE archive.alarm SET sent = sent - interval '900 s'")
    raise_alarm(settings, AlarmKind.INGEST, "ingest 5")
    assert "ingest 5 (and 4 more of this kind since 2" in webhook.texts[-1]


def test_all_processes_of_an_archive_share_the_limit(settings: Settings, webhook: Webhook) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(raise_alarm, settings, AlarmKind.JOBS, "a job failed")
    assert len(webhook.got) == 1
    with psycopg.connect(settings.database_url or "") as connection:
        row = connection.execute("SELECT kind, suppressed FROM archive.alarm").fetchone()
    assert row == ("jobs", 39)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_webhook_that_does_not_take_it_breaks_nothing(
    settings: Settings, webhook: Webhook, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status, webhook.location = status, webhook.url + "/elsewhere"
    raise_alarm(settings, AlarmKind.LINKS, "check: 1 problem")
    assert len(webhook.got) == 1  # redirects are not followed
    assert f"the webhook answered {status}" in caplog.text
    assert "secret" not in caplog.text


def test_what_was_not_taken_is_counted_and_tried_again_soon(
    settings: Settings, webhook: Webhook, database_url: str
) -> None:
    webhook.status = 500
    raise_alarm(settings, AlarmKind.LINKS, "first")
    raise_alarm(settings, AlarmKind.LINKS, "second")
    assert len(webhook.got) == 1
    webhook.status = 200
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE archive.alarm SET sent = sent - interval '60 s'")
    raise_alarm(settings, AlarmKind.LINKS, "third")
    assert "third (and 2 more of this kind" in webhook.texts[-1]


def test_a_webhook_that_is_not_there_breaks_nothing(
    settings: Settings, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings_at(settings.database_url or "", settings.home, alarm_url="http://127.0.0.1:9/x")
    raise_alarm(away, AlarmKind.DISK, "full")
    assert "cannot be reached (ConnectError)" in caplog.text
    with pytest.raises(TransientError, match="cannot be reached"):
        send_test(away)


def test_tls_is_verified(settings: Settings, tmp_path: Path, webhook: Webhook) -> None:
    port = webhook.url.split(":")[2].split("/")[0]
    wrong = settings_at(
        settings.database_url or "", settings.home, alarm_url=f"https://127.0.0.1:{port}/x"
    )
    with pytest.raises(TransientError, match="cannot be reached"):
        send_test(wrong)
    assert webhook.got == []


def test_without_a_database_an_alarm_still_goes_out(
    settings: Settings, webhook: Webhook, tmp_path: Path
) -> None:
    lost = settings_at("postgresql://nobody@127.0.0.1:1/none", tmp_path, alarm_url=webhook.url)
    raise_alarm(lost, AlarmKind.RELEASE, "the database is gone")
    raise_alarm(lost, AlarmKind.RELEASE, "the database is gone")
    assert len(webhook.got) == 1


def test_without_a_webhook_there_is_the_log(
    database_url: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = settings_at(database_url, home)
    raise_alarm(silent, AlarmKind.CHECKSUM, 'a "quoted"\nline')
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == r'alarm kind=checksum text="a \"quoted\"\nline"'


def test_the_address_is_never_shown(settings: Settings) -> None:
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.model_dump())


def test_a_wrong_address_is_reported_without_it(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alarm.url: .*expected an address") as caught:
        load_settings(tmp_path, alarm_url="hooks.example.org/secret")
    assert "secret" not in str(caught.value)


def test_what_breaks_off_raises_an_alarm_and_goes_on_its_way(
    settings: Settings, webhook: Webhook
) -> None:
    with (
        pytest.raises(VOError, match="no disk"),
        alarm_if_broken(settings, AlarmKind.INGEST, "ingest of x"),
    ):
        raise VOError("no disk\nmore")
    assert webhook.texts[0].endswith("ingest of x broke off: no disk")
    for error in (ConfigError("field x"), KeyboardInterrupt()):
        with (
            pytest.raises(type(error)),
            alarm_if_broken(settings, AlarmKind.RELEASE, "release"),
        ):
            raise error
    assert len(webhook.got) == 1


def test_many_problems_are_one_alarm(settings: Settings, webhook: Webhook) -> None:
    alarm_of_problems(settings, AlarmKind.LINKS, "check", [])
    alarm_of_problems(settings, AlarmKind.LINKS, "check", [f"p{i}" for i in range(100)])
    (text,) = webhook.texts
    assert text.endswith("check: 100 problems\n- p0\n- p1\n- p2\n- p3\n- p4\n- and 95 more")


def test_a_disk_that_fills_up_raises_an_alarm(
    settings: Settings, webhook: Webhook, tmp_path: Path
) -> None:
    url = settings.database_url or ""
    look_at_disks(settings_at(url, settings.home, alarm_url=webhook.url, disk_free_share=0.0))
    assert webhook.got == []
    usage = shutil.disk_usage(settings.home)
    share = min(usage.free / usage.total + 0.02, 0.999)
    look_at_disks(settings_at(url, settings.home, alarm_url=webhook.url, disk_free_share=share))
    (text,) = webhook.texts
    assert f"the disk of {settings.home} is filling up" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_small_disk_that_is_full_is_found(
    settings: Settings, webhook: Webhook, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        small = settings_at(settings.database_url or "", place, alarm_url=webhook.url)
        look_at_disks(small)
        assert webhook.got == []
        (place / "filler").write_bytes(b"\0" * 1_000_000)
        look_at_disks(small)
        assert "0.0 GB of 0.0 GB are free, less than 5%" in webhook.texts[0]
    finally:
        subprocess.run(["umount", str(place)], check=True)


def run(settings: Settings, webhook: Webhook, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "VO_HOME": str(settings.home),
        "VO_DATABASE_URL": settings.database_url or "",
        "VO_ALARM_URL": webhook.url,
    }
    program = Path(sys.executable).parent / "vo-service"
    return subprocess.run(
        (program, *words), env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_command_tries_the_webhook(settings: Settings, webhook: Webhook) -> None:
    done = run(settings, webhook, "alarm", "test")
    assert (done.returncode, done.stdout) == (0, "sent: look whether it has arrived\n")
    assert "this is a test" in webhook.texts[0]
    webhook.status = 410
    done = run(settings, webhook, "alarm", "test")
    assert done.returncode == 1
    assert done.stderr == "vo-service: the webhook answered 410: expected 200\n"


def test_an_ingest_that_is_mostly_refused_and_a_broken_link_are_told(
    settings: Settings, webhook: Webhook, tmp_path: Path
) -> None:
    for name in ("a.fits", "b.fits"):
        (tmp_path / name).write_bytes(b"this is no FITS file")
    done = run(settings, webhook, "ingest", "triccs", str(tmp_path), "--processes", "0")
    assert done.returncode == 1
    assert "ingest of triccs: 2 of 2 files were refused" in webhook.texts[0]
    stray = settings.public / "triccs" / "stray.fits"
    stray.parent.mkdir(parents=True)
    stray.symlink_to("/nowhere")
    webhook.wait_s = 0.5
    done = run(settings, webhook, "check")
    assert done.returncode == 1
    assert "check of links: 1 problem\n" in webhook.texts[1]
    assert "stray.fits: is linked, but its row is not public" in webhook.texts[1]
    assert webhook.url not in done.stdout + done.stderr
