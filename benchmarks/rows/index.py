"""The index: how fast it is read, and how fast it answers."""

import ctypes
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.measure import (
    Gate,
    Row,
    Sample,
    Unmeasurable,
    millis,
    row_of,
    speed_ratio,
    take_turns,
)
from benchmarks.rows.setting import Setting
from formats.binning import BinningIndex, parse_index

_CALLS = 20_000


def queries(setting: Setting) -> Iterator[Row]:
    """Warm queries of a large and of a small index, one by one and in bulk."""
    large = parse_index(setting.inputs.index("genome.bai").read_bytes())
    small = parse_index(setting.inputs.index("small.bai").read_bytes())
    intervals = _intervals(setting, setting.inputs.scale.genome[0])
    bulk = take_turns(
        {
            "large": lambda: _ask(large, intervals),
            "small": lambda: _ask(small, _intervals(setting, 1_700_000)),
        },
        setting.rounds,
    )
    latencies = [_latencies(large, intervals) for _ in range(setting.rounds)]
    size = setting.inputs.index("genome.bai").stat().st_size / 1e6
    for name, share, gate in (("p50", 0.5, Gate(3, 1.5, True)), ("p99", 0.99, Gate(10, 5, True))):
        values = [each[int(share * len(each))] / 1000 for each in latencies]
        title = f"warm query of a {size:.1f} MB BAI, {name}"
        yield row_of(f"query-{name}", title, values, unit="µs", gate=gate)
    ratios = speed_ratio(bulk["small"], bulk["large"], "CPU")
    figures = {name: f"{_micros(samples):.2f} µs" for name, samples in bulk.items()}
    yield row_of(
        "query-flatness",
        f"warm query, {size:.1f} MB BAI / 5 kB BAI",
        ratios,
        basis="CPU",
        gate=Gate(1.5, 1.1, True),
        figures=figures,
    )


def cold_load(setting: Setting) -> Iterator[Row]:
    """Reading an index and making the table of its first reference, against htslib's reading."""
    htslib = _htslib()
    for name, gate in (("genome.bai", Gate(2, 1.2, True)), ("genome.csi", None)):
        path = setting.inputs.index(name)
        samples = take_turns(
            {
                "htsgate": partial(_ours, path),
                "htslib": partial(_theirs, htslib, path),
            },
            setting.rounds,
        )
        megabytes = path.stat().st_size / 1e6
        yield row_of(
            f"cold-load-{path.suffix[1:]}",
            f"cold load of a {megabytes:.1f} MB {path.suffix[1:].upper()} / htslib",
            speed_ratio(samples["htslib"], samples["htsgate"], "CPU"),
            basis="CPU",
            gate=gate,
            figures={each: millis(samples[each], "CPU") for each in samples},
        )


def _intervals(setting: Setting, length: int) -> list[tuple[int, int]]:
    """Random intervals of 1 kb, 1 Mb and 50 Mb."""
    drawn = []
    for number in range(1000):
        span = min((1_000, 1_000_000, 50_000_000)[number % 3], length // 2)
        start = setting.random.randrange(length - span)
        drawn.append((start, start + span))
    return drawn


def _ask(index: BinningIndex, intervals: list[tuple[int, int]]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(_CALLS // len(intervals)):
        for start, end in intervals:
            table = index.table(0)
            if table is not None:
                table.query(start, end, unmapped=True)
    return Sample(_CALLS, time.perf_counter() - wall, time.process_time() - cpu)


def _latencies(index: BinningIndex, intervals: list[tuple[int, int]]) -> list[int]:
    """Nanoseconds of single queries, sorted; the clock's own are in them."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(_CALLS // len(intervals)):
        for start, end in intervals:
            began = clock()
            table = index.table(0)
            if table is not None:
                table.query(start, end, unmapped=True)
            taken.append(clock() - began)
    return sorted(taken)


def _micros(samples: list[Sample]) -> float:
    return 1e6 * median(sample.cost("CPU") for sample in samples)


def _ours(path: Path) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    parse_index(path.read_bytes()).table(0)
    return Sample(1, time.perf_counter() - wall, time.process_time() - cpu)


def _theirs(htslib: ctypes.CDLL, path: Path) -> Sample:
    name = str(path).encode()
    wall, cpu = time.perf_counter(), time.process_time()
    index = htslib.hts_idx_load2(name, name)
    sample = Sample(1, time.perf_counter() - wall, time.process_time() - cpu)
    if not index:
        raise ValueError(f"htslib cannot load {path.name}")
    htslib.hts_idx_destroy(index)
    return sample


def _htslib() -> ctypes.CDLL:
    """The htslib that pysam brings."""
    found = find_spec("pysam.libchtslib")
    if found is None or found.origin is None:
        raise Unmeasurable("pysam brings no htslib of its own")
    library = ctypes.CDLL(found.origin)
    library.hts_idx_load2.restype = ctypes.c_void_p
    library.hts_idx_load2.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.hts_idx_destroy.argtypes = [ctypes.c_void_p]
    return library
