"""The page of a request for a bundle: what it came to, where it is, and commands to paste.

Built on `vo_service.formats.uwspage`; the form is what leads there. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import urlsplit

from vo_service.formats.amounts import amount
from vo_service.formats.uws import timestamp
from vo_service.formats.uwspage import job_page, page
from vo_service.model.bundle import Bundle
from vo_service.model.job import Job, Result

__all__ = ["bundle_page", "form_page"]

#: What the results are, for people.
_TITLES = {
    "tar": "All files as a tar archive",
    "manifest": "Manifest: names, identifiers, sizes, MD5, addresses",
    "md5": "Checksums for md5sum -c",
    "urls": "Addresses, one a line, for wget -i",
    "aria2": "Input for aria2c -i, with checksums",
    "curl": "Configuration for curl -K",
    "python": "Python script (PyVO)",
}


def bundle_page(job: Job, url: str, name: str, bundle: Bundle | None) -> bytes:
    """A request; *url* is its address, *name* that of the archive, *bundle* what it came to."""
    if bundle is None or not job.results:
        return job_page(job, url)
    left_out = ""
    if bundle.left_out:
        left_out = (
            f'<p class="notice">{bundle.left_out:,} of what was asked for cannot be delivered; '
            f'the <a href="{escape(url)}/results/manifest">manifest</a> says why.</p>\n'
        )
    headers = ", with corrected headers" if bundle.corrected else ""
    body = (
        f"<p><strong>{bundle.files:,} files, {amount(bundle.volume)}</strong>{headers}. Can be "
        f"fetched until {timestamp(job.destruction)}.</p>\n{left_out}"
        f"<ul>\n{''.join(_link(result, url) for result in job.results)}</ul>\n"
        f"{_commands(url, name)}"
    )
    return job_page(job, url, body)


def form_page(url: str, members_limit: int, bytes_limit: int) -> bytes:
    """Where people ask for a bundle; *url* is the address of the requests."""
    fields = "".join(
        f'<p><label for="{name}">{label}</label><br>\n'
        f'<textarea id="{name}" name="{name}" rows="{rows}" cols="80" spellcheck="false">'
        "</textarea></p>\n"
        for name, label, rows in (
            ("ID", "Identifiers (obs_publisher_did), one a line", 6),
            ("OBS_ID", "Exposures (obs_id), one a line", 3),
            ("PATH", "Files (collection/path, or addresses), one a line", 3),
            ("QUERY", "ADQL query that selects obs_publisher_did", 4),
        )
    )
    body = (
        "<h1>Many files at once</h1>\n<p>As a tar archive, or as a list for a download program. "
        f"At most {members_limit:,} files and {amount(bytes_limit)}.</p>\n"
        f'<form method="post" action="{escape(url)}" style="display: block">\n{fields}'
        '<p><label><input type="checkbox" name="HEADER" value="corrected"> with corrected '
        'headers</label></p>\n<button name="PHASE" value="RUN">Ask</button>\n</form>\n'
    )
    return page("Many files at once", body)


def _link(result: Result, url: str) -> str:
    about = f"{result.media_type}, {amount(result.size)}"
    title = escape(_TITLES.get(result.name, result.name))
    return (
        f'<li><a href="{escape(url)}/results/{escape(result.name)}">{title}</a> '
        f"({escape(about)})</li>\n"
    )


def _commands(url: str, name: str) -> str:
    results = f"{url}/results"
    before = urlsplit(url).path.partition("/bundles/")[0]
    cut = 1 + len([part for part in before.split("/") if part])
    ways: Iterable[tuple[str, str]] = (
        (
            "The archive; the same command goes on where it stopped",
            f"curl -f -C - -o {name}.tar {results}/tar\n"
            f"tar -xf {name}.tar && cd {name} && md5sum -c MD5SUMS",
        ),
        (
            "File by file: wget, curl or aria2",
            f"wget -c -x -nH --cut-dirs={cut} -i {results}/urls\n"
            f"curl -s {results}/curl | curl -K -\n"
            f"curl -s {results}/aria2 | aria2c -c -i -\n"
            f"curl -s {results}/md5 | md5sum -c",
        ),
        ("Python with PyVO", f"curl -s {results}/python | python3 -"),
    )
    shown = "".join(f"<p>{label}:</p>\n<pre>{escape(text)}</pre>\n" for label, text in ways)
    login = (
        "<p>Files that are not public need your login with each command: "
        "<code>--header 'Authorization: Bearer TOKEN'</code>.</p>\n"
    )
    return f"<h2>Commands</h2>\n{shown}{login}"
