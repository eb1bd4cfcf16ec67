"""A proxy before a server, which breaks off the downloads that a test wants to see broken off.

It leaves the Host header as it is, so that the tickets of the server lead through the proxy too.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OF_ONE_CONNECTION = frozenset(("connection", "keep-alive", "transfer-encoding"))
_CLOSE_WITH_RESET = struct.pack("ii", 1, 0)  # linger, but for no time


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came through."""

    method: str
    target: str
    """Path and query as they were sent."""
    headers: Message
    status: int
    """Of the server's answer."""
    sent: int
    """Bytes of the answer's body that were passed on."""
    cut: bool
    """Whether the connection was broken off before the end of the body."""

    @property
    def is_block(self) -> bool:
        """Whether it was for data, not for a ticket."""
        return self.target.startswith("/blocks/")


@dataclass(slots=True)
class CuttingProxy:
    """A running proxy."""

    url: str
    """Base URL, to be used instead of the server's."""
    after: int
    """Bytes of a block's body that are passed on before the connection is broken."""
    times: int
    """How many downloads are still to be broken off."""
    reset: bool
    """Break by a reset (RST), not by an early end (FIN)."""
    requests: list[Seen] = field(default_factory=list)
    """What came through, in the order in which the answers began."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def tickets(self) -> list[Seen]:
        """The requests that were not for blocks."""
        return [each for each in self.requests if not each.is_block]

    @property
    def blocks(self) -> list[Seen]:
        """The requests for blocks."""
        return [each for each in self.requests if each.is_block]

    def takes(self, target: str, length: int) -> bool:
        """Whether this answer is to be broken off; counts it."""
        with self._lock:
            if not self.times or length <= self.after or not target.startswith("/blocks/"):
                return False
            self.times -= 1
            return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close at once: an announcement of the end would come before the reset."""
        self.close_request(request)


@contextmanager
def cutting(url: str, after: int, *, times: int = 1, reset: bool = False) -> Iterator[CuttingProxy]:
    """A proxy on a free port before the server at `url` (http), until the block ends.

    Of the blocks that have more than `after` bytes to send, the first `times` are broken off there.
    """
    where = urlsplit(url)
    assert where.scheme == "http"
    upstream = (where.hostname or "", where.port or 80)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            server = HTTPConnection(*upstream, timeout=60)
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_ONE_CONNECTION:
                    server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            content = answer.read()
            server.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            broken = proxy.takes(self.path, len(content))
            content = content[: proxy.after] if broken else content
            self.close_connection = True
            headers = self.headers
            proxy.requests.append(
                Seen(self.command, self.path, headers, answer.status, len(content), broken)
            )
            try:
                self.wfile.write(content)
                self.wfile.flush()
            except OSError:  # the client had enough
                return
            if broken and proxy.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)

        do_POST = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with _Server(("127.0.0.1", 0), Handler) as listening:
        proxy = CuttingProxy(f"http://127.0.0.1:{listening.server_port}", after, times, reset)
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,), name="proxy")
        thread.start()
        try:
            yield proxy
        finally:
            listening.shutdown()
            thread.join(timeout=30)
