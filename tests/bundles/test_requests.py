"""Requests of 2.64 TB: what they come to, and every byte of the archive in its place."""

from __future__ import annotations

import csv
import io
import random
import tarfile

import httpx
import pytest

from tests.bundles.archive import FRAMES, TOTAL, Frame, frame_bytes, large_frames, odd_frames
from tests.bundles.conftest import Served
from tests.jobs.client import HREF, UWS, Remote

LARGE = large_frames()
OPEN = [frame for frame in odd_frames() if frame.state == "public"]


def ask(http: httpx.Client, **form: str | list[str]) -> Remote:
    answer = http.post("/async", data={"PHASE": "RUN", **form})
    assert answer.status_code == 303, answer.text
    job = Remote(http, answer.headers["location"])
    job.wait("COMPLETED")
    return job


@pytest.fixture(scope="module")
def whole(http: httpx.Client) -> Remote:
    """A request for all large frames."""
    return ask(http, ID="\n".join(frame.did for frame in LARGE))


@pytest.fixture(scope="module")
def odd(http: httpx.Client) -> Remote:
    """A request for all small frames."""
    return ask(http, PATH="\n".join(frame.name for frame in odd_frames()))


class Expected:
    """The archive of a request, put together with Python's tarfile from what it must hold."""

    def __init__(self, job: Remote, frames: list[Frame]) -> None:
        self.lists = {
            "MANIFEST.csv": job.http.get(f"{job.url}/results/manifest").content,
            "MD5SUMS": job.http.get(f"{job.url}/results/md5").content,
        }
        head = job.http.get(f"{job.url}/results/tar", headers={"Range": "bytes=0-511"}).content
        self.prefix = tarfile.TarInfo.frombuf(head, "utf-8", "strict").name.partition("/")[0]
        self.spans: list[tuple[int, bytes | Frame, int]] = []
        self.size = 0
        newest = max(frame.mtime for frame in frames)
        for name, text in self.lists.items():
            self._add(name, len(text), newest, text)
        for frame in sorted(frames, key=lambda frame: frame.name):
            self._add(frame.name, frame.size, frame.mtime, frame)
        end = bytes(1024 + -(self.size + 1024) % 10240)
        self._put(end, len(end))

    def _add(self, name: str, size: int, mtime: int, content: bytes | Frame) -> None:
        info = tarfile.TarInfo(f"{self.prefix}/{name}")
        info.size, info.mtime = size, mtime
        header = info.tobuf(tarfile.PAX_FORMAT)
        self._put(header, len(header))
        self._put(content, size)
        self._put(bytes(-size % 512), -size % 512)

    def _put(self, content: bytes | Frame, size: int) -> None:
        self.spans.append((self.size, content, size))
        self.size += size

    def read(self, start: int, end: int) -> bytes:
        found = []
        for position, content, size in self.spans:
            low, high = max(start - position, 0), min(end - position, size)
            if low < high:
                if isinstance(content, bytes):
                    found.append(content[low:high])
                else:
                    found.append(frame_bytes(content, low, high))
        return b"".join(found)


def get(job: Remote, start: int, end: int, **headers: str) -> httpx.Response:
    ranged = {"Range": f"bytes={start}-{end - 1}", **headers}
    return job.http.get(f"{job.url}/results/tar", headers=ranged)


def test_486_frames_of_2_64_tb_announce_their_size(http: httpx.Client, whole: Remote) -> None:
    expected = Expected(whole, LARGE)
    head = http.head(f"{whole.url}/results/tar")
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == expected.size > TOTAL
    assert head.headers["content-type"] == "application/x-tar"
    assert head.headers["accept-ranges"] == "bytes"


