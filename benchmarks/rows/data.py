"""The data endpoint: large and small ranges of a data block, plain and under TLS, against nginx."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.client import Client
from benchmarks.load import Requests
from benchmarks.measure import (
    Gate,
    Row,
    Sample,
    Unmeasurable,
    micros,
    rate,
    row_of,
    speed_ratio,
    take_turns,
    throughput,
)
from benchmarks.processes import Server, baseline, htsgate, nginx, on_processor
from benchmarks.rows.setting import Setting

SMALL = 1 << 16


def large_ranges(setting: Setting) -> Iterator[Row]:
    """A whole file as one data block, one stream."""
    program = shutil.which("nginx")
    with (
        htsgate(setting.inputs.served, setting.config) as ours,
        file_server(setting.inputs.reads, setting.directory) as (theirs, path, other),
    ):
        url, length = _body(ours)
        if program is None:
            path = f"{path}?length={length}"
        samples = take_turns(
            {
                "htsgate": lambda: stream(ours, url, None),
                "other": lambda: stream(theirs, path, length if program else None),
            },
            setting.rounds,
            setting.warm,
        )
    figures = {"htsgate": throughput(samples["htsgate"]), other: throughput(samples["other"])}
    note = "" if program else "nginx is not installed"
    title = f"{length / 1e6:.0f} MB range / {other}"
    ratios = speed_ratio(samples["htsgate"], samples["other"])
    yield row_of("large-range", title, ratios, gate=Gate(0.8, 0.95), figures=figures, note=note)


def small_ranges(setting: Setting) -> Iterator[Row]:
    """Random ranges of 64 kB, 32 at a time."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(htsgate(setting.inputs.served, setting.config))
        usual = stack.enter_context(
            baseline("file-response", "--served", str(setting.inputs.served))
        )
        url, length = _body(ours)
        ranges = "bytes={start}-{last}"
        block = Requests(url.removeprefix(ours.url), ranges, length, SMALL)
        file = Requests(f"/{setting.inputs.reads.name}", ranges, length, SMALL)
        contenders = {
            "htsgate": lambda: setting.load.run(ours, block, setting.seconds),
            "FileResponse": lambda: setting.load.run(usual, file, setting.seconds),
        }
        program = shutil.which("nginx")
        if program is not None:
            static = stack.enter_context(nginx(program, setting.inputs.served, setting.directory))
            contenders["nginx"] = lambda: setting.load.run(static, file, setting.seconds)
        samples = take_turns(contenders, setting.rounds, setting.warm)
    rates = {name: rate(each) for name, each in samples.items()}
    costs = {name: micros(each) for name, each in samples.items()}
    # With a load generator slower than nginx, only processor time tells.
    judged = "wall" if setting.load.is_light else "CPU"
    for basis, figures in (("wall", rates), ("CPU", costs)):
        for other, gate in (("nginx", Gate(0.22, 0.35)), ("FileResponse", Gate(2.5, 5))):
            name = f"small-range-{other.lower()}{'-cpu' if basis == 'CPU' else ''}"
            unit = "second" if basis == "wall" else "processor second"
            title = f"64 KiB ranges a {unit} / {other}"
            bound = gate if basis == judged else None
            if other not in samples:
                yield Row(name, title, None, gate=bound, note="nginx is not installed")
                continue
            yield row_of(
                name,
                title,
                speed_ratio(
                    samples["htsgate"], samples[other], "CPU" if basis == "CPU" else "wall"
                ),
                basis="CPU" if basis == "CPU" else "wall",
                gate=bound,
                figures={each: figures[each] for each in ("htsgate", other)},
            )


def tls(setting: Setting) -> Iterator[Row]:
    """The large range, encrypted."""
    program = shutil.which("nginx")
    if program is None:
        raise Unmeasurable("nginx is not installed")
    certificate, key = _certificate(setting.directory)
    config = setting.directory / "tls.toml"
    text = f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    config.write_text(setting.config.read_text() + text)
    with (
        htsgate(setting.inputs.served, config) as ours,
        nginx(program, setting.inputs.served, setting.directory, (certificate, key)) as theirs,
    ):
        trusted = str(certificate)
        url, length = _body(ours, trusted)
        path = f"{theirs.url}/{setting.inputs.reads.name}"
        samples = take_turns(
            {
                "htsgate": lambda: stream(ours, url, None, trusted),
                "nginx": lambda: stream(theirs, path, length, trusted),
            },
            setting.rounds,
            setting.warm,
        )
    yield row_of(
        "tls-large-range",
        f"{length / 1e6:.0f} MB range under TLS / nginx",
        speed_ratio(samples["htsgate"], samples["nginx"]),
        gate=Gate(0.6, 0.9),
        figures={name: throughput(each) for name, each in samples.items()},
    )
    yield row_of(
        "tls-large-range-cpu",
        f"{length / 1e6:.0f} MB range under TLS, a processor second / nginx",
        speed_ratio(samples["htsgate"], samples["nginx"], "CPU"),
        basis="CPU",
        figures={name: f"{1e3 * _gigabyte(each):.0f} ms/GB" for name, each in samples.items()},
    )


@contextlib.contextmanager
def file_server(file: Path, directory: Path) -> Iterator[tuple[Server, str, str]]:
    """nginx, or the next best: the server, the URL of a file, and what it is. `directory`: for what
    nginx writes. The next best sends as many bytes as the query's `length` says."""
    program = shutil.which("nginx")
    if program is not None:
        with nginx(program, file.parent, directory) as server:
            yield server, f"{server.url}/{file.name}", "nginx sendfile"
    else:
        with baseline("sendfile", "--served", str(file.parent)) as server:
            yield server, f"{server.url}/{file.name}", "aiohttp and loop.sendfile"


def _body(server: Server, trusted: str | None = None) -> tuple[str, int]:
    """The data block of a whole file, and its length."""
    with Client(server.url, trusted) as client:
        _, url = client.ticket(server.url, "reads", "reads")
        return url, client.fetch(url).length


def stream(server: Server, url: str, length: int | None, trusted: str | None = None) -> Sample:
    """One download; of the first `length` bytes if given."""
    with on_processor(-1), Client(server.url, trusted) as client:
        before = server.cpu()
        fetched = client.fetch(url, *(() if length is None else (0, length)))
        after = server.cpu()
    cpu = after - before if before is not None and after is not None else None
    return Sample(fetched.length, fetched.seconds, cpu)


def _gigabyte(samples: list[Sample]) -> float:
    """The median processor seconds for a gigabyte."""
    return sorted(sample.cost("CPU") for sample in samples)[len(samples) // 2] * 1e9


def _certificate(directory: Path) -> tuple[Path, Path]:
    program = shutil.which("openssl")
    if program is None:
        raise Unmeasurable("openssl is not installed, which makes the certificate")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = [
        program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
