"""A sound server with one defect: what it answers is changed on the way, as a defect says."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

KEPT_SECONDS = 240
"""URLs of data are good for ten minutes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. `target`: path and query; `headers`: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """What a client gets. `headers`: names in lower case; Content-Length is that of the body, or of
    HEAD, if it is among them; with Transfer-Encoding, the body is sent as one chunk. Of the body,
    `cut` bytes at the end are not sent, and the connection is closed. Not `counted`: there is no
    Content-Length, and the body ends with the connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    cut: int = 0
    counted: bool = True

    def having(self, **headers: str | None) -> "Response":
        """With these headers (underscores for hyphens), or without those that are None."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in changed}
        added = {name: value for name, value in changed.items() if value is not None}
        return replace(self, headers={**kept, **added})

    def holding(self, body: bytes) -> "Response":
        """With another body."""
        return replace(self, body=body)


Sound = Callable[[Request], Response]
Defect = Callable[[Request, Sound], Response]
"""Answers a request; the sound server can be asked for this or any other one."""


def no_defect(request: Request, sound: Sound) -> Response:
    return sound(request)


@dataclass
class BrokenServer:
    """Stands in front of a sound server, whose answers it keeps: that server is asked once, or
    again before the URLs in its tickets expire."""

    sound_url: str
    url: str = ""
    defect: Defect = no_defect
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))
    _kept: dict[object, Response] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def answer(self, request: Request) -> Response:
        return self.defect(request, self._sound)

    def _sound(self, request: Request) -> Response:
        if time.monotonic() - self._since > KEPT_SECONDS:
            self._kept, self._since = {}, time.monotonic()
        key = (request.method, request.target, tuple(sorted(request.headers.items())), request.body)
        kept = self._kept
        if key not in kept:
            kept[key] = self._ask(request)
        return kept[key]

    def _ask(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "connection"}
        answer = self._pool.request(
            request.method,
            self.sound_url + request.target,
            headers=headers,
            body=request.body or None,
            redirect=False,
            decode_content=False,
        )
        hop_by_hop = {"transfer-encoding", "connection", "date", "server", "keep-alive"}
        kept = {name.lower(): value for name, value in answer.headers.items()}
        return Response(
            answer.status,
            {name: value for name, value in kept.items() if name not in hop_by_hop},
            answer.data,
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *whose: Any) -> None:
        """Clients that leave are no errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*whose)


@contextmanager
def broken_server(sound_url: str) -> Iterator[BrokenServer]:
    """A server whose defect can be set, from when it accepts connections until the block ends."""
    broken = BrokenServer(sound_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16  # headers and body at once

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            self._send(broken.answer(request))

        def _send(self, response: Response) -> None:
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                if name != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            chunked = "transfer-encoding" in response.headers
            counted = response.counted and not chunked and response.status not in (204, 304)
            if self.command != "HEAD" and counted:
                self.send_header("content-length", str(len(response.body)))
            if response.cut or not response.counted:
                self.send_header("connection", "close")
            self.end_headers()
            if self.command != "HEAD" and chunked:
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(response.body), response.body))
            elif self.command != "HEAD":
                self.wfile.write(response.body[: len(response.body) - response.cut])

        def log_message(self, *_: object) -> None:
            """Nothing."""

    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._serve)
    with _Server(("127.0.0.1", 0), Handler) as server:
        broken.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield broken
        finally:
            server.shutdown()
            thread.join()
            broken._pool.clear()
