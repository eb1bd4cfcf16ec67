"""The same file in S3 and on disk, behind one server: tickets, blocks, and the inside of a slice.

The store runs on this machine, so it answers in a millisecond; one over a network does not. Where
three processes move the bytes, all of them may run on any processor.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median

import aiohttp
from yarl import URL

from benchmarks.client import Client
from benchmarks.load import Requests
from benchmarks.measure import (
    Gate,
    Row,
    Sample,
    micros,
    millis,
    rate,
    row_of,
    speed_ratio,
    take_turns,
    throughput,
)
from benchmarks.processes import Server, htsgate, on_processor
from benchmarks.rows.setting import Setting
from benchmarks.rows.ticket import SPAN
from benchmarks.stores import Store, s3_store
from formats.regions import Interval
from server.model import Format
from server.slicing.segments import Stored
from server.slicing.selection import Selection
from server.slicing.slicers import StreamSlicer, read_stream_header
from storage_backends.local import DescriptorSource

_DISK, _S3 = "disk/reads", "s3/reads"
_INTERIOR = 160_000_000
_DOWNLOADS = 4
_BLOCKS = 8


def tickets(setting: Setting) -> Iterator[Row]:
    """Warm tickets, random regions of 10 kb; the same server answers for both."""
    with _both(setting, processor=0) as (_, server):
        samples = take_turns(
            {
                name: partial(
                    setting.load.run, server, _ticket_requests(setting, object_id), setting.seconds
                )
                for name, object_id in (("S3", _S3), ("disk", _DISK))
            },
            setting.rounds,
        )
    yield row_of(
        "s3-ticket",
        "processor time of a warm ticket, in S3 / on disk",
        speed_ratio(samples["disk"], samples["S3"], "CPU"),
        basis="CPU",
        gate=Gate(1.3, 1, most=True),
        figures={name: micros(each) for name, each in samples.items()},
    )
    yield row_of(
        "s3-ticket-rate",
        "warm tickets a second, in S3 / on disk",
        speed_ratio(samples["S3"], samples["disk"]),
        figures={name: rate(each) for name, each in samples.items()},
    )


def interior(setting: Setting) -> Iterator[Row]:
    """The inside of one large slice through the server, and the same bytes from the store itself,
    by the same aiohttp client in this process."""
    region = setting.region(setting.bases(_INTERIOR))
    with _both(setting, processor=None) as (store, server):
        stored, offset = _longest_interior(setting, region)
        with Client(server.url) as client:
            _, body = client.ticket(server.url, "reads", _S3, region)
        through = _Download(body, offset, offset + len(stored))
        direct = _Download(store.presigned(setting.inputs.reads.name), stored.start, stored.end)
        if asyncio.run(through.digest()) != asyncio.run(direct.digest()):
            raise ConnectionError("the server and the store send different bytes")
        busy: dict[str, list[dict[str, float]]] = {"htsgate": [], "store": []}
        samples = take_turns(
            {
                "htsgate": lambda: _downloads(through, server, store, busy["htsgate"]),
                "store": lambda: _downloads(direct, server, store, busy["store"]),
            },
            setting.rounds,
            setting.warm,
        )
    megabytes = len(stored) / 1e6
    through_us, by_itself = _busy(busy["htsgate"]), _busy(busy["store"])
    # A store slower than any server would hide what the server costs.
    gate = Gate(0.7, 0.9) if store.name == "versitygw" else None
    yield row_of(
        "s3-interior",
        f"{megabytes:.0f} MB of a slice through the server / from {store.name} itself",
        speed_ratio(samples["htsgate"], samples["store"]),
        gate=gate,
        figures={name: throughput(each) for name, each in samples.items()},
        note=f"processor seconds for a GB: through the server {through_us}; else {by_itself}",
    )


def blocks(setting: Setting) -> Iterator[Row]:
    """Data blocks of 100 kb: one that was planned before, and ones never asked for."""
    with _both(setting, processor=0) as (store, server), Client(server.url) as client:
        region = setting.region(100_000)
        known = {
            object_id: client.ticket(server.url, "reads", object_id, region)[1]
            for object_id in (_S3, _DISK)
        }
        asked: dict[str, list[float]] = {"warm": [], "cold": []}

        def warm(object_id: str) -> Sample:
            return _blocks(client, store, [known[object_id]] * _BLOCKS, asked["warm"], object_id)

        def cold(object_id: str) -> Sample:
            urls = [
                client.ticket(server.url, "reads", object_id, setting.region(100_000))[1]
                for _ in range(_BLOCKS)
            ]
            return _blocks(client, store, urls, asked["cold"], object_id)

        samples = take_turns(
            {
                "warm S3": lambda: warm(_S3),
                "warm disk": lambda: warm(_DISK),
                "cold S3": lambda: cold(_S3),
                "cold disk": lambda: cold(_DISK),
            },
            setting.rounds,
        )
    for kind, title in (
        ("warm", "a warm block of 100 kb"),
        ("cold", "a new block of 100 kb"),
    ):
        ours, disk = samples[f"{kind} S3"], samples[f"{kind} disk"]
        yield row_of(
            f"s3-block-{kind}",
            f"{title}, in S3 / on disk",
            speed_ratio(disk, ours),
            figures={"S3": millis(ours), "disk": millis(disk)},
            note=f"requests to {store.name}: {median(asked[kind]):.1f} a block",
        )


@contextlib.contextmanager
def _both(setting: Setting, processor: int | None) -> Iterator[tuple[Store, Server]]:
    """A store with the BAM and its index, and a server of it and of the files themselves."""
    reads = setting.inputs.reads
    files = (reads, reads.with_name(reads.name + ".bai"))
    with s3_store(setting.directory, files) as store:
        config = setting.directory / "remote.toml"
        locations = (
            {"name": "disk", "url": str(setting.inputs.served)},
            {"name": "s3", **store.location},
        )
        text = "".join(
            "[[locations]]\n" + "".join(f"{key} = {json.dumps(each[key])}\n" for key in each)
            for each in locations
        )
        config.write_text(setting.config.read_text() + text)
        with htsgate(None, config, processor=processor, environment=store.environment) as server:
            yield store, server


def _ticket_requests(setting: Setting, object_id: str) -> Requests:
    path = f"/reads/{object_id}?referenceName=chr20&start={{start}}&end={{end}}"
    return Requests(path, limit=setting.inputs.scale.dense, span=SPAN)


def _longest_interior(setting: Setting, region: tuple[str, int, int]) -> tuple[Stored, int]:
    """The longest verbatim range of a region's block, and where in the block it begins."""
    path = setting.inputs.reads
    with path.open("rb") as file:
        source = DescriptorSource(file.fileno(), path.stat().st_size)
        header = read_stream_header(source, Format.BAM)
        slicer = StreamSlicer.open(header, path.with_name(path.name + ".bai").read_bytes())
        number = header.names.index(region[0])
        plan = slicer.plan(source, Selection((Interval(number, *region[1:]),)))
    offset, found = 0, (Stored(0, 0), 0)
    for segment in plan:
        if isinstance(segment, Stored) and len(segment) > len(found[0]):
            found = segment, offset
        offset += len(segment)
    return found


