"""Tickets: their rate and processor time, against an aiohttp application that does nothing."""

from collections.abc import Iterator

from benchmarks.load import Requests
from benchmarks.measure import (
    Gate,
    Row,
    Unmeasurable,
    micros,
    rate,
    row_of,
    speed_ratio,
    take_turns,
)
from benchmarks.processes import baseline, htsgate
from benchmarks.rows.setting import Setting

SPAN = 10_000


def tickets(setting: Setting) -> Iterator[Row]:
    """One process on one processor, random regions of 10 kb; both get the same requests."""
    requests = _requests(setting)
    with (
        htsgate(setting.inputs.served, setting.config) as ours,
        baseline("hello") as hello,
    ):
        samples = take_turns(
            {
                "htsgate": lambda: setting.load.run(ours, requests, setting.seconds),
                "hello": lambda: setting.load.run(hello, requests, setting.seconds),
            },
            setting.rounds,
        )
    gate = Gate(0.7, 0.8)
    title = "tickets a second / bare aiohttp hello"
    yield row_of(
        "ticket-rate",
        title,
        speed_ratio(samples["htsgate"], samples["hello"]),
        gate=gate,
        figures={name: rate(each) for name, each in samples.items()},
    )
    yield row_of(
        "ticket-cpu",
        "tickets a processor second / bare aiohttp hello",
        speed_ratio(samples["htsgate"], samples["hello"], "CPU"),
        basis="CPU",
        gate=gate,
        figures={name: micros(each) for name, each in samples.items()},
    )


def workers(setting: Setting) -> Iterator[Row]:
    """Two processes against one, with the load generator on the same processors."""
    requests = _requests(setting)
    if not setting.load.is_light:
        raise Unmeasurable("without wrk the load takes the second processor")
    with (
        htsgate(setting.inputs.served, setting.config, processor=None) as one,
        htsgate(setting.inputs.served, setting.config, workers=2, processor=None) as two,
    ):
        samples = take_turns(
            {
                "2 workers": lambda: setting.load.run(two, requests, setting.seconds),
                "1 worker": lambda: setting.load.run(one, requests, setting.seconds),
            },
            setting.rounds,
        )
    yield row_of(
        "workers",
        "tickets a second, 2 workers / 1 worker",
        speed_ratio(samples["2 workers"], samples["1 worker"]),
        gate=Gate(1.5, 1.7),
        figures={name: rate(each) for name, each in samples.items()},
    )


def _requests(setting: Setting) -> Requests:
    path = "/reads/reads?referenceName=chr20&start={start}&end={end}"
    return Requests(path, limit=setting.inputs.scale.dense, span=SPAN)
