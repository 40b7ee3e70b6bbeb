"""The command line as an operator uses it: own data directory, private cluster, real files."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from astropy.io import fits

from tests.clusters import lay_cluster
from vo_service.db.cluster import Cluster
from vo_service.db.schema import upgrade
from vo_service.demo import make_demo
from vo_service.services.setup import initialise

COMMAND = Path(sys.executable).parent / "vo-service"

#: Reads in its own process: for a handful of files, others take longer to start.
INGEST = ("ingest", "--processes", "0")
_MEMORY = 512 * 1024**2


def run(home: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VO_")}
    done = subprocess.run(
        (COMMAND, "--home", home, *arguments),
        env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def files(place: Path) -> Path:
    directory = place / "files"
    make_demo(directory, small=True)
    return directory


@pytest.fixture
def bare(place: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A place for an archive."""
    directory = place / f"h{abs(hash(request.node.name)) % 10**8}"
    yield directory
    Cluster(directory).stop()
    shutil.rmtree(directory)


@pytest.fixture
def home(bare: Path) -> Path:
    """An archive without frames, whose cluster runs."""
    settings = initialise(bare, authority="archive.example.org", publisher='The "Test" 天文台')
    lay_cluster(bare).start(memory=_MEMORY)
    upgrade(settings)
    return bare


def ask(home: Path, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host=str(Cluster(home).socket), dbname="vo", user="vo_owner") as owner:
        return owner.execute(statement.encode()).fetchall()


def consistent(home: Path) -> bool:
    """Each product has its one observation, and rows and links agree."""
    [(products, observations)] = ask(
        home,
        "SELECT (SELECT count(*) FROM archive.product WHERE current), "
        "(SELECT count(*) FROM archive.observation)",
    )
    assert products == observations
    return run(home, "check", check=False).stdout.endswith("All is well.\n")


def test_from_nothing_to_released_files(bare: Path, files: Path) -> None:
    home = bare
    run(home, "init", "--authority", "archive.example.org", "--publisher", 'The "Test" 天文台')
    assert run(home, "db", "start").stdout == "started\n"
    assert "127 files" not in run(home, "status").stdout
    first = run(home, "ingest", "tomoe", str(files / "tomoe"))
    assert first.stdout.endswith(
        "tomoe: 108 files: 108 new, 0 changed, 0 unchanged, 0 refused; 108 released.\n"
    )
    again = run(home, "ingest", "tomoe", str(files / "tomoe"))
    assert "0 new, 0 changed, 108 unchanged, 0 refused; 0 released" in again.stdout
    night = run(home, "ingest", "tomoe", str(files / "tomoe" / "2020" / "06"))
    assert "4 files: 0 new, 0 changed, 4 unchanged" in night.stdout
    assert "tomoe" in run(home, "status").stdout
    assert "108 checksums computed" in run(home, "md5").stdout
    assert "0 checksums computed" in run(home, "md5").stdout
    assert run(home, "check", "--files").stdout == "All is well.\n"
    assert ask(home, "SELECT count(*) FROM ivoa.obscore WHERE obs_publisher_did LIKE "
                     "'ivo://archive.example.org/tomoe?2020/%'") == [(108,)]  # fmt: skip


def test_frames_are_released_on_their_day_and_not_before(home: Path, files: Path) -> None:
    run(home, *INGEST, "triccs", str(files / "triccs"))
    [(waiting, day)] = ask(
        home, "SELECT count(*), min(release_date) FROM archive.product WHERE state = 'arrived'"
    )
    assert waiting == 3
    [(before,)] = ask(home, f"SELECT ('{day}'::date - 1)::text")
    assert "0 products released" in run(home, "release", "--date", str(before)).stdout
    assert "3 products released" in run(home, "release", "--date", str(day)).stdout
    assert consistent(home)