@dataclass(frozen=True, slots=True)
class _Download:
    """The bytes `[start, end)` of what a URL names, by the usual aiohttp client."""

    url: str
    start: int
    end: int

    async def length(self) -> int:
        """How many bytes came."""
        count = 0
        async with aiohttp.ClientSession() as session, self._get(session) as response:
            async for piece in response.content.iter_any():
                count += len(piece)
        return count

    async def digest(self) -> str:
        """What the bytes are."""
        digest = hashlib.sha256()
        async with aiohttp.ClientSession() as session, self._get(session) as response:
            async for piece in response.content.iter_any():
                digest.update(piece)
        return digest.hexdigest()

    def _get(self, session: aiohttp.ClientSession) -> "aiohttp.client._RequestContextManager":
        return session.get(
            URL(self.url, encoded=True),
            headers={"Range": f"bytes={self.start}-{self.end - 1}"},
            raise_for_status=True,
        )


def _downloads(
    download: _Download, server: Server, store: Store, busy: list[dict[str, float]]
) -> Sample:
    """Some downloads one after the other; adds the processor seconds of each process for a GB."""
    total = _DOWNLOADS * (download.end - download.start)
    processes = {"htsgate": server.cpu, "store": store.server.cpu, "reader": time.process_time}
    before = {name: clock() for name, clock in processes.items()}
    began = time.perf_counter()
    count = sum(asyncio.run(download.length()) for _ in range(_DOWNLOADS))
    taken = time.perf_counter() - began
    if count != total:
        raise ConnectionError(f"{count} bytes came where {total} were asked for")
    spent: dict[str, float] = {}
    for name, clock in processes.items():
        first, last = before[name], clock()
        if first is not None and last is not None:
            spent[name] = last - first
    busy.append({name: seconds / total * 1e9 for name, seconds in spent.items()})
    return Sample(total, taken, spent.get("htsgate"))


def _busy(rounds: list[dict[str, float]]) -> str:
    """The medians, but for the turn to warm up."""
    names = rounds[0]
    medians = {name: median(each[name] for each in rounds[1:]) for name in names}
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in medians.items() if seconds)


def _blocks(
    client: Client, store: Store, urls: list[str], asked: list[float], object_id: str
) -> Sample:
    """Fetch data blocks one after the other; adds how many requests each made to the store."""
    before = store.asked()
    with on_processor(-1):
        seconds = sum(client.fetch(url).seconds for url in urls)
    if object_id == _S3:
        asked.append((store.asked() - before) / len(urls))
    return Sample(len(urls), seconds)
