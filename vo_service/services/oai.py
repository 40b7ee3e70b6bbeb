"""OAI-PMH operations over the published records: one page of an answer at a time.

A resumption token holds all that continues its list (what was asked, the last record sent, how
many there were) and is signed, so it needs no memory of ours, survives restarts, can be sent
again, and expires when it says. A list runs through datestamps: a record that changes while it is
harvested moves to the end of the list and comes (again) there.
Source: OAI-PMH 2.0; Registry Interfaces 1.1.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db.records import (
    Selection,
    StoredRecord,
    database_time,
    earliest,
    record_count,
    record_of,
    record_page,
    sets_in_use,
)
from vo_service.errors import ForbiddenError, TransientError
from vo_service.formats.oai import (
    Header,
    Token,
    answer,
    error_element,
    formats_element,
    header_element,
    identify_element,
    list_element,
    record_element,
    sets_element,
)
from vo_service.params.oai import Fault, Harvest, OaiError, Prefix
from vo_service.registry.records import MANAGED
from vo_service.services.capabilities import oai_url
from vo_service.services.signing import SignedLinks
from vo_service.settings import Settings

__all__ = ["OaiService", "error_answer"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a list stands: what was asked, what was sent last, how many before, of how many."""

    verb: str
    prefix: Prefix
    selection: Selection
    after: tuple[datetime, int]
    cursor: int
    size: int

    def written(self) -> str:
        since, until = self.selection.since, self.selection.until
        values = [
            self.verb, self.prefix, since and since.isoformat(), until and until.isoformat(),
            self.selection.set_name, self.after[0].isoformat(), self.after[1], self.cursor,
            self.size,
        ]  # fmt: skip
        return urlsafe_b64encode(json.dumps(values).encode()).decode()

    @classmethod
    def read(cls, text: str) -> _Place:
        verb, prefix, since, until, set_name, moment, number, cursor, size = json.loads(
            urlsafe_b64decode(text.encode())
        )
        selection = Selection(
            since=datetime.fromisoformat(since) if since else None,
            until=datetime.fromisoformat(until) if until else None,
            set_name=set_name,
        )
        after = (datetime.fromisoformat(moment), int(number))
        return cls(verb, prefix, selection, after, int(cursor), int(size))


def error_answer(settings: Settings, error: OaiError) -> bytes:
    """What a wrong request is answered."""
    errors = [error_element(fault.code, fault.message) for fault in error.faults]
    return answer(oai_url(settings), datetime.now(UTC), error.arguments, errors)


