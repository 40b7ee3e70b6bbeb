"""Jobs as pages for browsers: what `vo_service.formats.uws` says in XML, with buttons.

No script: buttons are forms that send what UWS 1.1, "State changing requests" has, and a page
of a job that goes on asks for itself again. Nothing that a client wrote can become markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from string import Template
from urllib.parse import quote

from vo_service.formats.uws import by_reference, job_facts, timestamp
from vo_service.formats.xmltext import legal
from vo_service.model.job import ACTIVE, RESULT, Job, Parameter, Phase, Result

__all__ = ["error_page", "job_list_page", "job_page", "page"]

#: Seconds after which the page of a job that goes on is asked for again.
_AGAIN_S = 5

#: Characters of a parameter that a page shows; the rest is behind its link.
_SHOWN = 20_000

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$again<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #2563eb;
  --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --link: #8ab4ff; --warn: #fbbf24; } }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1.5rem 1rem; }
h1 { font-size: 1.4rem; margin: .3rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
a { color: var(--link); }
pre { font: .9rem/1.45 ui-monospace, monospace; background: var(--soft); padding: .6rem .8rem;
  border: 1px solid var(--line); border-radius: .4rem; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .2rem 0; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem; margin: 0; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); }
.notice { border-left: .3rem solid var(--warn); padding: .2rem .7rem; background: var(--soft); }
form { display: inline-block; margin: .6rem .5rem .2rem 0; }
button { font: inherit; padding: .3rem 1rem; border-radius: .4rem; border: 1px solid var(--line);
  background: var(--soft); color: inherit; cursor: pointer; }
</style>
</head>
<body>
$body</body>
</html>
""")

_TIMES = (("created", "created"), ("started", "started"), ("expected end", "quote"),
          ("ended", "ended"), ("is destroyed", "destruction"))  # fmt: skip


def job_page(job: Job, url: str, results: str | None = None) -> bytes:
    """A job as a whole; *url* is its own address, *results* is what the page says of its results.

    *results* is markup; without it the results are listed.
    """
    name = job.run_id or job.job_id
    parts = [
        f'<p><a href="{_text(url.rpartition("/")[0])}">Jobs</a></p>\n',
        f"<h1>Job {_text(name)}: {job.phase}</h1>\n",
        _outcome(job, url) if results is None else results,
        *_buttons(job, url),
        "\n<h2>Request</h2>\n<dl>\n",
        *(_parameter(given, url) for given in job.parameters),
        "</dl>\n<h2>About this job</h2>\n<dl>\n",
        *_about(job),
        "</dl>\n",
    ]
    again = _AGAIN_S if job.phase in (Phase.QUEUED, Phase.EXECUTING) else None
    return page(f"{job.phase}: {name}", "".join(parts), again)


def job_list_page(jobs: Iterable[Job], url: str) -> bytes:
    """Links to jobs; *url* is the address of the list."""
    rows = [
        f'<tr><td><a href="{_text(url)}/{job.job_id}">{_text(job.run_id or job.job_id)}</a></td>'
        f"<td>{job.phase}</td><td>{timestamp(job.created)}</td></tr>\n"
        for job in jobs
    ]
    table = (
        "<table>\n<thead><tr><th>Job</th><th>Phase</th><th>Created</th></tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
    )
    none = (
        "<p>There are no jobs to show. Jobs of clients whose name is not known are not listed: "
        "they are found at the address that was given when they were made.</p>\n"
    )
    return page("Jobs", f"<h1>Jobs</h1>\n{table if rows else none}")


def error_page(message: str) -> bytes:
    """What went wrong, for a reader."""
    notice = f'<p class="notice">{_text(message)}</p>'
    back = "<p>The button <em>Back</em> of the browser leads to what was asked.</p>"
    return page("This did not work", f"<h1>This did not work</h1>\n{notice}\n{back}\n")


def _outcome(job: Job, url: str) -> str:
    """The result, or why there is none."""
    if job.failure is not None:
        return f'<p class="notice">{_text(job.failure.message)}</p>\n'
    if job.results:
        return "".join(_result(result, job, url) for result in job.results)
    if job.phase in (Phase.QUEUED, Phase.EXECUTING):
        return f"<p>{job.rows_written:,} rows so far. This page looks again by itself.</p>\n"
    return ""


def _result(result: Result, job: Job, url: str) -> str:
    label, rows = f"Result {result.name}", ""
    if result.name == RESULT:
        label, rows = "Result", f"{job.rows_written:,} rows, "
    about = _text(f"{result.media_type}, {rows}{result.size:,} bytes")
    return f'<p><a href="{_text(url)}/results/{result.name}">{label}</a> ({about})</p>\n'


def _buttons(job: Job, url: str) -> list[str]:
    """What may be done with a job in its phase."""
    buttons = []
    if job.phase is Phase.PENDING:
        buttons.append(_button(f"{url}/phase", "PHASE", "RUN", "Run"))
    if job.phase in ACTIVE:
        buttons.append(_button(f"{url}/phase", "PHASE", "ABORT", "Abort"))
    buttons.append(_button(url, "ACTION", "DELETE", "Delete job and result"))
    return buttons


def _button(url: str, name: str, value: str, label: str) -> str:
    return (
        f'<form method="post" action="{_text(url)}">'
        f'<button name="{name}" value="{value}">{label}</button></form>'
    )


def _parameter(given: Parameter, url: str) -> str:
    place = f"{url}/parameters/{quote(given.name, safe='')}"
    shown = f'<a href="{_text(place)}">content</a>'
    if not by_reference(given) and len(given.value) <= _SHOWN:
        shown = f"<pre>{_text(given.value)}</pre>"
    return f"<dt>{_text(given.name)}</dt><dd>{shown}</dd>\n"


def _about(job: Job) -> Iterable[str]:
    facts = {"identifier": job.job_id, "owner": job.owner}
    facts |= {label: timestamp(getattr(job, name)) for label, name in _TIMES}
    facts |= {"may run": f"{job.execution_duration} s", **job_facts(job)}
    for name, value in facts.items():
        if value is not None:
            yield f"<dt>{name}</dt><dd>{_text(value)}</dd>\n"


def page(title: str, body: str, again_s: int | None = None) -> bytes:
    """A page; *body* is markup, *title* is not; *again_s* is when it is to be asked for again."""
    again = f'<meta http-equiv="refresh" content="{again_s}">\n' if again_s else ""
    return _PAGE.substitute(title=_text(title), body=body, again=again).encode()


def _text(text: str) -> str:
    return escape(legal(text))
