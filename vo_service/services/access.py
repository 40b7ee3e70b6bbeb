"""Who somebody is: passwords, tokens and sessions to a `Visitor`, and how often one may guess.

What a visitor may then know and read is decided in the database (``archive.known_product``,
``archive.observation_mine``), by the proposals of the name that is found here. Source: RFC 9106
(Argon2id, its second recommended choice); times are seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import psycopg
from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vo_service.db import people
from vo_service.errors import TooManyError, TransientError, UnauthorizedError
from vo_service.model.visitor import Visitor, network_of

__all__ = ["AccessService", "Attempts", "digest_of", "hash_password", "new_secret"]

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]

#: Wrong passwords within the window: of one account, and from one address.
_PER_ACCOUNT, _PER_ADDRESS = 10, 30
_WINDOW_S = 300.0

#: How long a password that was right is known without working it out again.
_REMEMBERED_S = 300.0
_REMEMBERED = 1000

#: Passwords worked out at the same time: 64 MiB and some tens of milliseconds each.
_AT_ONCE = 2
_WAIT_S = 10.0

#: Longer ones are wrong unread: no hash is worked out for what nobody can have.
_LONGEST = 1024

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_SAID = "name or password is wrong"


def hash_password(password: str) -> str:
    """The Argon2id hash of a password, in the PHC string format."""
    return _hasher.hash(password)


def new_secret() -> str:
    """A token or session of 256 random bits, in letters that a header and a cookie can hold."""
    return f"vo_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> bytes:
    """What is kept of a token or session; 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


class Attempts:
    """Counts wrong guesses by key in a sliding window; one under way counts as wrong.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: dict[str, deque[float]] = {}

    def begin(self, limits: Iterable[tuple[str, int]]) -> Callable[[], None]:
        """Count an attempt under several keys, each with its limit.

        Returns
        -------
        callable
            Takes the attempt back: it was right.

        Raises
        ------
        TooManyError
            If a limit is reached; the attempt is not counted then, so waiting helps.
        """
        now = self._clock()
        self._forget(now - _WINDOW_S)
        wanted = list(limits)
        waits = [
            times[0] + _WINDOW_S - now
            for key, limit in wanted
            if len(times := self._made.get(key, deque())) >= limit
        ]
        if waits:
            seconds = max(1, round(max(waits)))
            raise TooManyError(f"too many wrong logins; try again in {seconds} s", seconds)
        for key, _ in wanted:
            self._made.setdefault(key, deque()).append(now)

        def right() -> None:
            for key, _ in wanted:
                with contextlib.suppress(KeyError, ValueError):
                    self._made[key].remove(now)

        return right

    def _forget(self, before: float) -> None:
        for key in list(self._made):
            times = self._made[key]
            while times and times[0] <= before:
                times.popleft()
            if not times:
                del self._made[key]


class AccessService:
    """Finds out who asks.

    Methods raise UnauthorizedError for what is wrong (never saying what), TooManyError for who
    was wrong too often, TransientError without a database.

    Parameters
    ----------
    pool
        Connections of the role ``vo_door``.
    session_s
        How long a session of a browser lasts.
    """

    def __init__(self, pool: Pool, session_s: int) -> None:
        self._pool = pool
        self._session_s = session_s
        self._attempts = Attempts()
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        # The hash of nothing that anybody knows: a name that is not here takes the same time.
        self._nobodys = hash_password(secrets.token_urlsafe(32))

    async def by_password(self, name: str, password: str, address: str) -> Visitor:
        """The person of that name, if the password is right."""
        if len(name) > _LONGEST or len(password) > _LONGEST or "\0" in name:
            raise UnauthorizedError(_SAID)
        async with self._door() as connection:
            stored = await people.password_of(connection, name)
        known = self._remember(name, password, stored or self._nobodys)
        if not self._is_remembered(known):
            right = self._attempts.begin(
                [(f"account {name[:64]}", _PER_ACCOUNT), (network_of(address), _PER_ADDRESS)]
            )
            fits = await self._verify(stored or self._nobodys, password)
            if stored is None or not fits:
                raise UnauthorizedError(_SAID)
            right()
            self._right[known] = time.monotonic() + _REMEMBERED_S
            while len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
        return await self._visitor(name, address)

    async def by_token(self, secret: str, address: str) -> Visitor:
        """The person who holds a token, or has the session."""
        async with self._door() as connection:
            name = await people.holder(connection, digest_of(secret), ("token", "session"))
        if name is None:
            raise UnauthorizedError("the token is wrong, has expired or was revoked")
        return await self._visitor(name, address)

    async def by_session(self, secret: str, address: str) -> Visitor | None:
        """The person who has the session; None if it is over."""
        async with self._door() as connection:
            name = await people.holder(connection, digest_of(secret), ("session",))
        return None if name is None else await self._visitor(name, address)

    async def begin_session(self, name: str) -> str:
        """A new session of a person who has just shown a password."""
        secret = new_secret()
        async with self._door() as connection:
            await people.add_session(connection, name, digest_of(secret), self._session_s)
        return secret

    async def end_session(self, secret: str) -> None:
        """End a session; one that is not there has ended."""
        async with self._door() as connection:
            await people.drop_session(connection, digest_of(secret))

    async def _visitor(self, name: str, address: str) -> Visitor:
        async with self._door() as connection:
            return Visitor(name, address, await people.proposals_of(connection, name))

    def _remember(self, name: str, password: str, stored: str) -> bytes:
        """What a right password is remembered as; one that was changed is not known any more."""
        said = "\0".join((stored, name, password)).encode("utf-8", "replace")
        return hmac.digest(self._key, said, "sha256")

    def _is_remembered(self, known: bytes) -> bool:
        return self._right.get(known, 0.0) > time.monotonic()

    async def _verify(self, stored: str, password: str) -> bool:
        try:
            with anyio.fail_after(_WAIT_S):
                return await to_thread.run_sync(_fits, stored, password, limiter=self._limiter)
        except TimeoutError:
            raise TransientError("too many people log in now; try again in a moment") from None

    @contextlib.asynccontextmanager
    async def _door(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise TransientError("the database is not available now; try again soon") from error


def _fits(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
