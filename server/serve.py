"""Runs the application: in this process, or in several that share the port."""

import asyncio
import contextlib
import errno
import gc
import logging
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from aiohttp import web
from pydantic import SecretStr

from server.app import create_app, open_catalog, open_index_cache
from server.config import (
    ConfigurationError,
    DatabaseSection,
    Settings,
    database_url,
    read_secret,
)
from server.dependency_floors import shortfalls
from server.limits import Limits, make_runner
from server.logs import configure_logging
from server.reachability import NamedLocation, warnings

_BACKLOG = 1024
_log = logging.getLogger(__name__)


class AddressTaken(ConfigurationError):
    """Something else listens on the address and port."""


def serve(settings: Settings, announce: Callable[[str, str], None]) -> int:
    """Serve until SIGTERM or SIGINT; `announce` is called with the URL and with the address and
    port once connections are accepted.

    Raises `ConfigurationError`; `AddressTaken` when the port cannot be had. Returns the exit
    status.
    """
    _raise_descriptor_limit()
    secret = read_secret(settings.server) or secrets.token_bytes(32)
    tls_context(settings)
    _check_libraries(settings)
    open_index_cache(settings)
    for warning in warnings(_named(settings), settings.refget.sequences):
        _log.warning("%s", warning)
    sockets = _listen(settings)
    address = _address(*sockets[0].getsockname()[:2])
    scheme = "https" if settings.server.tls_certificate else "http"
    url = settings.server.public_url or f"{scheme}://{address}"
    if len(sockets) == 1:
        asyncio.run(_run(settings, secret, sockets[0], lambda: announce(url, address)))
        return 0
    with _shared_database(settings) as shared:
        return _supervise(shared, secret, sockets, lambda: announce(url, address))


@contextlib.contextmanager
def _shared_database(settings: Settings) -> Iterator[Settings]:
    """Settings with a database that all processes see: where none is configured, until they end."""
    if database_url(settings) is not None:
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="htsgate-") as directory:
        url = SecretStr(f"sqlite:///{directory}/htsgate.db")
        yield settings.model_copy(update={"database": DatabaseSection(url=url)})


def _check_libraries(settings: Settings) -> None:
    found = shortfalls()
    if found and settings.server.outdated == "refuse":
        raise ConfigurationError(f"server.outdated: {found[0]}")
    for each in found:
        _log.warning("%s", each)


def _named(settings: Settings) -> list[NamedLocation]:
    served = open_catalog(settings).locations
    return [
        NamedLocation(
            each,
            location.path if location.scheme == "file" else None,
            location.endpoint_url or location.url,
        )
        for location, each in zip(settings.locations, served, strict=True)
    ]


def _raise_descriptor_limit() -> None:
    """Have as many descriptors as the process may: each connection and open file takes one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    requested = False

    def stop() -> None:
        for process in processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)

    def stop_as_requested(*_: object) -> None:
        nonlocal requested
        requested = True
        stop()

    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_as_requested)
    for listener in sockets:
        ours, theirs = context.Pipe()
        level = logging.getLogger().level
        process = context.Process(target=_work, args=(settings, secret, listener, theirs, level))
        process.start()
        theirs.close()
        listener.close()
        processes.append(process)
        pipes.append(ours)
    if requested:  # while one was started that `stop` did not know yet
        stop()
    with contextlib.suppress(EOFError):  # one ended before it was ready
        for pipe in pipes:
            pipe.recv()
        if not requested:
            ready()
    ended = wait([process.sentinel for process in processes])
    failed = not requested
    if failed:
        for process in processes:
            if process.sentinel in ended:
                process.join()
                _log.error(
                    "server process %s %s, so the service ends",
                    process.pid,
                    _ending(process.exitcode or 0),
                )
    stop()
    for process in processes:
        process.join()
    return int(failed)


def _ending(code: int) -> str:
    """How a process ended, from its exit code as `multiprocessing` gives it."""
    if code >= 0:
        return f"ended by itself with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _work(
    settings: Settings, secret: bytes, listener: socket.socket, pipe: Connection, log_level: int
) -> None:
    """A server process: tells its parent when it is ready, and ends when the parent is gone."""
    configure_logging(log_level)

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
        except OSError as error:
            for each in sockets:
                each.close()
            raise _refusal(error, host, port) from error
        port = listener.getsockname()[1]
    return sockets


def _refusal(error: OSError, host: str, port: int) -> ConfigurationError:
    address = _address(host, port)
    if error.errno == errno.EADDRINUSE:
        return AddressTaken(f"{address} is taken: choose another port, or 0 for any free one")
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(f"server.host: {host} is no address of this machine")
    return ConfigurationError(f"cannot listen on {address}: {error.strerror}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the configured certificate (TLS 1.2 or newer), or None without one."""
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise ConfigurationError("server.tls_key: give tls_certificate too")
    if key is None:
        raise ConfigurationError("server.tls_certificate: give tls_key too")
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigurationError(f"server.{name}: {path}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"server.tls_certificate: {certificate}: not a PEM certificate"
        ) from error
    try:
        context.load_cert_chain(certificate, key, password="")  # never ask for one
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"server.tls_key: {key}: not the PEM key of the certificate without a passphrase"
        ) from error
    return context
