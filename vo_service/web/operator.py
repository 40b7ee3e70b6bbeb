"""The operator's port: ``/health``, ``/health/live``, ``/health/ready`` and ``/metrics``.

On an address of its own (``operator_host``, ``operator_port``; loopback, off), for `serve` and for
workers alike: none of it is for the world. *Live* says that the process answers at all, *ready*
that it can do its work and shall get some. Source: Prometheus, "Exposition formats"; Kubernetes,
"Liveness, Readiness and Startup Probes".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from anyio import to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vo_service.services.drain import Drain
from vo_service.services.health import ArchiveMeters, why_not_ready
from vo_service.settings import Settings
from vo_service.telemetry.meters import REGISTRY

__all__ = ["operator_app", "operator_port"]

_log = logging.getLogger(__name__)

#: Between tries to have the port: at a restart, the process that leaves has it for a while.
_RETRY_S = 1.0
_STOP_S = 1


def operator_app(settings: Settings, drain: Drain | None = None) -> Starlette:
    """What is served there.

    Parameters
    ----------
    settings
        What the operator chose.
    drain
        Begun when this process is about to leave, and shall get no more requests.
    """
    archive = CollectorRegistry()
    archive.register(ArchiveMeters(settings))

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(request: Request) -> Response:
        reason = "this process is about to stop" if drain is not None and drain.begun else None
        reason = reason or await to_thread.run_sync(why_not_ready, settings)
        said = {"status": "not ready", "reason": reason} if reason else {"status": "ready"}
        return JSONResponse(said, 503 if reason else 200)

    async def metrics(request: Request) -> Response:
        text = await to_thread.run_sync(
            lambda: generate_latest(REGISTRY) + generate_latest(archive)
        )
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health", ready),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )


@contextlib.asynccontextmanager
async def operator_port(settings: Settings, drain: Drain | None = None) -> AsyncIterator[None]:
    """Serve the operator's port while the block lasts, if there is to be one.

    A port that is taken keeps nothing else from working: it is tried again.
    """
    if not settings.operator_port:
        yield
        return
    config = uvicorn.Config(
        operator_app(settings, drain), log_config=None, access_log=False, lifespan="off",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=_STOP_S,
    )  # fmt: skip
    server = _Quiet(config)
    task = asyncio.create_task(_serve(settings, server))
    try:
        yield
    finally:
        server.should_exit = True
        if not server.started:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Quiet(uvicorn.Server):
    """uvicorn beside another server (or a worker), whose signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: Settings, server: uvicorn.Server) -> None:
    sock = await _listen(settings)
    with contextlib.closing(sock):
        await server.serve(sockets=[sock])


async def _listen(settings: Settings) -> socket.socket:
    told = ""
    while True:
        try:
            return _bind(settings.operator_host, settings.operator_port)
        except OSError as error:
            if str(error) != told:  # once, not every second while it lasts
                told = str(error)
                _log.error(
                    "operator_port: cannot listen on %s, port %s: %s; it is tried again",
                    settings.operator_host, settings.operator_port, error.strerror,
                )  # fmt: skip
        await asyncio.sleep(_RETRY_S)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