def test_refused_files_are_named_in_output_report_and_table(
    home: Path, files: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "in"
    shutil.copytree(files / "tomoe" / "2020" / "06", broken)
    (broken / "sTMQ1empty.fits").write_bytes(b"")
    (broken / "sTMQ1text.fits").write_text("SIMPLE = nonsense")
    report = tmp_path / "report.csv"
    done = run(home, *INGEST, "tomoe", str(broken), "--report", str(report), check=False)
    assert done.returncode == 1
    assert "4 new, 0 changed, 0 unchanged, 2 refused" in done.stdout
    assert f"refused: {broken / 'sTMQ1empty.fits'}" in done.stderr
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [
        str(broken / "sTMQ1empty.fits"),
        str(broken / "sTMQ1text.fits"),
    ]
    assert all(row["reason"] for row in rows)
    assert ask(home, "SELECT count(*) FROM archive.refusal") == [(2,)]
    assert consistent(home)


def test_a_changed_file_becomes_a_new_version(home: Path, files: Path, tmp_path: Path) -> None:
    store = tmp_path / "in"
    shutil.copytree(files / "tomoe" / "2020" / "05", store)
    run(home, *INGEST, "tomoe", str(store))
    changed = next(store.rglob("*.fits"))
    changed.write_bytes(changed.read_bytes() + bytes(2880))
    assert "0 new, 1 changed" in run(home, *INGEST, "tomoe", str(store)).stdout
    assert ask(home, "SELECT max(version) FROM archive.product") == [(2,)]
    assert consistent(home)


def test_header_only_files_are_found_but_have_no_address(
    home: Path, files: Path, tmp_path: Path
) -> None:
    source = next((files / "tomoe").rglob("sTMQ1*.fits"))
    header = tmp_path / "frame.hdr"
    with fits.open(source) as hdus:
        image = next(hdu.header for hdu in hdus if hdu.header.get("CTYPE1"))
        header.write_text(image.tostring(sep="\n"))
    run(home, *INGEST, "tomoe", "--headers", str(header))
    assert ask(home, "SELECT access_url, access_estsize, s_ra IS NOT NULL FROM ivoa.obscore") == [
        (None, None, True)
    ]


def test_killed_at_any_moment_an_ingest_leaves_nothing_half_done(home: Path, files: Path) -> None:
    rng = random.Random(7)
    command = (COMMAND, "--home", home, "ingest", "tomoe", files / "tomoe", "--processes", "0")
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
            time.sleep(rng.uniform(0.3, 2.0))
            it.send_signal(signal.SIGKILL)
        [(products, observations)] = ask(
            home,
            "SELECT (SELECT count(*) FROM archive.product), "
            "(SELECT count(*) FROM archive.observation)",
        )
        assert products == observations
    run(home, *INGEST, "tomoe", str(files / "tomoe"))
    assert ask(home, "SELECT count(*) FROM archive.product WHERE state = 'public'") == [(108,)]
    assert consistent(home)


def test_mistakes_are_one_line_that_says_what_to_do(home: Path) -> None:
    for arguments, said in (
        (("ingest", "nothing", "."), "there is no collection 'nothing': expected one of"),
        (("ingest", "tomoe", "/no/such/place"), "/no/such/place: No such file or directory"),
        (("serve", "--port", "99999"), "port"),
    ):
        done = run(home, *arguments, check=False)
        assert done.returncode != 0
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_place_without_an_archive_is_told_how_to_make_one(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere", "status", check=False)
    assert done.returncode == 1
    assert "make one with 'vo-service init'" in done.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port = 'x'", "port: Input should be a valid integer"),
        ("prot = 1", "prot: Extra inputs are not permitted"),
        ("maxrec_default = 99999999", "maxrec_default must not exceed maxrec_limit"),
        ("partition_bounds = [0, 10]", "must start with 0 and end with 360"),
        ("port = ", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "settings.toml").write_text(line)
    done = run(tmp_path, "status", check=False)
    assert done.returncode == 1
    assert str(tmp_path / "settings.toml") in done.stderr
    assert said in done.stderr


def test_ctrl_c_stops_server_and_cluster(place: Path) -> None:
    home = place / "demo"
    environment = os.environ | {"VO_HOME": str(home), "VO_PORT": "0"}
    with subprocess.Popen(
        (COMMAND, "demo", "--small"), env=environment, stdout=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "A browser" in line:
                break
        assert any(line.startswith("ready: http://localhost:") for line in lines), lines
        assert Cluster(home).status().running
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    assert not Cluster(home).status().running


def test_help_is_quick_and_names_every_command() -> None:
    started = time.monotonic()
    said = subprocess.run((COMMAND, "--help"), capture_output=True, text=True, check=True).stdout
    assert time.monotonic() - started < 20
    for command in ("init", "ingest", "release", "serve", "demo", "status", "check", "md5", "db"):
        assert f" {command} " in said
