"""What must not leave: the data of who has withdrawn, what a client no longer waits for, and what a
file from elsewhere would have us read."""

import asyncio
import os
import shutil
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pysam
import pytest

from tests.server.access.denials import watched
from tests.server.access.guarded import DATASET, HEAD, Guarded, grant, guarded, person
from tests.support import sample_reads
from tests.support.bgzf_layout import BGZF_EOF, bgzf_blocks
from tests.support.sample_crams import write_cram

MAP = """object,sample,participant
reads/study/reads,s1,P-1
reads/study/only,s2,P-2
variants/study/variants,s1,P-1
variants/study/variants,s2,P-2
"""
WITHDRAWN = "participant,effective_from\n"


async def eventually(site: Guarded, path: str, status: int) -> None:
    """Wait until the server has taken note."""
    for _ in range(100):
        if (await site.get(path, "alice")).status == status:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} is still not {status}")


@pytest.mark.security("TL4")
async def test_who_withdraws_is_nowhere(data: Path, tmp_path: Path) -> None:
    """What is theirs alone is not there any more; what is also others' is kept back whole, since
    nothing takes single samples out; the rest is as it was."""
    (tmp_path / "samples.csv").write_text(MAP)
    withdrawn = tmp_path / "withdrawn.csv"
    withdrawn.write_text(WITHDRAWN)
    head = HEAD.replace(
        f'id = "{DATASET}"',
        f'id = "{DATASET}"\nsamples = "samples.csv"\nwithdrawn = "withdrawn.csv"',
    )
    reads, joint, other = "/reads/study/reads", "/variants/study/variants", "/reads/study/only"
    async with guarded(
        data, tmp_path, policy=lambda issuer: head + grant("G-ALL", person(issuer, "alice"))
    ) as site:
        before = {path: await site.get(path, "alice") for path in (reads, joint, other)}
        assert {each.status for each in before.values()} == {200}
        withdrawn.write_text(f"{WITHDRAWN}P-1,2020-01-01\n")
        await eventually(site, reads, 404)
        opened: list[str] = []
        with watched(site.live, opened):
            absent = await site.get("/reads/study/none", "alice")
            for path in (reads, joint):
                for query in ("", "?class=header", "?referenceName=one&start=1&end=2000"):
                    reply = await site.get(path + query, "alice")
                    assert reply.error == (404, "NotFound")
                    assert reply.body == absent.body
                for url in before[path].urls:
                    assert (await site.live.get(url)).error == (404, "NotFound")
            form = await site.get(f"{joint}?format=BCF", "alice")
            assert form.error == (404, "NotFound")
        assert not [each for each in opened if "none" not in each]
        assert await site.live.whole(await site.get(other, "alice"))
        assert await site.live.whole(before[other])
        rules = {each["object"]: each["rule"] for each in await site.events("ticket.denied")}
        assert rules["study/reads"] == "consent.withdrawn"
        assert rules["study/variants"] == "consent.joint"
        denied = await site.events("data.denied")
        assert {each["rule"] for each in denied} == {"consent.withdrawn", "consent.joint"}


@pytest.fixture
async def big(data: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    """A server of an object of 100 MB, more than any buffer holds: its reads again and again."""
    whole = (data / "large.bam").read_bytes()
    blocks = [whole[at : at + size] for at, size, _ in bgzf_blocks(whole)]
    body = b"".join(blocks[1:]).removesuffix(BGZF_EOF)
    with (tmp_path / "big.bam").open("wb") as file:
        file.write(blocks[0])
        for _ in range(100_000_000 // len(body)):
            file.write(body)
        file.write(BGZF_EOF)
    state = tmp_path / "state"
    state.mkdir()
    policy = '[[dataset]]\nid = "D"\nobjects = ["reads/study/*"]\n'
    async with guarded(
        tmp_path,
        state,
        policy=lambda issuer: (
            HEAD.split("[[dataset]]")[0] + policy + grant("G", person(issuer, "alice"), dataset="D")
        ),
    ) as site:
        yield site


@pytest.mark.security("TL7")
async def test_a_client_that_leaves(big: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte is read for it any more, and within a second the record says so."""
    reading: list[float] = []

    def spied(found: Any) -> Any:
        def call(*arguments: Any) -> Any:
            reading.append(time.monotonic())
            return found(*arguments)

        return call

    monkeypatch.setattr(os, "sendfile", spied(os.sendfile))
    monkeypatch.setattr(os, "preadv", spied(os.preadv))
    ticket = await big.get("/reads/study/big", "alice")
    (url,) = ticket.urls[1:2]
    at = urlsplit(url)
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.setblocking(False)
    await loop.sock_connect(client, (at.hostname, at.port))
    request = f"GET {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n"
    await loop.sock_sendall(client, request.encode())
    received = 0
    while received < 1 << 20:
        received += len(await loop.sock_recv(client, 1 << 16))
    await asyncio.sleep(0.3)
    assert len(reading) > 1
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    left = time.monotonic()
    while not (aborted := await big.events("data.aborted")):
        await asyncio.sleep(0.02)
        assert time.monotonic() - left < 1.0
    (intent,) = await big.events("data.intent")
    assert [each["tid"] for each in aborted] == [intent["tid"]]
    assert aborted[0]["outcome"] == "aborted"
    assert received <= aborted[0]["bytes"] < intent["size"]
    await asyncio.sleep(1.2)
    assert not [each for each in reading if each > left + 1.0]
    assert not await big.events("data.done")


@pytest.mark.security("TI7")
@pytest.mark.parametrize("kind", ["file", "web"])
async def test_files_name_no_references(kind: str, tmp_path: Path) -> None:
    """A CRAM that says where its reference lies is not believed: neither file nor URL is opened,
    though it would decode there."""
    secret, home = tmp_path / "secret", tmp_path / "home"
    secret.mkdir()
    home.mkdir()
    fasta = secret / "genome.fa"
    sample_reads.write_fasta(fasta, sample_reads.SMALL_CONTIGS)
    pysam.faidx(str(fasta))
    asked: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        where = str(fasta) if kind == "file" else f"http://127.0.0.1:{port}/genome.fa"
        sam = "".join(
            f"{line}\tUR:{where}\n" if line.startswith("@SQ") else f"{line}\n"
            for line in sample_reads.small_reads().splitlines()
        )
        path = home / "reads.cram"
        write_cram(path, sam, "seqs_per_slice=300", fasta=fasta)
        pysam.index(str(path))
        place = "/reads/study/reads?format=CRAM"
        region = f"{place}&referenceName=one&start=20000&end=20100"
        async with guarded(home, tmp_path) as site:
            assert (await site.get(f"{place}&class=header", "alice")).status == 200
            ticket = await site.get(region, "alice")
            replies = [ticket, *[await site.live.get(each) for each in ticket.urls]]
            assert {each.status for each in replies} == {200, 503}
            assert not [each for each in replies if str(secret).encode() in each.body]
        assert asked == []
        shutil.copy2(fasta, home / "genome.fa")  # where references are looked for
        shutil.copy2(f"{fasta}.fai", home / "genome.fa.fai")
        async with guarded(home, tmp_path) as site:
            assert await site.fetch(region, "alice")
        assert asked == []
