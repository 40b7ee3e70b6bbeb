"""`vo-service bundle`: archives, lists, directories that resume, programs."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bundles.archive import frame_bytes, large_frames, odd_frames
from tests.bundles.conftest import Served
from vo_service.cli.commands import app
from vo_service.errors import VOError

OPEN = [frame for frame in odd_frames() if frame.state == "public"]
PATHS = [word for frame in OPEN for word in ("--path", frame.name)]


@dataclass(frozen=True)
class Done:
    stdout: bytes
    stderr: bytes


def environment(served: Served) -> dict[str, str]:
    settings = served.settings
    return {
        "VO_HOME": str(settings.home),
        "VO_PORT": str(settings.port),
        "VO_DATABASE_URL": settings.database_url or "",
    }


def bundle(served: Served, *words: str, status: int = 0, text: bytes = b"") -> Done:
    """The command in this process: it imports much."""
    done = CliRunner().invoke(app, ["bundle", *words], env=environment(served), input=text)
    said = f"\nvo-service: {done.exception}\n" if isinstance(done.exception, VOError) else ""
    assert done.exit_code == status, (done.output, done.exception)
    return Done(done.stdout_bytes, done.stderr_bytes + said.encode())


def run_bundle(served: Served, *words: str, status: int = 0) -> Done:
    """The command as it is run."""
    program = Path(sys.executable).parent / "vo-service"
    done = subprocess.run(
        (program, "bundle", *words), check=False, capture_output=True,
        env=os.environ | environment(served), timeout=120,
    )  # fmt: skip
    assert done.returncode == status, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    return Done(done.stdout, done.stderr)


def test_an_archive_goes_to_a_file_and_to_a_pipe(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "it.tar"
    bundle(served, *PATHS, "-o", str(file))
    assert run_bundle(served, *PATHS, "-o", "-").stdout == file.read_bytes()
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path)  # noqa: S202 - our own, of plain files
    for frame in OPEN:
        found = (tmp_path / "bundle" / frame.name).read_bytes()
        assert found == frame_bytes(frame, 0, frame.size)


def test_copies_go_on_and_are_checked(served: Served, tmp_path: Path) -> None:
    half, wrong = OPEN[0], OPEN[1]
    (tmp_path / "odd").mkdir()
    (tmp_path / f"{half.name}.part").write_bytes(frame_bytes(half, 0, 300))
    (tmp_path / f"{wrong.name}.part").write_bytes(b"?" * 300)
    done = bundle(served, *PATHS, "--to", str(tmp_path), status=1)
    assert b"expected " + (wrong.md5 or "").encode() in done.stderr
    assert not (tmp_path / wrong.name).exists()
    done = bundle(served, *PATHS, "--to", str(tmp_path))
    assert b"1 files put into" in done.stderr
    for frame in OPEN:
        place = tmp_path / frame.name
        assert place.read_bytes() == frame_bytes(frame, 0, frame.size)
        assert not place.is_symlink()
        assert int(place.stat().st_mtime) == frame.mtime
    assert not list(tmp_path.rglob("*.part"))


def test_links_lead_to_the_files(served: Served, tmp_path: Path) -> None:
    frames = large_frames()[:20]
    text = "\n".join(frame.did for frame in frames).encode()
    for said in (b"20 files put into", b"0 files put into"):
        done = bundle(served, "-", "--to", str(tmp_path), "--link", text=text)
        assert said in done.stderr
    for frame in frames:
        place = tmp_path / frame.name
        assert place.is_symlink()
        assert place.stat().st_size == frame.size


def test_what_does_not_fit_is_said_before(served: Served, tmp_path: Path) -> None:
    ids = [frame.did for frame in large_frames()]
    done = bundle(served, *ids, "--to", str(tmp_path), status=1)
    assert b"the files need 2640000000000 more bytes" in done.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_outside_of_the_directory(served: Served, tmp_path: Path) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    place.mkdir()
    other.mkdir()
    (place / "odd").symlink_to(other)
    done = bundle(served, *PATHS, "--to", str(place), status=1)
    assert b"leads out of" in done.stderr
    assert not list(other.iterdir())


def test_a_program_gets_the_list_and_no_shell(served: Served, tmp_path: Path) -> None:
    script = "import sys; print(sys.argv[1:]); print(sys.stdin.read())"
    command = f"{sys.executable} -c {script!r} '$(touch harm); `x`'"
    done = run_bundle(served, *PATHS, "--command", command, "--to", str(tmp_path))
    first, _, rest = done.stdout.decode().partition("\n")
    assert first == "['$(touch harm); `x`']"
    rows = list(csv.DictReader(io.StringIO(rest.removesuffix("\n"), newline="")))
    assert [row["path"] for row in rows] == sorted(frame.name for frame in OPEN)
    done = bundle(served, *PATHS, "--command", "false", status=1)
    assert b"--command: false ended with status 1" in done.stderr
    done = bundle(served, *PATHS, "--command", "no-such-program", status=1)
    assert b"'no-such-program' cannot be run" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is selected"),
        (("x", "--list", "xml"), "--list 'xml': expected one of manifest, md5"),
        (("x", "--to", "/no/such"), "--to /no/such: there is no such directory"),
        (("x", "--link"), "--link belongs to --to DIRECTORY"),
        (("ivo://x/y",), "ivo://x/y: nothing here has this name"),
        (("--path", "odd/withdrawn.fits"), "odd/withdrawn.fits: withdrawn"),
    ],
)
def test_a_wrong_call_is_answered_in_words(
    served: Served, words: tuple[str, ...], said: str
) -> None:
    assert said in bundle(served, *words, status=1).stderr.decode()


def test_what_is_missing_is_told_and_ends_with_status_1(served: Served) -> None:
    done = bundle(served, "--path", OPEN[0].name, "--path", "odd/arrived.fits", status=1)
    assert b"1 files, 700 B" in done.stdout or b"1 files" in done.stdout
    assert b"odd/arrived.fits: proprietary; it will be released on 2099-01-31" in done.stderr
