"""Clients that do not read, or leave, cost neither memory nor transfers from the store."""

import hashlib
import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.remote.places import Place
from tests.server.test_serve import started, ticket
from tests.support.bgzf_layout import BGZF_EOF, bgzf_blocks

SIZE = 200 << 20
CLIENTS = 6
ALLOWANCE = 48 << 20
"""What the process may grow by; the objects are much larger."""


@pytest.fixture
def huge(place: Place, files: Path) -> str:
    """The digest of a whole-file block of ~200 MB."""
    data = (files / "wide.bam").read_bytes()
    _, second, _ = next(bgzf_blocks(data))
    interior = data[second : -len(BGZF_EOF)]
    content = data[:second] + interior * (SIZE // len(interior)) + BGZF_EOF
    place.put("huge.bam", content)
    return hashlib.sha256(content[second:]).hexdigest()


def memory(process: subprocess.Popen[str]) -> int:
    """Resident bytes of the process."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")


def ask_and_not_read(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    client = socket.create_connection((parts.hostname, parts.port or 80))
    client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_clients_that_do_not_read(place: Place, huge: str) -> None:
    locations = {"HTSGATE_LOCATIONS": json.dumps([place.location])}
    with started("--port", "0", **locations) as (process, base):
        _, body = ticket(base, "/reads/huge")
        digest, held = hashlib.sha256(), memory(process)
        with urllib.request.urlopen(body, timeout=30) as response:  # noqa: S310
            while piece := response.read(1 << 20):
                digest.update(piece)
        assert memory(process) - held < ALLOWANCE
        place.log.clear()
        clients = [ask_and_not_read(body) for _ in range(CLIENTS)]
        time.sleep(2)
        transfers = [each for each in place.log("GET", "huge.bam") if not each.finished]
        assert len(transfers) == CLIENTS, "each waits for its client"
        assert memory(process) - held < ALLOWANCE
        sent = [each.sent for each in transfers]
        time.sleep(0.5)
        assert [each.sent for each in transfers] == sent, "nothing moves while nobody reads"
        for client in clients:
            client.close()
        deadline = time.monotonic() + 10
        while not all(each.finished for each in transfers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(each.broken for each in transfers), "who leaves ends the transfer"
        assert max(each.sent for each in transfers) < SIZE // 2