class OaiService:
    """Answers harvesters; *pool* holds connections of the role ``vo_door``."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._links = SignedLinks(settings.signing_keys)

    async def answer(self, harvest: Harvest) -> bytes:
        """The answer to a request.

        Raises
        ------
        OaiError
            If nothing matches, or there is no such record, format or place in a list.
        TransientError
            If the database does not answer, or no record has been published yet.
        """
        async with self._connection() as connection:
            # Before anything is read: what is not seen below has a later datestamp than this.
            moment = await database_time(connection)
            match harvest.verb:
                case "Identify":
                    content = await self._identify(connection)
                case "ListMetadataFormats":
                    content = await self._formats(connection, harvest)
                case "ListSets":
                    content = await self._sets(connection, harvest)
                case "GetRecord":
                    content = await self._record(connection, harvest)
                case _:
                    content = await self._list(connection, harvest, moment)
        return answer(oai_url(self._settings), moment, harvest.arguments, [content])

    async def available(self) -> None:
        """Pass if the database answers.

        Raises
        ------
        TransientError
            If it does not.
        """
        async with self._connection() as connection:
            await database_time(connection)

    async def _identify(self, connection: psycopg.AsyncConnection[Any]) -> str:
        settings = self._settings
        own = f"ivo://{settings.authority}/system/registry"
        record = await record_of(connection, own, "ivo_vor")
        first = await earliest(connection)
        if record is None or record.document is None or first is None:
            raise TransientError("no records have been published yet; come back later")
        return identify_element(
            name=settings.publisher,
            base_url=oai_url(settings),
            contact=settings.contact,
            earliest=first,
            registry_record=record.document,
        )

    async def _formats(self, connection: psycopg.AsyncConnection[Any], harvest: Harvest) -> str:
        if harvest.identifier is not None:
            await self._known(connection, harvest, "oai_dc")
        return formats_element()

    async def _sets(self, connection: psycopg.AsyncConnection[Any], harvest: Harvest) -> str:
        if harvest.token is not None:
            raise _bad_token("the list of sets is never cut", harvest)
        names = await sets_in_use(connection)
        return sets_element([(name, _title_of_set(name)) for name in names or [MANAGED]])

    async def _record(self, connection: psycopg.AsyncConnection[Any], harvest: Harvest) -> str:
        prefix = harvest.prefix or "ivo_vor"
        record = await self._known(connection, harvest, prefix)
        return f"<oai:GetRecord>{_written(record, prefix)}</oai:GetRecord>"

    async def _known(
        self, connection: psycopg.AsyncConnection[Any], harvest: Harvest, prefix: Prefix
    ) -> StoredRecord:
        record = await record_of(connection, harvest.identifier or "", prefix)
        if record is None:
            said = f"{(harvest.identifier or '')[:200]!r} is not known here"
            raise OaiError([Fault("idDoesNotExist", said)], harvest.arguments)
        return record

    async def _list(
        self, connection: psycopg.AsyncConnection[Any], harvest: Harvest, moment: datetime
    ) -> str:
        place = self._place(harvest) if harvest.token is not None else None
        if place is not None:
            prefix, selection, after = place.prefix, place.selection, place.after
            cursor, size = place.cursor, place.size
        else:
            prefix, after, cursor, size = harvest.prefix or "ivo_vor", None, 0, None
            selection = Selection(
                since=harvest.since, until=harvest.until, set_name=harvest.set_name
            )
        full = harvest.verb == "ListRecords"
        page = await record_page(
            connection, selection, prefix if full else None, after, self._settings.registry_page
        )
        if not page.records:
            said = "nothing here has such a datestamp and is in such a set"
            raise OaiError([Fault("noRecordsMatch", said)], harvest.arguments)
        if size is None:
            counted = await record_count(connection, selection) if page.more else 0
            size = max(counted, len(page.records))
        token = None
        if page.more:
            last = page.records[-1]
            following = _Place(
                harvest.verb, prefix, selection, (last.updated, last.record_id),
                cursor + len(page.records), size,
            )  # fmt: skip
            token = self._token(following, cursor, moment)
        elif place is not None:
            token = Token("", max(size, cursor + len(page.records)), cursor, None)
        write = partial(_written, prefix=prefix) if full else _written_header
        items = map(write, page.records)
        return list_element(harvest.verb, items, token)

    def _token(self, place: _Place, cursor: int, moment: datetime) -> Token:
        text = place.written()
        values = dict(parse_qsl(self._links.sign(_signed(text), self._settings.registry_token_s)))
        signed = ".".join((text, values["expires"], values["key"], values["signature"]))
        expires = datetime.fromtimestamp(int(values["expires"]), UTC)
        return Token(signed, place.size, cursor, expires)

    def _place(self, harvest: Harvest) -> _Place:
        parts = (harvest.token or "").split(".")
        if len(parts) != 4:
            raise _bad_token("this is no token of ours", harvest)
        text, expires, key, signature = parts
        try:
            self._links.check(
                _signed(text), [("expires", expires), ("key", key), ("signature", signature)]
            )
            place = _Place.read(text)
        except ForbiddenError as error:
            expired = "expired" in str(error)
            said = "the token has expired; begin again" if expired else "this is no token of ours"
            raise _bad_token(said, harvest) from error
        except (ValueError, binascii.Error) as error:
            raise _bad_token("this is no token of ours", harvest) from error
        if place.verb != harvest.verb:
            raise _bad_token(f"the token continues {place.verb}", harvest)
        return place

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error


def _signed(text: str) -> str:
    """What is signed of a token: no path of a file looks like this."""
    return f"oai:{text}"


def _bad_token(message: str, harvest: Harvest) -> OaiError:
    return OaiError([Fault("badResumptionToken", message)], harvest.arguments)


def _title_of_set(name: str) -> str:
    if name == MANAGED:
        return "All records that originate here"
    _, _, collection = name.partition(":")
    return f"Collection {collection}" if collection else "All collections of data"


def _header(record: StoredRecord) -> Header:
    return Header(record.identifier, record.updated, record.sets, record.deleted)


def _written_header(record: StoredRecord) -> str:
    return header_element(_header(record))


def _written(record: StoredRecord, prefix: Prefix) -> str:
    return record_element(
        _header(record), record.document if prefix == "ivo_vor" else record.simple
    )
