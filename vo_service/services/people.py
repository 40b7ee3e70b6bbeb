"""People of an archive: added, given proposals and tokens, removed.

Each operation is one transaction, as the writer. A token is told once, when it is made.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.people import Membership, PeopleStore, Person
from vo_service.errors import NotFoundError, UsageError
from vo_service.services.access import digest_of, hash_password, new_secret
from vo_service.settings import Settings

__all__ = [
    "add_person",
    "change_password",
    "drop_tokens",
    "grant",
    "list_people",
    "make_token",
    "remove_person",
    "revoke",
]

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_SHORTEST, _LONGEST = 8, 1024
_LABEL = 60


def add_person(settings: Settings, name: str, password: str | None) -> None:
    """Add a person; without a password, one who can have tokens only.

    Raises
    ------
    UsageError
        If the name or the password cannot be one, or there is such a person already.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a name: expected a lower-case letter, then letters, digits, "
            ". _ and -, 63 characters at most"
        )
    hashed = None if password is None else hash_password(_checked(password))
    with _people(settings) as store:
        if not store.add(name, hashed):
            raise UsageError(f"there is a person {name!r} already")


def change_password(settings: Settings, name: str, password: str) -> None:
    """Give a person another password, which ends the person's sessions, not the tokens."""
    hashed = hash_password(_checked(password))
    with _people(settings) as store:
        if not store.set_password(name, hashed):
            raise _unknown(name)


def remove_person(settings: Settings, name: str) -> None:
    """Remove a person, with everything that opened something."""
    with _people(settings) as store:
        if not store.remove(name):
            raise _unknown(name)


def grant(settings: Settings, name: str, membership: Membership) -> None:
    """Let a person read frames of a proposal before their release."""
    first, last = membership.first_day, membership.last_day
    if not membership.proposal_id or not membership.proposal_id.isprintable():
        raise UsageError("the proposal is empty or not printable: expected its identifier")
    if first is not None and last is not None and first > last:
        raise UsageError(f"the last day {last} lies before the first, {first}")
    with _people(settings) as store:
        if not store.exists(name):
            raise _unknown(name)
        if membership.collection and not store.knows_collection(membership.collection):
            raise NotFoundError(f"there is no collection {membership.collection!r} here")
        store.grant(name, membership)


def revoke(settings: Settings, name: str, proposal_id: str, collection: str | None) -> None:
    """Take a person out of a proposal."""
    with _people(settings) as store:
        if not store.exists(name):
            raise _unknown(name)
        if not store.revoke(name, proposal_id, collection):
            has = ", ".join(sorted({m.proposal_id for m in store.memberships(name)})) or "none"
            raise NotFoundError(f"{name} is not of proposal {proposal_id!r}; of: {has}")


def make_token(settings: Settings, name: str, days: int, label: str) -> tuple[str, datetime]:
    """A new token of a person, and when it expires; it cannot be told again."""
    if len(label) > _LABEL or not (label.isprintable()):
        raise UsageError(f"the label: expected {_LABEL} printable characters at most")
    secret, expires = new_secret(), datetime.now(UTC) + timedelta(days=days)
    with _people(settings) as store:
        if not store.exists(name):
            raise _unknown(name)
        store.add_token(name, digest_of(secret), label, expires)
    return secret, expires


def drop_tokens(settings: Settings, name: str, label: str | None) -> int:
    """Make tokens of a person worthless, all or those of a label; how many there were."""
    with _people(settings) as store:
        if not store.exists(name):
            raise _unknown(name)
        return store.drop_tokens(name, label)


def list_people(settings: Settings) -> Sequence[Person]:
    """Everybody, by name."""
    with _people(settings) as store:
        return store.people()


def _checked(password: str) -> str:
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise UsageError(
            f"the password has {len(password)} characters: expected {_SHORTEST} to {_LONGEST}"
        )
    return password


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no person {name!r}; see 'vo-service user list'")


@contextlib.contextmanager
def _people(settings: Settings) -> Iterator[PeopleStore]:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        yield PeopleStore(connection)
