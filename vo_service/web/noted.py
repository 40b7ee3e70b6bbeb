"""Deliveries that leave a note in the log of downloads when they end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request

from vo_service.services.downloads import Download, DownloadLog, Kind
from vo_service.web.visitors import visitor_of

__all__ = ["noting"]


def noting(
    log: DownloadLog, request: Request, product_id: int, kind: Kind = "file"
) -> Callable[[int, int, bool], None]:
    """What `FileDelivery` calls at its end: with status, bytes sent, and whether these were all.

    Answers without content of the product (HEAD, 304, 412, 416) are no downloads.
    """

    def note(status: int, size: int, complete: bool) -> None:
        if request.method == "HEAD" or status not in (200, 206):
            return
        log.note(
            Download(
                product_id=product_id,
                visitor=visitor_of(request),
                kind=kind,
                method=request.method,
                whole=status == 200,
                complete=complete,
                size=size,
                ended=datetime.now(UTC),
            )
        )

    return note
