"""Whether everything that the registry says is fit to go public, and true from here.

Files, vocabularies and records as `publish_records` would check them; besides, whether each
address that a record gives answers, and whether data sets bear identifiers of a registered
collection. Source: RI 1.1; Identifiers 2.0, "Dataset identifiers".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import unescape

import httpcore
import psycopg

from vo_service import __version__
from vo_service.db.connect import Role, conninfo
from vo_service.db.records import RecordStore
from vo_service.errors import ConfigError
from vo_service.registry.records import Record, build_records, dated
from vo_service.registry.validity import EXAMPLE_AUTHORITY, faults_of
from vo_service.services.registry import gather, registry_directory
from vo_service.settings import Settings

__all__ = ["TERMS_FILE", "registry_problems"]

#: The Unified Astronomy Thesaurus as the IVOA gives it (Vocabularies in the VO 2.1, "Desise").
TERMS_FILE = "uat.json"

_PATIENCE_S = 10.0
_MAIL = re.compile(r"\S+@(\S+\.)+\S+")
_URL = re.compile(rb"<accessURL[^>]*>([^<]+)</accessURL>")


def registry_problems(settings: Settings) -> Iterator[str]:
    """What is wrong, a line each; addresses are tried one after the other."""
    if settings.authority == EXAMPLE_AUTHORITY:
        yield (
            f"settings: authority: {EXAMPLE_AUTHORITY} is an example; give your own domain name "
            "before other registries harvest this one"
        )
    if not _MAIL.fullmatch(settings.contact):
        yield (
            f"settings: contact: expected an e-mail address for harvesters, found "
            f"{settings.contact!r} (OAI-PMH 2.0, adminEmail)"
        )
    try:
        records = list(build_records(gather(settings)))
    except ConfigError as error:
        yield str(error)
        return
    moment = datetime.now(UTC)
    for record in records:
        for fault in faults_of(dated(record.document, moment, moment), settings.authority):
            yield f"{record.identifier}: {fault}"
    yield from _unknown_terms(settings, records)
    yield from _unregistered(settings, records)
    yield from _unreachable(records)


def _unknown_terms(settings: Settings, records: Sequence[Record]) -> Iterator[str]:
    """Subjects that the thesaurus does not have, where the operator put it beside the files."""
    file = registry_directory(settings) / TERMS_FILE
    if not file.is_file():
        return
    try:
        terms = frozenset(json.loads(file.read_bytes())["terms"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{file}: expected the IVOA's vocabulary in its JSON form, with 'terms' ({error!r})"
        return
    for record in records:
        for subject in re.findall(rb"<subject>([^<]*)</subject>", record.document):
            if (term := unescape(subject.decode())) not in terms:
                yield f"{record.identifier}: subject {term}: {file.name} has no such term"


def _unregistered(settings: Settings, records: Sequence[Record]) -> Iterator[str]:
    """Collections whose data sets have identifiers of something that has no record."""
    known = {record.identifier.lower() for record in records}
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        collections = RecordStore(connection).collections()
    for collection in collections:
        template = str(collection.definition.get("did", ""))
        before, asked, _ = template.partition("?")
        base = before.replace("{authority}", settings.authority)
        base = base.replace("{collection}", collection.name)
        if f"ivo://{settings.authority}/{collection.name}".lower() not in known:
            continue  # register: false
        if not asked or base.lower() not in known:
            yield (
                f"{collection.name}: did: identifiers begin with {base}, which has no record here: "
                "expected the identifier of a record, then ? (Identifiers 2.0)"
            )


def _unreachable(records: Sequence[Record]) -> Iterator[str]:
    addresses: dict[str, str] = {}
    for record in records:
        for found in _URL.findall(record.document):
            addresses.setdefault(unescape(found.decode()), record.identifier)
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _PATIENCE_S)
    with httpcore.ConnectionPool() as pool:
        for url, identifier in addresses.items():
            if fault := _fault_of(pool, url, timeout):
                yield f"{identifier}: accessURL {url}: {fault}"


def _fault_of(pool: httpcore.ConnectionPool, url: str, timeout: dict[str, float]) -> str | None:
    """Why an address is no good; a service may refuse a request without parameters."""
    headers: dict[bytes | str, bytes | str] = {"User-Agent": f"vo-service/{__version__}"}
    try:
        with pool.stream("GET", url, headers=headers, extensions={"timeout": timeout}) as answer:
            status = answer.status
    except (
        httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError,
        httpcore.UnsupportedProtocol, OSError,
    ) as error:  # fmt: skip
        return f"does not answer from here ({str(error) or type(error).__name__})"
    return f"answers with status {status}" if status >= 500 or status == 404 else None
