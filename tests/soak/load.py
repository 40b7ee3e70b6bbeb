"""The load: what clients and the operator of an archive do, each with its answers known before.

An activity is a function called again and again by a thread of its own. A complete answer must
be the known one, byte for byte; errors are counted; a job that was accepted must end with its
result.
"""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlencode

import httpx
from lxml import etree

from tests.archive.toy import toy_file, write_toys
from tests.jobs.client import UWS
from tests.soak.place import Place
from tests.soak.tally import Tally

OAI = "{http://www.openarchives.org/OAI/2.0/}"

_STABLE = "obs_collection IN ('tomoe', 'subaru', 'triccs')"

QUERIES = [
    "SELECT obs_publisher_did, s_ra, s_dec, access_url FROM ivoa.obscore WHERE "
    f"{_STABLE} ORDER BY obs_publisher_did",
    "SELECT obs_id, t_min FROM ivoa.obscore WHERE "
    "1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(149.4, 69.6, 3)) ORDER BY obs_publisher_did, t_min",
    "SELECT instrument_name, COUNT(*) AS n, MIN(t_min) AS earliest FROM ivoa.obscore "
    f"WHERE {_STABLE} GROUP BY instrument_name ORDER BY instrument_name",
    "SELECT a.obs_id, COUNT(*) AS n FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON "
    "1 = CONTAINS(POINT(b.s_ra, b.s_dec), CIRCLE(a.s_ra, a.s_dec, 1.5)) "
    "WHERE a.obs_collection = 'tomoe' AND b.obs_collection = 'tomoe' "
    "GROUP BY a.obs_id ORDER BY a.obs_id",
    "SELECT table_name FROM tap_schema.tables ORDER BY table_name",
]

_ENDED = {"COMPLETED", "ERROR", "ABORTED", "ARCHIVED"}


