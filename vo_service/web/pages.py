"""The first page: what this is, what it holds, and how to begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from string import Template

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vo_service.services.examples import EXAMPLES
from vo_service.settings import Settings

__all__ = ["home_page"]

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$publisher</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --link: #8ab4ff; } }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 52rem; margin: 0 auto;
  padding: 2rem 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
a { color: var(--link); } code, pre, textarea { font: .9rem/1.45 ui-monospace, monospace; }
pre, textarea { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem;
  padding: .8rem; overflow: auto; }
textarea { width: 100%; box-sizing: border-box; color: inherit; resize: vertical; }
button { font: inherit; padding: .4rem 1.1rem; border-radius: .4rem; border: 0;
  background: #2563eb; color: #fff; cursor: pointer; }
label { display: block; margin-bottom: .3rem; }
</style>
</head>
<body>
<h1>$publisher</h1>
<p>Observations of this archive, for TOPCAT, Aladin, PyVO and any browser.</p>

<h2>Ask now</h2>
<form action="tap/sync" method="post">
<input type="hidden" name="LANG" value="ADQL">
<input type="hidden" name="RESPONSEFORMAT" value="html">
<label for="query">ADQL query</label>
<textarea id="query" name="QUERY" rows="6" spellcheck="false">$query</textarea>
<p><button>Search</button>
<button formaction="tap/async" name="PHASE" value="RUN">Run as a job</button> &ensp;
<a href="tap/examples">more examples</a> &ensp;
<a href="tap/tables">all tables and columns</a></p>
</form>

<p>For programs that search images, spectra or positions without a query language:
<a href="sia2/examples">images</a> (SIA 2: <code>$root/sia2/query</code>; version 1:
<code>$root/sia/query?</code>), spectra (SSA: <code>$root/ssa/query?</code>),
<a href="scs/">cone search</a>.</p>

<p><a href="elsewhere/">What exists at a position</a>, here and at other sites.</p>

<p>Pictures of the sky for Aladin: <a href="hips/">HiPS</a>.</p>

<p>Have many files at once, as an archive or a list: <a href="bundles/">bundles</a>.</p>

<h2>TOPCAT</h2>
<p>Menu <em>VO</em>, <em>Table Access Protocol (TAP) Query</em>; TAP URL:</p>
<pre>$tap</pre>

<h2>Python</h2>
<pre>import pyvo
service = pyvo.dal.TAPService("$tap")
for row in service.search("SELECT TOP 5 * FROM ivoa.obscore"):
    print(row["target_name"], row["s_ra"], row["s_dec"], row["access_url"])</pre>

<p>Contact: $contact &ensp; <a href="login">Log in</a> (people of proposals)</p>
</body>
</html>
""")


def home_page(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of the first page."""
    page = _PAGE.substitute(
        publisher=escape(settings.publisher),
        contact=escape(settings.contact),
        root=escape(settings.root_url),
        tap=escape(f"{settings.root_url}/tap"),
        query=escape(EXAMPLES[1].query),
    )

    async def home(request: Request) -> Response:
        return HTMLResponse(page)

    return home
