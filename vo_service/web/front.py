"""Public files whose bytes a front sends: nginx, told by ``X-Accel-Redirect``.

The application decides and opens a file as ever. Then, instead of the bytes, it tells the front
where the link stands below its location `accel_prefix`, if that is set, the request came through
a trusted proxy, and asks plainly for the whole file or for one range of it. Everything else
(conditions that fail, several ranges, corrected headers, closed files) it answers itself.

What the front then sent comes back as a line of its log, in a syslog datagram to `accel_reports`,
believed from trusted proxies only: so the log of downloads counts bytes that were sent.

Source: nginx, "X-Accel-Redirect" of `ngx_http_proxy_module` and "Logging to syslog"; RFC 3164.
Sizes are bytes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote

import anyio
from anyio.abc import UDPSocket
from starlette.requests import Request
from starlette.responses import Response

from vo_service.errors import ConfigError
from vo_service.model.visitor import Visitor
from vo_service.services.downloads import Download, DownloadLog
from vo_service.settings import Settings
from vo_service.web.edge import PROXIED
from vo_service.web.files import FileDelivery
from vo_service.web.proxies import Proxies
from vo_service.web.visitors import visitor_of

__all__ = ["Front"]

_log = logging.getLogger(__name__)

#: Ranges that every server reads alike.
_PLAIN_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")

#: What nginx finds out for itself.
_NOT_TOLD = {"accept-ranges", "content-length", "content-range"}

#: ``log_format delivered`` of docker/front/nginx.conf behind syslog's priority, time and tag.
_REPORT = re.compile(rb"<[0-9]{1,3}>.{1,100}? vo: ([A-Za-z0-9_-]+) ([0-9]{3}) ([0-9]+) (OK)?-?\s*")


@dataclass(frozen=True, slots=True)
class _Ticket:
    """What the front is given with a file and gives back: who gets which product, how much of it.

    It travels in a header that nginx keeps to itself.
    """

    product_id: int
    name: str | None
    address: str
    size: int

    def __str__(self) -> str:
        text = json.dumps([self.product_id, self.name, self.address, self.size])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Self | None:
        """A ticket as it was written; None where it is none."""
        try:
            found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            return None
        match found:
            case [int(product_id), str() | None as name, str(address), int(size)]:
                return cls(product_id, name, address, size)
        return None


class Front:
    """What the application leaves to its front, and hears of it.

    Parameters
    ----------
    settings
        `accel_prefix` and `accel_reports`, both empty where there is no such front.
    log
        Where downloads are noted.
    """

    def __init__(self, settings: Settings, log: DownloadLog) -> None:
        self._prefix = settings.accel_prefix
        self._reports = settings.accel_reports
        self._proxies = Proxies(settings)
        self._log = log

    def offer(
        self, request: Request, path: str, product_id: int, delivery: FileDelivery
    ) -> Response:
        """*delivery*, or the answer by which the front sends the same.

        *path* is ``<collection>/<path>`` of a file that was opened by its link.
        """
        span = delivery.span
        if not self._prefix or PROXIED not in request.scope or span is None:
            return delivery
        # nginx compares If-Match with a tag of its own.
        asked = request.headers.getlist("range")
        plain = not asked or (len(asked) == 1 and _PLAIN_RANGE.fullmatch(asked[0]))
        if (
            not plain
            or (delivery.status_code == 206) != bool(asked)
            or "if-match" in request.headers
        ):
            return delivery
        delivery.drop()
        visitor = visitor_of(request)
        ticket = _Ticket(product_id, visitor.name, visitor.address, span[1] - span[0])
        told = {name: text for name, text in delivery.headers.items() if name not in _NOT_TOLD}
        place = f"{self._prefix}{quote(path)}"
        return Response(b"", 200, {**told, "X-Accel-Redirect": place, "X-VO-Delivery": str(ticket)})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to reports while the block lasts.

        Raises
        ------
        ConfigError
            If the address cannot be listened on.
        """
        if not self._reports:
            yield
            return
        host, _, port = self._reports.rpartition(":")
        try:
            # Several processes of a server share the port; each report comes to one of them.
            socket = await anyio.create_udp_socket(
                local_host=host.strip("[]"), local_port=int(port), reuse_port=True
            )
        except OSError as error:
            raise ConfigError(
                f"accel_reports: cannot listen on {self._reports}: {error.strerror}"
            ) from error
        async with socket, anyio.create_task_group() as group:
            group.start_soon(self._listen, socket)
            yield
            group.cancel_scope.cancel()

    async def _listen(self, socket: UDPSocket) -> None:
        async for packet, (host, _) in socket:
            if not self._proxies.trust(host):
                _log.warning("a report of a delivery from %s: not a trusted proxy", host)
            elif (download := _download(packet)) is not None:
                self._log.note(download)


def _download(packet: bytes) -> Download | None:
    """What a report tells was sent; None where that is nothing."""
    found = _REPORT.fullmatch(packet)
    ticket = _Ticket.read(found[1].decode()) if found else None
    if found is None or ticket is None:
        _log.warning("a report of a delivery that is none: %r", packet[:200])
        return None
    status, size = int(found[2]), int(found[3])
    if status not in (200, 206):  # the link went, or the client had too many at once
        return None
    return Download(
        product_id=ticket.product_id,
        visitor=Visitor(name=ticket.name, address=ticket.address),
        kind="file",
        method="GET",
        whole=status == 200,
        complete=found[4] is not None and size == ticket.size,
        size=size,
        ended=datetime.now(UTC),
    )
