"""Which services of other sites are crawled: found, listed, forgotten, repeated by a worker."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import psycopg
from lxml import etree

from vo_service.db.connect import Role, conninfo
from vo_service.db.elsewhere import ElsewhereStore
from vo_service.errors import UsageError, VOError
from vo_service.model.crawl import Origin, Protocol, Refused
from vo_service.model.elsewhere import HERE
from vo_service.model.region import Circle
from vo_service.params.upload import split_url
from vo_service.services.background import in_other_process, look_again_and_again
from vo_service.services.crawl import crawl
from vo_service.services.crawl_sources import Remote
from vo_service.settings import Settings

__all__ = [
    "CrawlRequest",
    "forget_origin",
    "list_origins",
    "list_refusals",
    "register_origin",
    "run_crawls",
]

_log = logging.getLogger(__name__)

_LOOK_S = 3600.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_TAP = "ivo://ivoa.net/std/tap"
_SIA2 = "ivo://ivoa.net/std/sia#query-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlRequest:
    """A service to crawl, as an operator names it.

    *target* is its address, or the name of one that is known; *protocol* and *name* are found out
    where they are None, and what else is None stays as it is.
    """

    target: str
    protocol: Protocol | None = None
    name: str | None = None
    circle: Circle | None = None
    collections: tuple[str, ...] | None = None
    every_days: int | None = None


def register_origin(settings: Settings, request: CrawlRequest) -> Origin:
    """Write down what is to be crawled, after a look at the service.

    Raises
    ------
    UsageError
        If the address is none, is that of this archive, or has no such service.
    NotFoundError
        If *target* is a name that is not known.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ElsewhereStore(connection)
        if "://" not in request.target:
            known = store.origin(request.target)
        else:
            known = _found(settings, request, store.origins())
        origin = replace(
            known,
            circle=request.circle or known.circle,
            collections=(known.collections if request.collections is None else request.collections),
            every_days=(
                known.every_days if request.every_days is None else request.every_days or None
            ),
        )
        store.put_origin(origin)
        return origin


def _found(settings: Settings, request: CrawlRequest, origins: list[Origin]) -> Origin:
    url = request.target.rstrip("/")
    parts = split_url(url)
    if f"{url}/".startswith(f"{settings.root_url}/"):
        raise UsageError(f"{url} is this archive; its rows are in elsewhere.everything as it is")
    name = request.name or str(parts.hostname).lower()
    if not _NAME.fullmatch(name) or name == HERE:
        raise UsageError(
            f"--name {name[:80]!r}: expected small letters, digits, '.', '_' or '-', at most 63, "
            f"and not '{HERE}'"
        )
    protocol, address = _protocol(settings, url, request.protocol)
    for known in origins:
        if known.name == name:
            if known.url != address:
                raise UsageError(
                    f"{name} is the name of {known.url} here; give another with --name, or forget "
                    f"that one first ('vo-service crawl --forget {name}')"
                )
            return known
    return Origin(name=name, url=address, protocol=protocol)


def _protocol(settings: Settings, url: str, wanted: Protocol | None) -> tuple[Protocol, str]:
    """What lies at an address, as its VOSI capabilities tell, and where it is asked."""
    try:
        offered = _capabilities(settings, url)
    except UsageError as error:
        if wanted is None:
            raise UsageError(
                f"{url}: what it is cannot be found out ({error}); say --protocol tap or sia2"
            ) from error
        return wanted, url
    if wanted != "sia2" and any(standard.startswith(_TAP) for standard, _ in offered):
        return "tap", url
    if wanted != "tap":
        for standard, address in offered:
            if standard.startswith(_SIA2):
                if urlsplit(address)[:2] != urlsplit(url)[:2]:
                    raise UsageError(
                        f"{url}: its capabilities lead to {address[:200]}, on another server; if "
                        "that is right, give that address with --protocol sia2"
                    )
                return "sia2", address
    names = ", ".join(standard for standard, _ in offered)[:300]
    raise UsageError(f"{url} has no {wanted or 'TAP or SIA 2.0'}, only: {names or 'nothing'}")


def _capabilities(settings: Settings, url: str) -> list[tuple[str, str]]:
    """Standards (in small letters) and the addresses of their first interfaces."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    with Remote(settings, url).ask(f"{url}/capabilities") as file:
        try:
            root = etree.fromstring(file.read_bytes(), parser)
        except etree.XMLSyntaxError as error:
            raise UsageError(f"its capabilities are no XML: {error}") from error
    return [
        ((one.get("standardID") or "").lower(), (one.findtext("{*}interface/{*}accessURL") or ""))
        for one in root.iter("{*}capability")
    ]


def list_origins(settings: Settings) -> list[Origin]:
    """All services that are crawled."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return ElsewhereStore(connection).origins()


def list_refusals(settings: Settings, name: str) -> list[Refused]:
    """Why rows of a service were not taken, the most frequent reason first.

    Raises
    ------
    NotFoundError
        If it is not known.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ElsewhereStore(connection)
        return store.refusals(store.origin(name).name)


def forget_origin(settings: Settings, name: str) -> int:
    """Crawl a service no more and drop its rows; how many there were.

    Raises
    ------
    NotFoundError
        If it is not known.
    TransientError
        If it is being crawled.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = ElsewhereStore(connection)
        store.origin(name)
        store.lock(name)
        return store.forget(name)


async def run_crawls(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Crawl what is to be repeated when its time has come, until cancelled."""
    await look_again_and_again(partial(_look, settings), look_s, "crawls")


def _look(settings: Settings, stopped: threading.Event) -> None:
    now = datetime.now(UTC)
    for origin in list_origins(settings):
        if stopped.is_set() or origin.every_days is None:
            continue
        begun = origin.started
        # An hour less, so that what is due daily is not put off by the time that a crawl takes.
        wait = timedelta(days=origin.every_days) - timedelta(hours=1)
        if begun is not None and now - begun < wait and not _died(origin):
            continue
        try:
            done = in_other_process(crawl, settings, origin.name, stopped=stopped)
        except VOError as error:
            _log.warning("crawl of %s: %s", origin.name, error)
            continue
        for problem in done.problems if done else ():
            _log.warning("crawl of %s: %s", origin.name, problem)


def _died(origin: Origin) -> bool:
    """Whether the last crawl was ended by force."""
    return origin.problem is None and (
        origin.ended is None or origin.started is None or origin.ended < origin.started
    )
