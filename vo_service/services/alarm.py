"""Alarms: what the team must see at once, as a log line and as a message to a webhook.

The message is JSON ``{"text": ...}``, which Slack, Mattermost and others take. Of a kind at most
one is sent in ``alarm_interval_s``, whichever process of the archive it comes from; the next
says how many were kept back. An alarm never fails: whoever raises it has trouble enough.
Source: MISSION A8; Slack, "Sending messages using incoming webhooks", "Escaping text".
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum

import httpcore
import psycopg

from vo_service import __version__
from vo_service.db.alarms import Allowed, allow_alarm, put_off_alarm
from vo_service.db.connect import Role, conninfo
from vo_service.errors import ConfigError, NotFoundError, TransientError, VOError
from vo_service.settings import Settings

__all__ = ["AlarmKind", "alarm_if_broken", "alarm_of_problems", "raise_alarm", "send_test"]

_log = logging.getLogger(__name__)

#: For connecting, for sending and for each part of the answer.
_PATIENCE_S = 5.0
#: After a webhook that did not take an alarm.
_RETRY_S = 60.0
_LENGTH = 3000

#: Problems that are told one by one.
_TOLD = 5

_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class AlarmKind(StrEnum):
    """What alarms are about; each kind has a rate limit of its own."""

    INGEST = "ingest"
    RELEASE = "release"
    LINKS = "links"
    CHECKSUM = "checksum"
    DISK = "disk"
    JOBS = "jobs"
    TEST = "test"


def raise_alarm(settings: Settings, kind: AlarmKind, text: str) -> None:
    """Log *text*, and send it unless one of its kind went just before. Blocks some seconds at most.

    Nothing is raised: what goes wrong with the sending is logged.
    """
    _log.error("alarm kind=%s text=%s", kind, json.dumps(text, ensure_ascii=False))
    if settings.alarm_url is None:
        return
    try:
        _send_limited(settings, kind, text)
    except (VOError, psycopg.Error, OSError) as error:
        _log.error("alarm kind=%s was not sent: %s", kind, error)
    except Exception:
        _log.exception("alarm kind=%s was not sent", kind)


@contextlib.contextmanager
def alarm_if_broken(settings: Settings, kind: AlarmKind, what: str) -> Iterator[None]:
    """Raise an alarm if the block ends with an error, which goes on its way."""
    try:
        yield
    except (ConfigError, NotFoundError):
        raise  # a mistake in a call or a file: the one who called is there, and is told
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise_alarm(settings, kind, f"{what} broke off: {said}")
        raise


def alarm_of_problems(
    settings: Settings, kind: AlarmKind, what: str, problems: Sequence[str]
) -> None:
    """Raise one alarm for a number of problems, the first few of which are told."""
    if not problems:
        return
    told = "".join(f"\n- {problem}" for problem in problems[:_TOLD])
    more = f"\n- and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise_alarm(settings, kind, f"{what}: {number}{told}{more}")


def send_test(settings: Settings) -> None:
    """Send a message without a limit, to see whether it arrives.

    Raises
    ------
    ConfigError
        If there is no webhook.
    TransientError
        If the webhook did not take it; says why.
    """
    if settings.alarm_url is None:
        raise ConfigError(
            "alarm_url is not set: write the address of a webhook into settings.toml, or into "
            "VO_ALARM_URL"
        )
    _post(settings, "this is a test; alarms will come like this")


def _send_limited(settings: Settings, kind: AlarmKind, text: str) -> None:
    interval = settings.alarm_interval_s
    try:
        connection = psycopg.connect(conninfo(settings, Role.WRITER), connect_timeout=3)
    except psycopg.OperationalError:
        # No database, and that may be the very trouble: the limit is this process's own.
        if _OWN_LIMIT.passes(kind, interval):
            _post(settings, text)
        return
    with connection:
        allowed = allow_alarm(connection, kind, interval)
        if allowed is None:
            return
        try:
            _post(settings, text + _kept_back(allowed))
        except TransientError:
            put_off_alarm(connection, kind, allowed.suppressed + 1, max(interval - _RETRY_S, 0.0))
            raise


def _kept_back(allowed: Allowed) -> str:
    if not allowed.suppressed:
        return ""
    since = f" since {allowed.since:%Y-%m-%d %H:%M} UTC" if allowed.since else ""
    return f" (and {allowed.suppressed} more of this kind{since})"


class _OwnLimit:
    """The rate limit while there is no database."""

    def __init__(self) -> None:
        self._sent: dict[AlarmKind, float] = {}

    def passes(self, kind: AlarmKind, interval_s: float) -> bool:
        now = time.monotonic()
        if now - self._sent.get(kind, -float("inf")) < interval_s:
            return False
        self._sent[kind] = now
        return True


_OWN_LIMIT = _OwnLimit()


def _post(settings: Settings, text: str) -> None:
    """Send one message; its parts that came from files can neither call people nor link."""
    assert settings.alarm_url is not None  # noqa: S101 - asked by the callers
    plain = _CONTROL.sub(" ", f"vo-service at {settings.root_url}: {text}")[:_LENGTH]
    body = json.dumps({"text": "".join(_SPECIAL.get(letter, letter) for letter in plain)})
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _PATIENCE_S)
    try:
        # Redirects are not followed, proxies of the environment not used, certificates checked.
        with (
            httpcore.ConnectionPool(max_connections=1) as pool,
            pool.stream(
                "POST",
                settings.alarm_url.get_secret_value(),
                headers={
                    "Content-Type": "application/json",
                    "User-Agent": f"vo-service/{__version__}",
                },
                content=body.encode(),
                extensions={"timeout": timeout},
            ) as answer,
        ):
            status = answer.status
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        httpcore.UnsupportedProtocol,
        ValueError,
    ) as error:
        # The kind of the error only: its text may hold the address, which is a secret.
        raise TransientError(f"the webhook cannot be reached ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise TransientError(f"the webhook answered {status}: expected 200")
