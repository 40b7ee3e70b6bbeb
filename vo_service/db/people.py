"""People: who they are, what shows it, and of which proposals they are.

`PeopleStore` serves commands, as the writer; the functions serve the web, as the door. The
caller owns the transaction. Passwords are Argon2id in the PHC format; of tokens and sessions
only the SHA-256 is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

__all__ = [
    "Membership",
    "PeopleStore",
    "Person",
    "add_session",
    "drop_session",
    "holder",
    "password_of",
    "proposals_of",
    "work_for",
]

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Membership:
    """A proposal of a person: in which collection (None: in all), and from when to when."""

    proposal_id: str
    collection: str | None
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True, slots=True)
class Person:
    """A line of ``vo-service user list``; *tokens* are those that are valid now."""

    name: str
    has_password: bool
    proposals: list[str]
    tokens: list[str]


async def work_for(connection: Connection, person: str | None) -> None:
    """Tell PostgreSQL for whom this transaction asks (`archive.mine`)."""
    await connection.execute("SELECT set_config('vo.person', %s, true)", (person or "",))


async def password_of(connection: Connection, name: str) -> str | None:
    """The hash of a person's password; None where there is no such person, or no password."""
    cursor = await connection.execute(
        "SELECT password FROM archive.person WHERE name = %s", (name,)
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def holder(
    connection: Connection, digest: bytes, kinds: Sequence[Literal["token", "session"]]
) -> str | None:
    """Whose token or session it is, if it is valid; that it was used today is written down."""
    cursor = await connection.execute(
        "SELECT person, last_used IS DISTINCT FROM current_date FROM archive.token "
        "WHERE digest = %s AND kind = ANY(%s) AND expires > now()",
        (digest, list(kinds)),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    if row[1]:
        await connection.execute(
            "UPDATE archive.token SET last_used = current_date WHERE digest = %s", (digest,)
        )
    return str(row[0])


async def proposals_of(connection: Connection, name: str) -> frozenset[str]:
    """Identifiers of the proposals that are a person's today, in whatever collection."""
    await work_for(connection, name)
    cursor = await connection.execute("SELECT proposal_id FROM archive.mine")
    return frozenset(str(proposal) for (proposal,) in await cursor.fetchall())


async def add_session(connection: Connection, name: str, digest: bytes, seconds: int) -> None:
    """Begin a session of a browser; sessions of anybody that are over are forgotten."""
    await connection.execute("DELETE FROM archive.token WHERE kind = 'session' AND expires < now()")
    await connection.execute(
        "INSERT INTO archive.token (digest, person, kind, expires) "
        "VALUES (%s, %s, 'session', now() + %s * interval '1 second')",
        (digest, name, seconds),
    )


async def drop_session(connection: Connection, digest: bytes) -> None:
    """End a session."""
    await connection.execute(
        "DELETE FROM archive.token WHERE digest = %s AND kind = 'session'", (digest,)
    )


class PeopleStore:
    """Statements of ``vo-service user``, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def add(self, name: str, password: str | None) -> bool:
        """Add a person with a hash of a password, or none; False if there is one of that name."""
        return self._changed(
            "INSERT INTO archive.person (name, password) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            name, password,
        )  # fmt: skip

    def exists(self, name: str) -> bool:
        """Whether there is a person of that name."""
        found = self._connection.execute("SELECT FROM archive.person WHERE name = %s", (name,))
        return found.fetchone() is not None

    def set_password(self, name: str, password: str) -> bool:
        """Give a person another password; the person's sessions end."""
        self._changed("DELETE FROM archive.token WHERE person = %s AND kind = 'session'", name)
        return self._changed(
            "UPDATE archive.person SET password = %s WHERE name = %s", password, name
        )

    def remove(self, name: str) -> bool:
        """Remove a person with memberships, tokens and sessions."""
        return self._changed("DELETE FROM archive.person WHERE name = %s", name)

    def grant(self, name: str, membership: Membership) -> None:
        """Make a person one of a proposal; what was said of the same before is replaced."""
        self._changed(
            "INSERT INTO archive.membership VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT ON CONSTRAINT a_membership_is_said_once "
            "DO UPDATE SET first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day",
            name, membership.proposal_id, membership.collection, membership.first_day,
            membership.last_day,
        )  # fmt: skip

    def revoke(self, name: str, proposal_id: str, collection: str | None) -> bool:
        """Take a person out of a proposal, with *collection* only out of what was said of it."""
        return self._changed(
            "DELETE FROM archive.membership WHERE person = %s AND proposal_id = %s "
            "AND (%s::text IS NULL OR collection = %s)",
            name, proposal_id, collection, collection,
        )  # fmt: skip

    def memberships(self, name: str) -> list[Membership]:
        """All proposals of a person."""
        with self._connection.cursor(row_factory=class_row(Membership)) as cursor:
            cursor.execute(
                "SELECT proposal_id, collection, first_day, last_day FROM archive.membership "
                "WHERE person = %s ORDER BY 1, 2",
                (name,),
            )
            return cursor.fetchall()

    def knows_collection(self, name: str) -> bool:
        """Whether a collection of that name is registered."""
        found = self._connection.execute("SELECT FROM archive.collection WHERE name = %s", (name,))
        return found.fetchone() is not None

    def add_token(self, name: str, digest: bytes, label: str, expires: datetime) -> None:
        """Make a token valid."""
        self._changed(
            "INSERT INTO archive.token (digest, person, kind, label, expires) "
            "VALUES (%s, %s, 'token', %s, %s)",
            digest, name, label, expires,
        )  # fmt: skip

    def drop_tokens(self, name: str, label: str | None) -> int:
        """End the tokens of a person, those of a label if one is given; how many there were."""
        return self._connection.execute(
            "DELETE FROM archive.token WHERE person = %s AND kind = 'token' "
            "AND (%s::text IS NULL OR label = %s)",
            (name, label, label),
        ).rowcount

    def people(self) -> Sequence[Person]:
        """Everybody, by name."""
        with self._connection.cursor(row_factory=class_row(Person)) as cursor:
            cursor.execute(
                "SELECT p.name, p.password IS NOT NULL AS has_password, ARRAY("
                "SELECT m.proposal_id || coalesce(' in ' || m.collection, '') "
                "|| coalesce(' from ' || m.first_day, '') || coalesce(' until ' || m.last_day, '') "
                "FROM archive.membership m WHERE m.person = p.name ORDER BY 1) AS proposals, ARRAY("
                "SELECT coalesce(nullif(t.label, '') || ' ', '') || 'until ' "
                "|| to_char(t.expires, 'YYYY-MM-DD') "
                "|| coalesce(', last used ' || t.last_used, ', not used yet') "
                "FROM archive.token t WHERE t.person = p.name AND t.kind = 'token' "
                "AND t.expires > now() ORDER BY t.expires) AS tokens "
                "FROM archive.person p ORDER BY p.name"
            )
            return cursor.fetchall()

    def _changed(self, statement: str, *values: object) -> bool:
        return self._connection.execute(statement.encode(), values).rowcount > 0
