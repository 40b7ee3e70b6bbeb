"""What goes with the files of a bundle, and where everything stands in its archive.

The lists are written as they are needed, a line at a time; the archive is laid out by
`vo_service.archive.bundle`. Sizes are bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from vo_service.archive.bundle import member_end, place, tar_size
from vo_service.formats.filelists import (
    ListedFile,
    aria2_list,
    curl_config,
    manifest,
    md5sums,
    python_script,
    url_list,
)
from vo_service.model.bundle import Bundle, BundleFile, Member, Selection
from vo_service.settings import Settings

__all__ = ["LISTS", "FileList", "inner_lists", "lay_out", "lists_of"]


@dataclass(frozen=True, slots=True)
class FileList:
    """A list that goes with a bundle: its media type, and the name of a file with it."""

    media_type: str
    suffix: str


#: The lists of a bundle, by the name of the result.
LISTS: Mapping[str, FileList] = {
    "manifest": FileList("text/csv", "csv"),
    "md5": FileList("text/plain", "md5"),
    "urls": FileList("text/plain", "txt"),
    "aria2": FileList("text/plain", "aria2"),
    "curl": FileList("text/plain", "curl"),
    "python": FileList("text/x-python", "py"),
}

#: Lists that are in the tar archive too, under these names.
_INSIDE = {"manifest": "MANIFEST.csv", "md5": "MD5SUMS"}


def lists_of(
    settings: Settings, selection: Selection, manifest_url: str
) -> dict[str, Callable[[], Iterator[str]]]:
    """The lists by their names, each made when it is called; *manifest_url* is for the script."""
    listed = partial(_listed, settings, selection.files)
    return {
        "manifest": lambda: manifest(listed(), selection.left_out),
        "md5": lambda: md5sums(listed()),
        "urls": lambda: url_list(listed()),
        "aria2": lambda: aria2_list(listed()),
        "curl": lambda: curl_config(listed()),
        "python": lambda: iter((python_script(manifest_url),)),
    }


def _listed(settings: Settings, files: Iterable[BundleFile]) -> Iterator[ListedFile]:
    for file in files:
        url = f"{settings.root_url}/data/{quote(file.name)}"
        if file.header_tag is not None:
            url += "?header=corrected"
        yield ListedFile(file.name, file.did, file.size, file.md5, url, file.remark)


def inner_lists(lists: Mapping[str, Callable[[], Iterator[str]]]) -> dict[str, bytes]:
    """The texts of those lists that are in the archive too."""
    return {name: "".join(lists[name]()).encode() for name in _INSIDE}


def lay_out(
    prefix: str, texts: Mapping[str, int], selection: Selection, *, corrected: bool
) -> tuple[Bundle, list[Member]]:
    """Where everything stands in the tar archive of a selection.

    Parameters
    ----------
    prefix
        Directory in which everything is, so that unpacking overwrites nothing.
    texts
        Sizes of the lists, by name.
    selection
        At least one file.
    corrected
        Whether headers are corrected, to be kept with the numbers.
    """
    newest = max((file.modified for file in selection.files), default=0)
    inside = [Member(f"{prefix}/{name}", texts[key], newest, key) for key, name in _INSIDE.items()]
    files = [
        Member(
            f"{prefix}/{file.name}", file.size or 0, file.modified, file.product_id, file.header_tag
        )
        for file in selection.here
    ]
    members = list(place([*inside, *files]))
    digest = hashlib.sha256()
    for member in members:
        digest.update(repr(member).encode())
    bundle = Bundle(
        files=len(selection.files),
        volume=selection.size,
        left_out=len(selection.left_out),
        corrected=corrected,
        tar_size=tar_size(member_end(members[-1])),
        tag=digest.hexdigest()[:32],
    )
    return bundle, members
