"""Harvest records of other registries by OAI-PMH into the relational registry.

A page and the place after it are written in one transaction, so a harvest that was killed goes on
where it was. The next one asks from the moment, by the clock of the source, at which this one
began, less a step of its datestamps, so that nothing is missed that came meanwhile.
Source: OAI-PMH 2.0, "Selective Harvesting", "Flow Control"; Registry Interfaces 1.1, "Harvesting".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, timedelta
from typing import Any

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.harvests import HarvestStore, Source, SourceCounts
from vo_service.errors import TransientError, UsageError
from vo_service.registry.oai_page import OaiAnswer
from vo_service.services.harvest_page import Harvested, take_page
from vo_service.services.oai_client import OaiClient, checked_address
from vo_service.settings import Settings

__all__ = [
    "MANAGED",
    "Harvested",
    "forget_source",
    "harvest",
    "harvest_faults",
    "harvest_sources",
]

#: The set of all records that originate at a registry (Registry Interfaces 1.1).
MANAGED = "ivo_managed"

_PREFIX = "ivo_vor"
_RESTARTS = 3
_RECORDS_LIMIT = 10_000_000


class _LostPlaceError(Exception):
    """The source no longer knows the place that a resumption token means."""


def harvest(
    settings: Settings,
    url: str,
    *,
    set_name: str = MANAGED,
    full: bool = False,
    pause_s: float = 1.0,
    told: Callable[[Harvested], None] = lambda done: None,
    say: Callable[[str], None] = lambda text: None,
) -> Harvested:
    """Take what is new at a registry, or continue where an earlier harvest was interrupted.

    Parameters
    ----------
    settings
        Of this archive.
    url, set_name
        Address of its OAI-PMH; the set that is asked for, empty: all records.
    full
        Ask for all records and write them anew; those that are gone there go here too.
    pause_s
        Seconds between requests.
    told, say
        Called after each page; and with a sentence when something is waited for or begun again.

    Raises
    ------
    UsageError
        The registry does not answer as OAI-PMH says; what was taken stays.
    TransientError
        It cannot be reached now, or somebody else harvests it now.
    """
    address = checked_address(url)
    with (
        OaiClient(address, settings.contact, pause_s=pause_s, say=say) as client,
        psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection,
    ):
        identity = _identified(client, address)
        store = HarvestStore(connection)
        source = store.source(address, set_name)
        if not store.lock(source.source_id):
            raise TransientError(f"{address} is being harvested by another command now")
        done = Harvested(address)
        run = _Run(client, connection, source, done, settings.authority)
        try:
            run.take_all(identity, told, say, full=full)
        except UsageError as error:
            store.drop_unused(source.source_id)
            text = str(error)
            raise UsageError(text if address in text else f"{address}: {text}") from error
    return done


def harvest_sources(settings: Settings) -> list[SourceCounts]:
    """All registries that are harvested, with counts."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return HarvestStore(connection).counts()


def harvest_faults(settings: Settings, url: str) -> list[tuple[str, str, str]]:
    """Of all records of a registry that have faults: identifier, state, what is wrong.

    Raises
    ------
    UsageError
        Nothing is harvested there.
    """
    address = checked_address(url)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = HarvestStore(connection)
        found = [source for source in store.sources() if source.url == address]
        if not found:
            raise _unknown(address)
        return [fault for source in found for fault in store.faults(source.source_id)]


def forget_source(settings: Settings, url: str) -> int:
    """Remove all that was harvested at a registry; how many records were there.

    Raises
    ------
    UsageError
        Nothing is harvested there.
    """
    address = checked_address(url)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        removed = HarvestStore(connection).forget(address)
    if removed is None:
        raise _unknown(address)
    return removed


def _unknown(address: str) -> UsageError:
    return UsageError(
        f"{address[:200]}: nothing is harvested there; see 'vo-service registry harvest --list'"
    )


def _identified(client: OaiClient, address: str) -> OaiAnswer:
    answer = client.ask({"verb": "Identify"})
    with closing(answer.file):
        try:
            answer.read()
        except UsageError as error:
            raise UsageError(f"{address}: {error}") from error
    if answer.errors:
        code, message = answer.errors[0]
        raise UsageError(f"{address} does not say what it is: {code[:40]}: {message[:200]}")
    version = answer.said.get("protocolVersion", "")
    if version != "2.0":
        raise UsageError(
            f"{address}: protocolVersion: {version[:20]!r}: expected 2.0, of OAI-PMH 2.0"
        )
    return answer


