"""Many requests at a time: by wrk where it is installed, else by a process of our own."""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measure import Sample
from benchmarks.processes import ROOT, Server, on_processor

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Requests:
    """GET requests over random intervals of `span` within `[0, limit)`.

    `{start}`, `{end}` and `{last}` stand for the interval in `path` and in `byte_range`, a Range
    header or empty. `authorization`: that header, or empty.
    """

    path: str
    byte_range: str = ""
    limit: int = 1
    span: int = 1
    authorization: str = ""

    def fill(self, text: str, start: int) -> str:
        """A text with the interval that begins at `start` put in."""
        text = text.replace("{start}", str(start)).replace("{end}", str(start + self.span))
        return text.replace("{last}", str(start + self.span - 1))


class Load:
    """A load generator; `name` says which."""

    def __init__(self) -> None:
        self._wrk = shutil.which("wrk")
        self._seed = 0

    @property
    def name(self) -> str:
        """Which generator it is."""
        return "wrk" if self._wrk else "built in"

    @property
    def is_light(self) -> bool:
        """Whether it costs much less than the servers it measures, so that rates are theirs."""
        return self._wrk is not None

    def run(self, server: Server, requests: Requests, seconds: float) -> Sample:
        """Keep `CONNECTIONS` requests in flight for some time. Any failed request is an error."""
        self._seed += 1
        numbers = [str(requests.limit), str(requests.span), str(self._seed)]
        texts = [requests.path, requests.byte_range, requests.authorization]
        if self._wrk:
            script = str(Path(__file__).with_suffix(".lua"))
            command = [
                self._wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", script,
                server.url, "--", *texts, *numbers,
            ]  # fmt: skip
        else:
            command = [
                sys.executable, "-m", "benchmarks.load", server.url, str(seconds), *texts, *numbers
            ]  # fmt: skip
        with on_processor(-1):
            before = server.cpu()
            output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
            after = server.cpu()
        line = next(line for line in output.stdout.splitlines() if line.startswith("counted "))
        count, duration, _, failed = (int(word) for word in line.split()[1:])
        if failed or not count:
            raise ConnectionError(f"{failed} of {count} requests failed")
        cpu = after - before if before is not None and after is not None else None
        return Sample(count, duration / 1e6, cpu)


class _Connection(asyncio.Protocol):
    """Asks, reads the answer, asks again."""

    def __init__(self, load: "_BuiltIn") -> None:
        self._load = load
        self._head = b""
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            transport.write(self._load.next())

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = b""
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._missing = int(length)
            if head.split(b" ", 2)[1] not in (b"200", b"206"):
                self._load.failed += 1
        self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            self._load.count += 1
            self._transport.write(self._load.next())


class _BuiltIn:
    def __init__(self, url: str, requests: Requests, seed: int) -> None:
        self._host = urlsplit(url).netloc
        self._requests = requests
        self._random = random.Random(seed)
        self.count = self.failed = 0

    def next(self) -> bytes:
        requests = self._requests
        start = self._random.randrange(requests.limit - requests.span + 1)
        text = f"GET {requests.fill(requests.path, start)} HTTP/1.1\r\nHost: {self._host}\r\n"
        if requests.byte_range:
            text += f"Range: {requests.fill(requests.byte_range, start)}\r\n"
        if requests.authorization:
            text += f"Authorization: {requests.authorization}\r\n"
        return f"{text}\r\n".encode()

    async def run(self, seconds: float) -> float:
        """Seconds that it took."""
        host, _, port = self._host.rpartition(":")
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: _Connection(self), host, int(port))
        await asyncio.sleep(seconds)
        return time.perf_counter() - began


def main() -> None:
    """The built-in generator, as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("path")
    parser.add_argument("byte_range")
    parser.add_argument("authorization")
    for name in ("limit", "span", "seed"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    requests = Requests(
        options.path, options.byte_range, options.limit, options.span, options.authorization
    )
    load = _BuiltIn(options.url, requests, options.seed)
    taken = asyncio.run(load.run(options.seconds))
    print(f"counted {load.count} {round(taken * 1e6)} 0 {load.failed}")


if __name__ == "__main__":
    main()
