"""For which request (or job) the code at hand works: carried by the task, into log lines and SQL.

An id is made here, or taken from a proxy that is trusted, and is safe to write anywhere: a header,
a log line, a comment in SQL. The query is the text that a client sent, for the slow-query table.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["acceptable", "current_id", "current_query", "new_id", "note_query", "working_for"]

_ID: ContextVar[str | None] = ContextVar("vo_request_id", default=None)
_QUERY: ContextVar[str | None] = ContextVar("vo_query", default=None)

_ACCEPTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_id() -> str:
    """An id that nobody else has."""
    return secrets.token_hex(8)


def acceptable(text: str) -> bool:
    """Whether an id from outside may be used: letters, digits, ``.``, ``_``, ``-``, 64 at most."""
    return _ACCEPTABLE.fullmatch(text) is not None


def current_id() -> str | None:
    """The id of the request or job that this task works for."""
    return _ID.get()


def current_query() -> str | None:
    """The query that this task answers, as its author wrote it."""
    return _QUERY.get()


def note_query(text: str | None) -> None:
    """Remember the query that this task answers from now on."""
    _QUERY.set(text)


@contextlib.contextmanager
def working_for(name: str) -> Iterator[None]:
    """Work for the request or job *name* while the block lasts."""
    token = _ID.set(name)
    try:
        yield
    finally:
        _ID.reset(token)
