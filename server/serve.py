"""Runs the application: in this process, or in several that share the port."""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from aiohttp import web

from server.app import create_app, open_catalog
from server.config import ConfigurationError, Settings, read_secret
from server.limits import Limits, make_runner

_BACKLOG = 1024
_log = logging.getLogger(__name__)


def serve(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; `announce` is called with the URL once connections are
    accepted.

    Raises `ConfigurationError`, and `OSError` when the port cannot be had. Returns the exit status.
    """
    secret = read_secret(settings.server) or secrets.token_bytes(32)
    tls_context(settings)
    open_catalog(settings)
    sockets = _listen(settings)
    url = _url(settings, sockets[0])
    if len(sockets) == 1:
        asyncio.run(_run(settings, secret, sockets[0], lambda: announce(url)))
        return 0
    return _supervise(settings, secret, sockets, lambda: announce(url))


async def _run(
    settings: Settings, secret: bytes, listener: socket.socket, ready: Callable[[], None]
) -> None:
    """Serve on one socket until the process is told to stop; requests in progress may finish."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = make_runner(create_app(settings, secret=secret), limits=Limits())
    await runner.setup()
    try:
        site = web.SockSite(runner, listener, ssl_context=tls_context(settings), backlog=_BACKLOG)
        await site.start()
        _settle()
        ready()
        await stop.wait()
    finally:
        await runner.cleanup()


def _settle() -> None:
    """Spare the garbage collector what lives as long as the process: it costs half a warm
    ticket."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _supervise(
    settings: Settings, secret: bytes, sockets: list[socket.socket], ready: Callable[[], None]
) -> int:
    """Run one process for each socket; all end when told to, or as soon as one fails."""
    context = multiprocessing.get_context("spawn")
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)

    processes = []
    pipes: list[Connection] = []
    for listener in sockets:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(settings, secret, listener, theirs))
        process.start()
        theirs.close()
        listener.close()
        processes.append(process)
        pipes.append(ours)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        for pipe in pipes:
            pipe.recv()
        ready()
    except EOFError:
        stop()
        stopping = False
    wait([process.sentinel for process in processes])
    failed = not stopping
    stop()
    for process in processes:
        process.join()
    if failed:
        _log.error("a server process ended by itself")
    return int(failed)


def _work(settings: Settings, secret: bytes, listener: socket.socket, pipe: Connection) -> None:
    """A server process: tells its parent when it is ready, and ends when the parent is gone."""

    def outlive_nobody() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=outlive_nobody, daemon=True).start()
    asyncio.run(_run(settings, secret, listener, lambda: pipe.send(True)))


def _listen(settings: Settings) -> list[socket.socket]:
    """A listening socket for each process, all on one port."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    for _ in range(settings.server.workers):
        listener = socket.socket(family, socket.SOCK_STREAM)
        sockets.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.server.workers > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((host, port))
        except OSError:
            for each in sockets:
                each.close()
            raise
        port = listener.getsockname()[1]
    return sockets


def _url(settings: Settings, listener: socket.socket) -> str:
    if settings.server.public_url is not None:
        return settings.server.public_url
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.server.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the configured certificate (TLS 1.2 or newer), or None without one."""
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise ConfigurationError("server.tls_key: give tls_certificate too")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"server.tls_certificate: {error}") from error
    return context
