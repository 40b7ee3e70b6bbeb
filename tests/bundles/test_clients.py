"""The commands that the page of a request gives, run by the programs that they are for."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import httpx
import pytest

from tests.bundles.archive import frame_bytes, large_frames, odd_frames
from tests.bundles.test_requests import ask
from tests.jobs.client import Remote

OPEN = [frame for frame in odd_frames() if frame.state == "public"]


@pytest.fixture(scope="module")
def job(http: httpx.Client) -> Remote:
    return ask(http, PATH="\n".join(frame.name for frame in OPEN))


def run(place: Path, *words: str, text: bytes = b"") -> str:
    done = subprocess.run(
        words, check=False, cwd=place, input=text, capture_output=True, timeout=60
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.decode()


def result(job: Remote, name: str) -> bytes:
    return job.http.get(f"{job.url}/results/{name}").content


def assert_all_there(place: Path) -> None:
    for frame in OPEN:
        assert (place / frame.name).read_bytes() == frame_bytes(frame, 0, frame.size)


def test_curl_goes_on_with_an_archive_where_it_stopped(job: Remote, tmp_path: Path) -> None:
    whole = result(job, "tar")
    file = tmp_path / "it.tar"
    file.write_bytes(whole[:5000])
    run(tmp_path, "curl", "-sf", "-C", "-", "-o", "it.tar", f"{job.url}/results/tar")
    assert file.read_bytes() == whole
    run(tmp_path, "tar", "-xf", "it.tar")
    with tarfile.open(file) as tar:
        top = Path(tar.getnames()[0]).parts[0]
    assert_all_there(tmp_path / top)
    said = run(tmp_path / top, "md5sum", "-c", "--quiet", "MD5SUMS")
    assert said == ""


def test_a_large_archive_resumes_after_a_kill(http: httpx.Client, tmp_path: Path) -> None:
    """25 MB of 2.64 TB in two goes."""
    job = ask(http, ID="\n".join(frame.did for frame in large_frames()))
    words = ["curl", "-sf", "-C", "-", "--limit-rate", "20M", "-o", "it.tar"]
    file, url = tmp_path / "it.tar", f"{job.url}/results/tar"
    for least in (5_000_000, 25_000_000):
        with subprocess.Popen([*words, url], cwd=tmp_path) as process:
            for _ in range(600):
                if file.exists() and file.stat().st_size >= least:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
    got = file.read_bytes()
    assert len(got) >= 25_000_000
    answer = http.get(url, headers={"Range": f"bytes=0-{len(got) - 1}"})
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(got).digest()


def test_wget_fetches_a_list_of_addresses(job: Remote, tmp_path: Path) -> None:
    if shutil.which("wget") is None:
        pytest.skip("no wget here")
    url = f"{job.url}/results/urls"
    run(tmp_path, "wget", "-q", "-c", "-x", "-nH", "--cut-dirs=1", "-i", url)
    assert_all_there(tmp_path)
    run(tmp_path, "md5sum", "-c", "--quiet", "-", text=result(job, "md5"))


def test_curl_fetches_its_configuration_and_again(job: Remote, tmp_path: Path) -> None:
    config = result(job, "curl")
    (tmp_path / "odd").mkdir()
    (tmp_path / OPEN[0].name).write_bytes(frame_bytes(OPEN[0], 0, 100))
    run(tmp_path, "curl", "-s", "-K", "-", text=config)
    assert_all_there(tmp_path)


def test_aria2_fetches_its_list(job: Remote, tmp_path: Path) -> None:
    if shutil.which("aria2c") is None:
        pytest.skip("no aria2 here")
    run(tmp_path, "aria2c", "-q", "-c", "-i", "-", text=result(job, "aria2"))
    assert_all_there(tmp_path)


def test_the_python_script_works_as_pasted_and_goes_on(job: Remote, tmp_path: Path) -> None:
    script = result(job, "python")
    (tmp_path / "odd").mkdir()
    (tmp_path / OPEN[0].name).write_bytes(frame_bytes(OPEN[0], 0, 100))
    run(tmp_path, sys.executable, "-", text=script)
    assert_all_there(tmp_path)
    run(tmp_path, sys.executable, "-", text=script)
    assert_all_there(tmp_path)
