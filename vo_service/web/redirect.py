"""The plain port beside HTTPS: sends everybody to the public address, and answers nothing else."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["Redirect"]


class Redirect:
    """An application that leads to the same path below *root*, whatever host was asked for."""

    def __init__(self, root: str) -> None:
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lead on; with the same method, where that is not safe to change."""
        path = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        place = f"{self._root}{path if path.startswith('/') else '/'}{'?' if query else ''}{query}"
        status = 301 if scope["method"] in {"GET", "HEAD"} else 308
        headers = {"Location": place, "Connection": "close"}
        await Response(status_code=status, headers=headers)(scope, receive, send)