def _hash(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Load:
    """All activities on one archive."""

    def __init__(self, place: Place, tally: Tally, seed: int) -> None:
        self._place = place
        self._tally = tally
        self._root = place.settings.root_url
        self._seed = seed
        self._simple = [
            "/sia2/query?POS=CIRCLE+149.4+69.6+3&RESPONSEFORMAT=csv",
            "/sia2/query?TARGET=M81&RESPONSEFORMAT=csv",
            "/scs/ivoa.obscore?RA=149.4&DEC=69.6&SR=0.5&RESPONSEFORMAT=csv",
            "/tap/tables",
        ]
        self._known: dict[str, str] = {}
        self._files: list[tuple[str, str, int]] = []
        self._records: set[str] = set()
        self._frames = 20
        self.jobs: deque[tuple[str, str]] = deque()
        self.handed_in = 0
        self.ended = 0

    def learn(self) -> None:
        """Ask everything once, while nothing is disturbed: these are the right answers."""
        with httpx.Client(timeout=60) as http:
            dids = http.get(f"{self._root}/tap/sync", params=_sync(QUERIES[0])).text.splitlines()
            for line in dids[1::40]:
                did = urlencode({"ID": line.partition(",")[0]})
                self._simple.append(f"/datalink/links?{did}")
            for place in self._simple:
                first, again = (http.get(self._root + place) for _ in range(2))
                assert first.status_code == 200, (place, first.text[:300])
                assert first.content == again.content, place
                self._known[place] = _hash(first.content)
            for query in QUERIES:
                answer = http.get(f"{self._root}/tap/sync", params=_sync(query))
                assert answer.status_code == 200, answer.text
                self._known[query] = _hash(answer.content)
            self._records = self._harvest(http) or set()
        assert self._records
        for link in sorted(self._place.settings.public.rglob("*")):
            if link.is_symlink() and "toy" not in link.parts:
                name = link.relative_to(self._place.settings.public).as_posix()
                content = link.read_bytes()
                self._files.append((name, _hash(content), len(content)))
        assert len(self._files) > 100

    def activities(self) -> dict[str, tuple[float, object]]:
        """Names, seconds between two calls on average, and what to call."""
        return {
            "TAP sync": (1.5, self.tap_sync),
            "TAP async": (4.0, self.tap_async),
            "SIA2, DataLink and others": (2.0, self.simple),
            "download": (1.5, self.download),
            "bundle": (6.0, self.bundle),
            "OAI-PMH harvest": (20.0, self.harvest),
            "ingest and release": (30.0, self.ingest),
            "withdraw and undo": (45.0, self.withdraw),
        }

    def tap_sync(self, http: httpx.Client, dice: random.Random) -> None:
        query = dice.choice(QUERIES)
        self._compare(http, "TAP sync", query, f"{self._root}/tap/sync", _sync(query))

    def simple(self, http: httpx.Client, dice: random.Random) -> None:
        place = dice.choice(self._simple)
        self._compare(http, "SIA2, DataLink and others", place, self._root + place, None)

    def _compare(
        self, http: httpx.Client, kind: str, key: str, url: str, params: dict[str, str] | None
    ) -> None:
        begin = time.perf_counter()
        answer = http.get(url, params=params)
        if answer.status_code != 200:
            self._fault(kind, answer)
        elif _hash(answer.content) != self._known[key]:
            self._tally.breach(f"{kind}: wrong bytes ({len(answer.content)}) for {key}")
        else:
            self._tally.good(kind, time.perf_counter() - begin, len(answer.content))

    def _fault(self, kind: str, answer: httpx.Response) -> None:
        self._tally.failed(kind, answer)
        if answer.status_code not in {429, 503}:
            self._tally.breach(f"{kind}: {answer.status_code} {answer.text[:200]!r}")

    def download(self, http: httpx.Client, dice: random.Random) -> None:
        """A file, whole or in ranges; broken off, it is resumed."""
        name, known, size = dice.choice(self._files)
        url, kind = f"{self._root}/data/{name}", "download"
        begin, got, etag = time.perf_counter(), b"", ""
        for _ in range(20):
            headers = {"Range": f"bytes={len(got)}-", "If-Range": etag} if got else {}
            if not got and dice.random() < 0.5:
                headers = {"Range": f"bytes=0-{dice.randrange(size)}"}
            try:
                with http.stream("GET", url, headers=headers) as answer:
                    if answer.status_code not in {200, 206}:
                        answer.read()
                        self._fault(kind, answer)
                        time.sleep(1.0)
                        continue
                    etag = answer.headers["etag"]
                    got = got if answer.status_code == 206 else b""
                    for part in answer.iter_bytes():
                        got += part
            except httpx.HTTPError as error:
                self._tally.failed(kind, error)
                time.sleep(1.0)
            if len(got) >= size:
                break
        if len(got) < size:
            self._tally.bad(kind, "not whole after 20 tries")
        elif _hash(got) != known:
            self._tally.breach(f"download: wrong bytes of {name}")
        else:
            self._tally.good(kind, time.perf_counter() - begin, size)

    def bundle(self, http: httpx.Client, dice: random.Random) -> None:
        """A tar of some files, which must hold each of them right."""
        chosen = dice.sample(self._files, 4)
        begin = time.perf_counter()
        answer = http.post(
            f"{self._root}/bundles/sync", data={"PATH": "\n".join(name for name, _, _ in chosen)}
        )
        if answer.status_code != 200:
            self._fault("bundle", answer)
            return
        for name, known in _members(answer.content).items():
            expected = {n.rsplit("/", 1)[-1]: md5 for n, md5, _ in chosen}
            if expected.pop(name, known) != known:
                self._tally.breach(f"bundle: wrong bytes of {name}")
        if not {n.rsplit("/", 1)[-1] for n, _, _ in chosen} <= _members(answer.content).keys():
            self._tally.breach("bundle: a file is missing")
        self._tally.good("bundle", time.perf_counter() - begin, len(answer.content))

    def harvest(self, http: httpx.Client, dice: random.Random) -> None:
        begin = time.perf_counter()
        found = self._harvest(http)
        if found is None:
            return
        if found != self._records:
            self._tally.breach(f"OAI-PMH: {len(found)} records, not {len(self._records)}")
        self._tally.good("OAI-PMH harvest", time.perf_counter() - begin)

    def _harvest(self, http: httpx.Client) -> set[str] | None:
        wanted = {"verb": "ListRecords", "metadataPrefix": "ivo_vor"}
        found: set[str] = set()
        while wanted:
            answer = http.get(f"{self._root}/oai", params=wanted)
            if answer.status_code != 200:
                self._fault("OAI-PMH harvest", answer)
                return None
            tree = etree.fromstring(answer.content)
            found |= {str(e.text) for e in tree.iter(f"{OAI}identifier")}
            token = tree.findtext(f".//{OAI}resumptionToken")
            wanted = {"verb": "ListRecords", "resumptionToken": token} if token else {}
        return found

    def tap_async(self, http: httpx.Client, dice: random.Random) -> None:
        """Hand a job in, and look at the one that waits longest."""
        query = dice.choice(QUERIES)
        begin = time.perf_counter()
        answer = http.post(f"{self._root}/tap/async", data=_sync(query) | {"PHASE": "RUN"})
        if answer.status_code == 303:
            self.handed_in += 1
            self.jobs.append((answer.headers["location"], query))
            self._tally.good("TAP async", time.perf_counter() - begin)
        else:
            self._fault("TAP async", answer)
        if len(self.jobs) > 3:
            self.look(http)

    def look(self, http: httpx.Client, *, wait_s: int = 0) -> bool:
        """Look at the first job; True if it has ended and is deleted."""
        url, query = self.jobs[0]
        answer = http.get(url, params={"WAIT": str(wait_s)})
        if answer.status_code == 404:
            self._tally.breach(f"a job is lost: {url}")
            self.jobs.popleft()
            return True
        if answer.status_code != 200:
            self._fault("job", answer)
            return False
        tree = etree.fromstring(answer.content)
        phase = tree.findtext(UWS + "phase")
        if phase not in _ENDED:
            self.jobs.rotate(-1)
            return False
        if phase == "COMPLETED":
            result = http.get(f"{url}/results/result")
            if result.status_code != 200:
                self._fault("job result", result)
                return False
            if _hash(result.content) != self._known[query]:
                self._tally.breach(f"a job's result has wrong bytes: {query}")
        else:
            why = tree.findtext(f"{UWS}errorSummary/{UWS}message")
            self._tally.breach(f"a job ended as {phase}: {why}")
        gone = http.delete(url, follow_redirects=False)
        if gone.status_code not in {200, 303}:
            self._fault("job", gone)
            return False
        self.ended += 1
        self.jobs.popleft()
        return True

    def ingest(self, http: httpx.Client, dice: random.Random) -> None:
        """New frames come, are taken in and published."""
        begin = time.perf_counter()
        new = range(self._frames, self._frames + 3)
        self._frames += 3
        write_toys(self._place.store, new)
        status, said = self._place.run("ingest", "toy", str(self._place.store))
        if status:
            self._tally.bad("ingest and release", _why(status, said))
        else:
            self._tally.good("ingest and release", time.perf_counter() - begin)

    def withdraw(self, http: httpx.Client, dice: random.Random) -> None:
        """A frame is taken back, cannot be had, is put back, and is there again."""
        kind, begin = "withdraw and undo", time.perf_counter()
        file = toy_file(self._place.store, dice.randrange(20))
        name = f"toy/{file.relative_to(self._place.store).as_posix()}"
        for words, expected in (([], 404), (["--undo"], 200)):
            status, said = self._place.run("withdraw", name, "--reason", "soak", "-y", *words)
            if status:
                self._tally.bad(kind, _why(status, said))
                return
            answer = http.get(f"{self._root}/data/{name}")
            if answer.status_code in {429, 503}:
                self._tally.failed(kind, answer)
            elif answer.status_code != expected:
                self._tally.breach(
                    f"{name} answers {answer.status_code} after {words or 'withdraw'}"
                )
            elif expected == 200 and answer.content != Path(file).read_bytes():
                self._tally.breach(f"wrong bytes of {name}")
        self._tally.good(kind, time.perf_counter() - begin)


def _sync(query: str) -> dict[str, str]:
    return {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", "MAXREC": "10000"}


def _why(status: int, said: str) -> str:
    if status == -9:
        return "killed"
    return (said.strip().splitlines() or ["nothing said"])[-1][:120]


def _members(tar: bytes) -> dict[str, str]:
    """MD5 of the members of a tar archive, by the last part of their names."""

    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            if file := archive.extractfile(member):
                found[member.name.rsplit("/", 1)[-1]] = _hash(file.read())
    return found
