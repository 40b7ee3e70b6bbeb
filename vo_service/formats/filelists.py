"""A bundle as lists: a manifest, checksums, and what download programs read.

Source: the manuals of md5sum (coreutils), wget (``--input-file``), aria2 ("Input File") and
curl (``--config``); RFC 4180 for the manifest. Sizes are bytes. Paths are relative; none of
them is trusted: what would begin a new line or leave the directory is written so that it cannot.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from string import Template

from vo_service.model.bundle import LeftOut

__all__ = [
    "ListedFile",
    "aria2_list",
    "curl_config",
    "manifest",
    "md5sums",
    "python_script",
    "url_list",
]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file and where it is to be had; *size* and *md5* where they are known."""

    path: str
    did: str
    size: int | None
    md5: str | None
    url: str
    remark: str = ""


def manifest(files: Iterable[ListedFile], left_out: Iterable[LeftOut]) -> Iterator[str]:
    """A table of the files, and of what was asked for and is not here, as CSV."""
    row = _Line()
    yield row.of("path", "obs_publisher_did", "size", "md5", "access_url", "remark")
    for file in files:
        yield row.of(file.path, file.did, file.size, file.md5, file.url, file.remark)
    for missing in left_out:
        yield row.of("", missing.asked, "", "", "", f"not here: {missing.reason}")


def md5sums(files: Iterable[ListedFile]) -> Iterator[str]:
    """What ``md5sum -c`` reads: the files whose checksums are known."""
    for file in files:
        if file.md5 is None:
            continue
        path = file.path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        yield f"{'' if path == file.path else chr(92)}{file.md5}  {path}\n"


def url_list(files: Iterable[ListedFile]) -> Iterator[str]:
    """One address a line, for ``wget -i`` and most others."""
    for file in files:
        yield f"{file.url}\n"


def aria2_list(files: Iterable[ListedFile]) -> Iterator[str]:
    """Input for ``aria2c -i``: it names the files and checks their MD5."""
    for file in files:
        checksum = f"  checksum=md5={file.md5}\n" if file.md5 else ""
        yield f"{file.url}\n  out={_one_line(file.path)}\n{checksum}"


def curl_config(files: Iterable[ListedFile]) -> Iterator[str]:
    """Input for ``curl -K``: it makes directories and goes on where it stopped."""
    yield "# curl -K FILE; run again, it goes on where it stopped\ncreate-dirs\nfail\n"
    yield 'location\ncontinue-at = "-"\nretry = 5\n'
    for file in files:
        path = _one_line(file.path).replace("\\", "\\\\").replace('"', '\\"')
        yield f'url = "{file.url}"\noutput = "{path}"\n'


def _one_line(path: str) -> str:
    """A path without what ends a line in these lists."""
    return "".join(letter if letter.isprintable() else "_" for letter in path)


class _Line:
    """CSV, a line at a time."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self._writer = csv.writer(self._out, lineterminator="\n")

    def of(self, *values: object) -> str:
        self._writer.writerow(values)
        line = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return line


_SCRIPT = Template('''\
"""Fetch the files of a bundle; run again, it goes on where it stopped. Needs pyvo."""

import csv
import hashlib
import io
from pathlib import Path

from pyvo.utils.http import create_session

MANIFEST = "$manifest"

session = create_session()
# Of files that are not public: session.headers["Authorization"] = "Bearer YOUR-TOKEN"

answer = session.get(MANIFEST)
answer.raise_for_status()
for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8"), newline="")):
    if not row["path"]:
        print(row["obs_publisher_did"], row["remark"])
        continue
    target, size = Path(row["path"]), int(row["size"] or -1)
    target.parent.mkdir(parents=True, exist_ok=True)
    have = target.stat().st_size if target.exists() else 0
    if have < size or have == 0:
        headers = {"Range": f"bytes={have}-"} if have else {}
        with session.get(row["access_url"], headers=headers, stream=True) as answer:
            answer.raise_for_status()
            with target.open("ab" if answer.status_code == 206 else "wb") as out:
                for chunk in answer.iter_content(1 << 20):
                    out.write(chunk)
    if row["md5"]:
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != row["md5"]:
            raise SystemExit(f"{target}: MD5 is {found}, expected {row['md5']}; delete it")
    print(target)
''')


def python_script(manifest_url: str) -> str:
    """A Python script (pyvo) that fetches what the manifest at that address lists."""
    return _SCRIPT.substitute(manifest=manifest_url)