class _Run:
    """One harvest of a source, over as many pages as it takes."""

    def __init__(
        self,
        client: OaiClient,
        connection: psycopg.Connection[Any],
        source: Source,
        done: Harvested,
        authority: str,
    ) -> None:
        self._client = client
        self._connection = connection
        self._store = HarvestStore(connection)
        self._done = done
        self._authority = authority
        self.source = source

    def take_all(
        self,
        identity: OaiAnswer,
        told: Callable[[Harvested], None],
        say: Callable[[str], None],
        *,
        full: bool,
    ) -> None:
        """Harvest from where the source stands to the end of its list."""
        source, done = self.source, self._done
        if source.begun is None or (full and not source.whole):
            self._begin(identity, whole=full or source.until is None)
        else:
            done.before = done.taken = source.taken
            say(f"going on after {source.taken} records of an interrupted harvest")
        for _ in range(_RESTARTS + 1):
            try:
                self._take_pages(told, anew=full)
            except _LostPlaceError:
                say("the registry has lost the place of this harvest: beginning again")
                done.before = done.taken = 0
                self._begin(identity, whole=self.source.whole)
            else:
                return
        raise TransientError(
            f"{source.url} loses the place of a harvest again and again ({_RESTARTS + 1} times); "
            "what was taken stays"
        )

    def _begin(self, identity: OaiAnswer, *, whole: bool) -> None:
        """Start from the beginning of the list."""
        name = " ".join(identity.said.get("repositoryName", "").split())[:300]
        day_only = identity.said.get("granularity", "") == "YYYY-MM-DD"
        with self._connection.transaction():
            self._store.begin(
                self.source.source_id, name=name or None, day_only=day_only, whole=whole
            )
        self._refresh()

    def _refresh(self) -> None:
        self.source = self._store.source(self.source.url, self.source.set_name)

    def _take_pages(self, told: Callable[[Harvested], None], *, anew: bool) -> None:
        """Take page after page until the list ends."""
        while True:
            token = self.source.token
            answer = self._client.ask(self._arguments())
            with closing(answer.file), self._connection.transaction():
                take_page(
                    self._connection, self.source, answer, self._authority, self._done,
                    anew=anew,
                )  # fmt: skip
                ended = self._placed(answer)
            self._refresh()
            self._done.pages += 1
            self._done.size = answer.size or self._done.size
            told(self._done)
            if ended:
                return
            if answer.token == token:
                raise UsageError(f"{self.source.url} gives the same place in its list twice")
            if self._done.taken > _RECORDS_LIMIT:
                raise UsageError(f"{self.source.url} gives more than {_RECORDS_LIMIT} records")

    def _arguments(self) -> dict[str, str]:
        source = self.source
        if source.token is not None:
            return {"verb": "ListRecords", "resumptionToken": source.token}
        arguments = {"verb": "ListRecords", "metadataPrefix": _PREFIX}
        if source.set_name:
            arguments["set"] = source.set_name
        if not source.whole and source.until is not None:
            step = timedelta(days=1) if source.day_only else timedelta(seconds=1)
            since = (source.until - step).astimezone(UTC)
            arguments["from"] = f"{since:%Y-%m-%d}" if source.day_only else f"{since:%FT%TZ}"
        return arguments

    def _placed(self, answer: OaiAnswer) -> bool:
        """Write down the place after a page; whether it was the last one."""
        source, done = self.source, self._done
        nothing = self._errors(answer)
        begun = source.begun or answer.moment()
        if answer.token is not None and not nothing:
            self._store.advance(source.source_id, begun=begun, token=answer.token, taken=done.taken)
            return False
        if source.whole:
            if done.taken == 0:
                raise UsageError(
                    f"{source.url} has no records"
                    + (f" in the set {source.set_name}; try --all-sets" if source.set_name else "")
                )
            done.deleted += self._store.let_go(source)
        self._store.finish(source.source_id, until=begun, taken=done.taken)
        return True

    def _errors(self, answer: OaiAnswer) -> bool:
        """Whether the answer says that there is nothing; any other error is raised."""
        for code, message in answer.errors:
            match code:
                case "noRecordsMatch" if self.source.token is None:
                    return True
                case "badResumptionToken" | "noRecordsMatch" if self.source.token is not None:
                    raise _LostPlaceError
                case "cannotDisseminateFormat":
                    why = f"has no records as {_PREFIX}, so it is no registry of the VO"
                case "noSetHierarchy":
                    why = "has no sets; try --all-sets"
                case _:
                    why = f"refuses the request: {code[:40]}: {message[:200]}"
            raise UsageError(f"{self.source.url} {why}")
        return False
