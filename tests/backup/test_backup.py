"""Backup, destroy, restore: the same bytes again; nothing overwritten, nothing half-done."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.archive.toy import ask, faults, ingest_toys, write_collection, write_toys
from tests.clusters import lay_cluster
from tests.conftest import empty_database, fresh_database
from tests.jobs.archive import command
from tests.support import settings_at
from tests.web.conftest import free_port
from vo_service.db.cluster import Cluster
from vo_service.db.connect import private_cluster
from vo_service.db.schema import upgrade
from vo_service.errors import ConfigError
from vo_service.services.backup import back_up, verify
from vo_service.services.publication import withdraw
from vo_service.services.registry import publish_records
from vo_service.services.release import release_due
from vo_service.services.restore import restore
from vo_service.services.setup import initialise
from vo_service.settings import Settings, load_settings

_MEMORY = 512 * 1024**2
_QUERY = "SELECT * FROM ivoa.obscore ORDER BY obs_publisher_did"
_PLACES = (
    "/tap/sync?LANG=ADQL&RESPONSEFORMAT=csv&QUERY=" + _QUERY.replace(" ", "+"),
    "/tap/tables",
    "/sia2/query?POS=CIRCLE+10.5+-45+20&RESPONSEFORMAT=csv",
    "/datalink/links?ID=ivo://archive.example.org/toy?n000/toy00003.fits",
    "/oai?verb=ListRecords&metadataPrefix=ivo_vor",
    "/data/toy/n000/toy00003.fits",
    "/data/toy/n001/toy00011.fits",
    "/data/toy/n001/toy00012.fits",
)


def told(step: str, size: int) -> None:
    assert step
    assert size >= 0


def fill(settings: Settings, store: Path) -> None:
    """Toy frames in *store*, published, and one that was withdrawn."""
    usual = write_collection(settings, more='withdrawn: hide\nmetadata: "open"\n')
    file = settings.collections / "toy.yaml"
    file.write_text(file.read_text().replace(str(usual), str(store)))
    store.mkdir()
    write_toys(store, range(20))
    assert ingest_toys(settings, store).added == 20
    assert release_due(settings, datetime.now(UTC).date()).problems == []
    close(settings, "n001/toy00012.fits")


def close(settings: Settings, path: str) -> None:
    """Withdraw a frame."""
    [(number,)] = ask(settings, "SELECT product_id FROM archive.product WHERE path = %s", path)
    withdraw(settings, [number], rule="test", actor="test", reason="test")


def states(settings: Settings) -> set[tuple[str, str]]:
    """Paths and states of what is not public."""
    found = ask(settings, "SELECT path, state FROM archive.product WHERE state <> 'public'")
    return {(path, state) for path, state in found}


@pytest.fixture
def home(place: Path) -> Iterator[Path]:
    """A place for a data directory, whose cluster is stopped at the end."""
    directory = place / f"backup-{time.monotonic_ns()}"
    yield directory
    Cluster(directory).stop()
    shutil.rmtree(directory, ignore_errors=True)


def answers(url: str) -> dict[str, str]:
    """Status and digest of each answer, without the moment at which it was given."""
    found = {}
    for address in _PLACES:
        answer = httpx.get(url + address, timeout=60)
        body = re.sub(rb"responseDate>[^<]*<", b"", answer.content)
        found[address] = f"{answer.status_code} {hashlib.sha256(body).hexdigest()}"
    return found


@pytest.fixture
def store(home: Path) -> Iterator[Path]:
    """Where the files of the archive lie: not in its data directory."""
    directory = home.with_name(f"{home.name}.store")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def backup(home: Path) -> Iterator[Path]:
    """Where a backup is to be."""
    directory = home.with_name(f"{home.name}.backup")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_a_restored_archive_gives_byte_identical_answers(
    home: Path, store: Path, backup: Path
) -> None:
    initialise(home, authority="archive.example.org")
    settings = load_settings(home, port=free_port(), base_url="https://archive.example.org")
    lay_cluster(home).start(memory=_MEMORY)
    upgrade(settings)
    fill(settings, store)
    publish_records(settings)
    (home / "registry").mkdir(exist_ok=True)
    (home / "registry" / "note.txt").write_text("kept")
    url = f"http://localhost:{settings.port}"
    form = {"LANG": "ADQL", "QUERY": _QUERY, "RESPONSEFORMAT": "csv", "PHASE": "RUN"}
    with command(settings, "serve"):
        made = httpx.post(f"{url}/tap/async", data=form).headers["location"]
        job = made.replace("https://archive.example.org", url)
        assert "COMPLETED" in httpx.get(job, params={"WAIT": "60"}, timeout=70).text
        result = httpx.get(f"{job}/results/result").content
    # A worker publishes what changed when it starts; from here on there is none.
    publish_records(settings)
    settings = settings.model_copy(update={"worker_in_serve": False})
    with command(settings, "serve"):
        before = answers(url)
        made_of = back_up(settings, backup, base=False, results=True, hips=False, tell=told)
    assert [status[:3] for status in before.values()] == ["200"] * 7 + ["404"]
    assert result.count(b"\n") == 20
    assert made_of.schema_version >= "0019"
    Cluster(home).stop()
    shutil.rmtree(home)

    done = restore(home, backup, until=None, wal=None, tell=told)
    assert (done.count, done.problems) == (19, [])
    assert (home / "registry" / "note.txt").read_text() == "kept"
    assert stat.S_IMODE((home / "signing.keys").stat().st_mode) == 0o600
    with command(settings, "serve"):
        assert answers(url) == before
        assert httpx.get(f"{job}/results/result").content == result
        assert faults(settings) == []


def test_an_archive_goes_back_to_a_moment_before_a_mistake(
    home: Path, store: Path, backup: Path
) -> None:
    initialise(home)
    wal = home.with_name(f"{home.name}.wal")
    settings = load_settings(home, wal_archive=str(wal))
    cluster = private_cluster(settings)
    assert cluster is not None
    cluster.start(memory=_MEMORY)
    upgrade(settings)
    fill(settings, store)
    back_up(settings, backup, base=True, results=True, hips=False, tell=told)
    close(settings, "n000/toy00003.fits")
    time.sleep(1.1)
    moment = datetime.now(UTC)
    time.sleep(1.1)
    close(settings, "n000/toy00004.fits")
    cluster.stop()  # its last WAL is archived then
    shutil.rmtree(home)

    with pytest.raises(ConfigError, match="--until wants archived WAL"):
        restore(home, backup, until=moment, wal=None, tell=told)
    with pytest.raises(ConfigError, match="before configured recovery target was reached"):
        restore(home, backup, until=datetime(2100, 1, 1, tzinfo=UTC), wal=wal, tell=told)
    assert not home.exists()
    done = restore(home, backup, until=moment, wal=wal, tell=told)
    assert done.problems == []
    Cluster(home).start(memory=_MEMORY)
    again = load_settings(home)
    assert states(again) == {
        ("n001/toy00012.fits", "withdrawn"), ("n000/toy00003.fits", "withdrawn"),
    }  # fmt: skip
    assert faults(again) == []
    close(again, "n000/toy00005.fits")  # it takes changes
    Cluster(home).stop()
    shutil.rmtree(wal)


@pytest.fixture
def given(server: str, home: Path, store: Path) -> Iterator[Settings]:
    """An archive in a database that somebody else runs."""
    with fresh_database(server) as url:
        initialise(home)
        with (home / "settings.toml").open("a") as file:
            file.write(f"database_url = {json.dumps(url)}\n")
        settings = load_settings(home)
        upgrade(settings)
        fill(settings, store)
        yield settings


def test_a_backup_is_whole_for_its_owner_alone_and_never_overwritten(
    given: Settings, backup: Path
) -> None:
    back_up(given, backup, base=False, results=False, hips=False, tell=told)
    for file in (backup, *backup.rglob("*")):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)
    assert verify(backup).results is False
    with pytest.raises(ConfigError, match=r"is there already; a backup never overwrites"):
        back_up(given, backup, base=False, results=False, hips=False, tell=told)
    other = backup.with_name("other.backup")
    with pytest.raises(ConfigError, match="database_url is set"):
        back_up(given, other, base=True, results=False, hips=False, tell=told)
    assert list(backup.parent.glob("*other.backup*")) == []  # nothing half-done


def test_what_is_wrong_with_a_backup_is_named(given: Settings, backup: Path) -> None:
    back_up(given, backup, base=False, results=True, hips=False, tell=told)
    target = backup.with_name("target")
    dump = backup / "database.dump"
    content = dump.read_bytes()
    dump.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"database\.dump: is damaged"):
        restore(target, backup, until=None, wal=None, tell=told)
    dump.unlink()
    with pytest.raises(ConfigError, match=r"database\.dump: is missing"):
        restore(target, backup, until=None, wal=None, tell=told)
    dump.write_bytes(content)
    (backup / "more").touch()
    with pytest.raises(ConfigError, match="more: is not of this backup"):
        verify(backup)
    (backup / "more").unlink()
    with pytest.raises(ConfigError, match="knows one moment only"):
        restore(target, backup, until=datetime.now(UTC), wal=None, tell=told)
    (backup / "MANIFEST.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not the manifest of a backup"):
        verify(backup)
    assert not target.exists()


def test_a_restore_overwrites_neither_a_directory_nor_a_database(
    given: Settings, backup: Path
) -> None:
    back_up(given, backup, base=False, results=True, hips=False, tell=told)
    with pytest.raises(ConfigError, match="is not empty; a restore never overwrites"):
        restore(given.home, backup, until=None, wal=None, tell=told)
    target = backup.with_name("target")
    with pytest.raises(ConfigError, match="an archive is in that database already"):
        restore(target, backup, until=None, wal=None, tell=told)
    assert not target.exists()
    assert faults(given) == []


def test_a_dump_goes_into_another_database_that_is_given(
    given: Settings, backup: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(given, backup, base=False, results=True, hips=False, tell=told)
    target = backup.with_name("target")
    with empty_database(server) as url:
        monkeypatch.setenv("VO_DATABASE_URL", url)
        done = restore(target, backup, until=None, wal=None, tell=told)
        assert (done.count, done.problems) == (19, [])
        there = settings_at(url, target)
        assert states(there) == states(given)
        with psycopg.connect(make_conninfo(url, options="-c role=vo_reader")) as reader:
            count = reader.execute("SELECT count(*) FROM ivoa.obscore").fetchone()
        assert count == (19,)
    shutil.rmtree(target)
