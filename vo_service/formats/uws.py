"""Documents of UWS 1.1: a job, a list of jobs, parameters, results.

Source: UWS 1.1, "Objects within a UWS" and its schema (whose namespace ends in v1.0).
Written with lxml: vo-models 0.5 wants a class for each set of parameter names and holds no
elements in jobInfo. Times are UTC with Z.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from lxml import etree

from vo_service.formats.xmltext import add, document, legal
from vo_service.model.job import Job, Parameter

__all__ = [
    "by_reference",
    "job_document",
    "job_facts",
    "job_list",
    "parameter_list",
    "result_list",
    "timestamp",
]

_UWS = "http://www.ivoa.net/xml/UWS/v1.0"
_XLINK = "http://www.w3.org/1999/xlink"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NAMESPACES = {"uws": _UWS, "xlink": _XLINK, "xsi": _XSI}
_HREF = f"{{{_XLINK}}}href"
_NIL = f"{{{_XSI}}}nil"
_VERSION = "1.1"


def timestamp(moment: datetime | None) -> str | None:
    """A time as UWS writes it: ``2027-01-31T12:00:00.000Z``."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_document(job: Job, url: str) -> bytes:
    """A job as a whole; *url* is its own address."""
    root = _root("job", version=_VERSION)
    _add(root, "jobId", job.job_id)
    if job.run_id is not None:
        _add(root, "runId", job.run_id)
    _nillable(root, "ownerId", job.owner)
    _add(root, "phase", job.phase)
    _nillable(root, "quote", timestamp(job.quote))
    _add(root, "creationTime", timestamp(job.created))
    _nillable(root, "startTime", timestamp(job.started))
    _nillable(root, "endTime", timestamp(job.ended))
    _add(root, "executionDuration", str(job.execution_duration))
    _nillable(root, "destruction", timestamp(job.destruction))
    _fill_parameters(_add(root, "parameters"), job, url)
    _fill_results(_add(root, "results"), job, url)
    if job.failure is not None:
        kind = "transient" if job.failure.transient else "fatal"
        summary = _add(root, "errorSummary", type=kind, hasDetail="true")
        _add(summary, "message", job.failure.message)
    _add_info(root, job)
    return document(root)


def job_list(jobs: Iterable[Job], url: str) -> bytes:
    """References to jobs; *url* is the address of the list."""
    root = _root("jobs", version=_VERSION)
    for job in jobs:
        reference = _add(root, "jobref", id=job.job_id, **{_HREF: f"{url}/{job.job_id}"})
        _add(reference, "phase", job.phase)
        if job.run_id is not None:
            _add(reference, "runId", job.run_id)
        _nillable(reference, "ownerId", job.owner)
        _add(reference, "creationTime", timestamp(job.created))
    return document(root)


def parameter_list(job: Job, url: str) -> bytes:
    """The parameters of a job; *url* is the address of the job."""
    root = _root("parameters")
    _fill_parameters(root, job, url)
    return document(root)


def result_list(job: Job, url: str) -> bytes:
    """The results of a job; *url* is the address of the job."""
    root = _root("results")
    _fill_results(root, job, url)
    return document(root)


def _fill_parameters(parent: etree._Element, job: Job, url: str) -> None:
    for given in job.parameters:
        if by_reference(given):
            place = f"{url}/parameters/{quote(given.name, safe='')}"
            _add(parent, "parameter", place, id=given.name, byReference="true")
        else:
            _add(parent, "parameter", given.value, id=given.name)


def by_reference(given: Parameter) -> bool:
    """Whether a document only points to a value: inline parts, and text that XML cannot hold."""
    return given.part is not None or legal(given.value) != given.value


def _fill_results(parent: etree._Element, job: Job, url: str) -> None:
    for result in job.results:
        _add(
            parent,
            "result",
            id=result.name,
            size=str(result.size),
            **{_HREF: f"{url}/results/{result.name}", "mime-type": result.media_type},
        )


def job_facts(job: Job) -> dict[str, str]:
    """What UWS has no element for: expectations, progress, the queue."""
    expected = job.estimate
    facts = {
        "estimatedRows": expected and f"{expected.rows:.0f}",
        "estimatedCost": expected and f"{expected.cost:.0f}",
        "partitionsRead": expected and expected.partitions_read,
        "partitions": expected and expected.partitions,
        "lane": job.lane,
        "attempts": job.attempts or None,
        "rowsWritten": job.rows_written if job.started else None,
        "bytesWritten": job.bytes_written if job.started else None,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _add_info(root: etree._Element, job: Job) -> None:
    if facts := job_facts(job):
        info = _add(root, "jobInfo")
        for name, value in facts.items():
            add(info, name, value)


def _root(name: str, **attributes: str) -> etree._Element:
    return etree.Element(f"{{{_UWS}}}{name}", attributes, nsmap=_NAMESPACES)


def _add(
    parent: etree._Element, name: str, text: str | None = None, **attributes: str
) -> etree._Element:
    return add(parent, f"{{{_UWS}}}{name}", text, **attributes)


def _nillable(parent: etree._Element, name: str, text: str | None) -> None:
    if text is None:
        _add(parent, name, **{_NIL: "true"})
    else:
        _add(parent, name, text)
