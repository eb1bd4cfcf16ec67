"""Exact slices: their cost over plain ranges, and what they save over re-encoding the records."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.client import Client
from benchmarks.measure import (
    Gate,
    Row,
    Sample,
    millis,
    row_of,
    speed_ratio,
    take_turns,
    throughput,
)
from benchmarks.processes import Server, baseline, htsgate, on_processor
from benchmarks.rows.setting import Setting
from formats.regions import Interval
from server.model import Format
from server.slicing.selection import Selection
from server.slicing.slicers import StreamSlicer, read_stream_header
from storage_backends.local import DescriptorSource

Draw = Callable[[], tuple[str, int, int]]


def edges(setting: Setting) -> Iterator[Row]:
    """Blocks of regions never asked for before, against plain ranges as long of the same file."""
    with htsgate(setting.inputs.served, setting.config) as server, Client(server.url) as client:
        _, whole = client.ticket(server.url, "reads", "reads")
        size = client.fetch(whole).length
        for megabytes, times, gate in ((11, 8, Gate(0.4, 0.6)), (109, 2, Gate(0.75, 0.9))):
            exact: list[Sample] = []
            plain: list[Sample] = []
            bases = setting.bases(megabytes * 1_000_000)
            for number in range(setting.rounds + 1):
                setting.warm()
                ours, theirs = _pair(setting, server, client, whole, size, bases, times)
                if number:  # the first is to warm up
                    exact.append(ours)
                    plain.append(theirs)
            yield row_of(
                f"edges-{megabytes}",
                f"exact slice of {megabytes} MB / plain range",
                speed_ratio(exact, plain),
                gate=gate,
                figures={"exact": throughput(exact), "plain": throughput(plain)},
            )


def _pair(
    setting: Setting, server: Server, client: Client, whole: str, size: int, bases: int, times: int
) -> tuple[Sample, Sample]:
    exact = plain = count = 0.0
    with on_processor(-1):
        for _ in range(times):
            region = setting.region(bases)
            _, url = client.ticket(server.url, "reads", "reads", region)
            fetched = client.fetch(url)
            start = setting.random.randrange(max(1, size - fetched.length))
            exact += fetched.seconds
            plain += client.fetch(whole, start, fetched.length).seconds
            count += fetched.length
    return Sample(count, exact), Sample(count, plain)


@dataclass(frozen=True, slots=True)
class _Case:
    """A comparison with re-encoding: an object, how to draw regions, how many in a turn."""

    name: str
    title: str
    endpoint: str
    object_id: str
    file: str
    draw: Draw
    times: int
    file_format: str | None = None
    gate: Gate | None = None


def re_encoding(setting: Setting) -> Iterator[Row]:
    """BAM: 100 kb and 1 Mb."""
    cases = [
        _Case(
            "pysam-100kb", "exact BAM slice of 100 kb / pysam", "reads", "reads", "reads.bam",
            lambda: setting.region(100_000), 4, gate=Gate(25, 60),
        ),
        _Case(
            "pysam-1mb", "exact BAM slice of 1 Mb / pysam", "reads", "reads", "reads.bam",
            lambda: setting.region(1_000_000), 1, gate=Gate(150, 350),
        ),
    ]  # fmt: skip
    yield from _against_pysam(setting, cases)


def other_formats(setting: Setting) -> Iterator[Row]:
    """VCF, BCF and CRAM, for information."""
    scale = setting.inputs.scale
    samples = f"of 1 Mb, {scale.samples} samples"
    cases = [
        _Case(
            "vcf-1mb", f"exact VCF slice {samples} / pysam", "variants", "variants",
            "variants.vcf.gz", lambda: setting.variant_region(1_000_000), 2,
        ),
        _Case(
            "bcf-1mb", f"exact BCF slice {samples} / pysam", "variants", "calls", "calls.bcf",
            lambda: setting.variant_region(1_000_000), 2, "BCF",
        ),
        _Case(
            "cram-10kb", "exact CRAM slice of 10 kb / pysam", "reads", "alignments",
            "alignments.cram", lambda: setting.small_region(10_000), 4, "CRAM",
        ),
        _Case(
            "cram-1mb", "exact CRAM slice of 1 Mb / pysam", "reads", "alignments",
            "alignments.cram", lambda: setting.small_region(1_000_000), 1, "CRAM",
        ),
    ]  # fmt: skip
    yield from _against_pysam(setting, cases)


def _against_pysam(setting: Setting, cases: list[_Case]) -> Iterator[Row]:
    """All that a client fetches, ticket and header too, against one answer of pysam's."""
    served = setting.inputs.served
    with (
        htsgate(served, setting.config) as ours,
        baseline("re-encode", "--served", str(served)) as theirs,
        Client(ours.url) as client,
        Client(theirs.url) as other,
    ):
        for case in cases:
            samples = take_turns(
                {
                    "htsgate": partial(_exact, client, ours, case),
                    "pysam": partial(_re_encoded, other, theirs, case),
                },
                setting.rounds,
                partial(setting.warm, served / case.file),
            )
            yield row_of(
                case.name,
                case.title,
                speed_ratio(samples["htsgate"], samples["pysam"]),
                gate=case.gate,
                figures={name: millis(each) for name, each in samples.items()},
            )


def _exact(client: Client, server: Server, case: _Case) -> Sample:
    with on_processor(-1):
        began = time.perf_counter()
        for _ in range(case.times):
            for url in client.ticket(
                server.url, case.endpoint, case.object_id, case.draw(), case.file_format
            ):
                client.fetch(url)
        return Sample(case.times, time.perf_counter() - began)


def _re_encoded(client: Client, server: Server, case: _Case) -> Sample:
    with on_processor(-1):
        began = time.perf_counter()
        for _ in range(case.times):
            name, start, end = case.draw()
            query = f"referenceName={name}&start={start}&end={end}"
            client.fetch(f"{server.url}/{case.file}?{query}")
        return Sample(case.times, time.perf_counter() - began)


def flatness(setting: Setting) -> Iterator[Row]:
    """Planning a large slice against planning a small one, without HTTP."""
    path = setting.inputs.reads
    with path.open("rb") as file:
        source = DescriptorSource(file.fileno(), path.stat().st_size)
        header = read_stream_header(source, Format.BAM)
        index = path.with_name(path.name + ".bai").read_bytes()
        slicer = StreamSlicer.open(header, index)

        def plans(length: int, times: int = 10) -> Sample:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(times):
                _, start, end = setting.region(length)
                slicer.plan(source, Selection((Interval(0, start, end),)))
            return Sample(times, time.perf_counter() - wall, time.process_time() - cpu)

        samples = take_turns(
            {"10 Mb": lambda: plans(10_000_000), "10 kb": lambda: plans(10_000)},
            setting.rounds,
            setting.warm,
        )
    yield row_of(
        "plan-flatness",
        "exact plan, 10 Mb / 10 kb",
        speed_ratio(samples["10 kb"], samples["10 Mb"], "CPU"),
        basis="CPU",
        gate=Gate(2, 1.2, True),
        figures={name: millis(each, "CPU") for name, each in samples.items()},
    )
