"""Log lines on standard error: text for people, or one JSON object a line for programs.

Both carry the id of the request or job. Names and addresses of people, query strings and
positions are in no line unless the operator sets ``log_personal``.
"""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime

from vo_service.settings import Settings
from vo_service.telemetry.context import current_id

__all__ = ["ACCESS", "FIELDS", "set_up_logs"]

#: The log of requests.
ACCESS = logging.getLogger("vo_service.access")

#: Key of a record's further fields: ``log.info("..", extra={FIELDS: {..}})``.
FIELDS = "fields"


#: What ends a line somewhere, or moves a terminal's cursor.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _WithId(logging.Filter):
    """Writes the id of the request or job into each record, in the task that made it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_id()
        return True


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(for_id)s %(message)s")
        self.converter = time.gmtime
        self.default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        name = getattr(record, "request_id", None)
        record.for_id = f" [{name}]" if name else ""
        line = super().format(record)
        fields = getattr(record, FIELDS, {})
        more = "".join(f" {key}={value}" for key, value in fields.items() if value is not None)
        # One line an event: what a header or a path brings with it cannot begin another.
        return f"{line}{more}" if record.exc_info else _CONTROL.sub(_escaped, f"{line}{more}")


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        known = {key: value for key, value in said.items() if value is not None}
        return json.dumps(known, default=str)  # other letters than ASCII are escaped: one line


def set_up_logs(settings: Settings) -> None:
    """Send log lines of this process to standard error, as the operator chose."""
    handler = logging.StreamHandler()
    handler.addFilter(_WithId())
    handler.setFormatter(_Json() if settings.log_format == "json" else _Text())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("vo_service").setLevel(settings.log_level.upper())
    ACCESS.setLevel(logging.INFO if settings.access_log else logging.CRITICAL)