def test_any_range_of_2_64_tb_holds_the_bytes_of_tarfile(whole: Remote) -> None:
    expected = Expected(whole, LARGE)
    dice = random.Random(4)
    places = [0, expected.size - 3000, expected.size // 2]
    places += [dice.randrange(expected.size) for _ in range(20)]
    # Around the ends of members, and the marks in the middle of frames.
    for position, content, size in dice.sample(expected.spans, 40):
        places.append(max(position - dice.randrange(700), 0))
        if isinstance(content, Frame):
            places.append(position + size // 2 - 10)
    for start in places:
        end = min(start + dice.randrange(1, 5000), expected.size)
        answer = get(whole, start, end)
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{expected.size}"
        assert answer.content == expected.read(start, end), (start, end)


def test_a_chain_of_resumed_downloads_is_the_archive(odd: Remote) -> None:
    expected = Expected(odd, OPEN)
    dice = random.Random(7)
    whole = odd.http.get(f"{odd.url}/results/tar")
    assert whole.content == expected.read(0, expected.size)
    got, tag = b"", whole.headers["etag"]
    while len(got) < expected.size:
        end = min(len(got) + dice.randrange(1, 4000), expected.size)
        answer = get(odd, len(got), end, **{"If-Range": tag})
        assert answer.status_code == 206
        got += answer.content
    assert got == whole.content
    with tarfile.open(fileobj=io.BytesIO(got)) as tar:
        found = {info.name: info for info in tar}
        for frame in OPEN:
            info = found[f"{expected.prefix}/{frame.name}"]
            content = tar.extractfile(info)
            assert content is not None
            assert content.read() == frame_bytes(frame, 0, frame.size)


def test_another_archive_is_sent_whole_however_it_is_resumed(odd: Remote) -> None:
    answer = get(odd, 100, 200, **{"If-Range": '"another"'})
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"])


def test_a_job_lists_all_its_results(whole: Remote) -> None:
    results = whole.xml("/results").findall(UWS + "result")
    names = [str(result.get("id")) for result in results]
    assert names == ["tar", "manifest", "md5", "urls", "aria2", "curl", "python"]
    for result in results[1:]:
        answer = whole.http.get(str(result.get(HREF)))
        assert len(answer.content) == int(str(result.get("size")))
        assert answer.headers["content-type"].startswith(str(result.get("mime-type")))


def test_the_manifest_says_what_is_left_out_and_why(odd: Remote) -> None:
    text = odd.http.get(f"{odd.url}/results/manifest").content.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    found = {row["path"]: row for row in rows if row["path"]}
    assert set(found) == {frame.name for frame in OPEN}
    for frame in OPEN:
        row = found[frame.name]
        assert (row["obs_publisher_did"], row["size"]) == (frame.did, str(frame.size))
        assert row["md5"] == frame.md5
        assert odd.http.get(row["access_url"]).content == frame_bytes(frame, 0, frame.size)
    reasons = {row["obs_publisher_did"]: row["remark"] for row in rows if not row["path"]}
    assert reasons == {
        "odd/arrived.fits": "not here: proprietary; it will be released on 2099-01-31",
        "odd/withdrawn.fits": "not here: withdrawn",
        "odd/header.fits": "not here: only its header is kept here, the file is elsewhere",
    }


def test_a_query_an_exposure_and_identifiers_are_joined(http: httpx.Client) -> None:
    query = "SELECT obs_id, obs_publisher_did FROM ivoa.obscore WHERE obs_id = 'exp-3'"
    job = ask(http, QUERY=query, OBS_ID="exp-2", ID=[LARGE[29].did, LARGE[0].did])
    text = http.get(f"{job.url}/results/urls").text.splitlines()
    wanted = [frame for frame in LARGE if frame.number // 10 in (2, 3) or frame.number == 1]
    assert len(text) == 21
    assert sorted(text) == sorted(
        f"{str(http.base_url).removesuffix('/bundles/')}/data/{frame.name}" for frame in wanted
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "nothing is selected: expected ID, PATH, OBS_ID or QUERY"),
        ({"ID": "ivo://nowhere/x?y"}, "ivo://nowhere/x?y: nothing here has this name"),
        ({"PATH": "odd/withdrawn.fits"}, "odd/withdrawn.fits: withdrawn"),
        ({"QUERY": "SELECT obs_id FROM ivoa.obscore"}, "selects the column obs_publisher_did"),
        ({"QUERY": "SELECT nothing FROM ivoa.obscore"}, "line 1, column 8"),
        ({"OBS_ID": "exp'; --"}, "OBS_ID: nothing here has such an obs_id"),
        ({"ID": "a\x01b"}, "U+0001"),
        ({"ID": "x", "HEADER": "none"}, "HEADER='none': expected one of original, corrected"),
    ],
)
def test_what_comes_to_nothing_is_refused_in_words(
    http: httpx.Client, form: dict[str, str], said: str
) -> None:
    answer = http.post("/sync", data=form)
    assert answer.status_code in (400, 403, 404)
    assert said in answer.text
    answer = http.post("/async", data={"PHASE": "RUN", **form})
    job = Remote(http, answer.headers["location"])
    job.wait("ERROR")
    assert said in (job.xml().findtext(f"{UWS}errorSummary/{UWS}message") or "")


def test_a_synchronous_request_answers_in_every_format(http: httpx.Client) -> None:
    frame = OPEN[0]
    tar = http.get("/sync", params={"ID": frame.did})
    assert tar.headers["content-length"] == str(len(tar.content))
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        assert archive.getnames() == [
            "bundle/MANIFEST.csv",
            "bundle/MD5SUMS",
            f"bundle/{frame.name}",
        ]
    url = f"{str(http.base_url).removesuffix('/bundles/')}/data/{frame.name}"
    said = {
        "urls": f"{url}\n",
        "aria2": f"{url}\n  out={frame.name}\n  checksum=md5={frame.md5}\n",
        "md5": f"{frame.md5}  {frame.name}\n",
    }
    for name, text in said.items():
        answer = http.get("/sync", params={"PATH": url, "RESPONSEFORMAT": name})
        assert answer.text == text


def test_jobs_of_bundles_and_of_tap_do_not_see_each_other(
    http: httpx.Client, served: Served, odd: Remote
) -> None:
    tap = f"http://localhost:{served.settings.port}/tap/async"
    job_id = odd.url.rpartition("/")[2]
    assert http.get(f"{tap}/{job_id}").status_code == 404
    assert job_id not in http.get(tap).text
    assert job_id in http.get("/async").text


def test_pages_have_what_people_need(http: httpx.Client, whole: Remote) -> None:
    page = http.get(whole.url, headers={"Accept": "text/html"}).text
    assert f"{FRAMES} files, 2.64 TB" in page
    assert f"curl -f -C - -o {Expected(whole, LARGE).prefix}.tar {whole.url}/results/tar" in page
    assert whole.element("destruction") in page  # type: ignore[operator]  # it is there
    form = http.get("/", headers={"Accept": "text/html"}).text
    assert "<textarea" in form
