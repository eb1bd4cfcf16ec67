"""`htsgate serve` as a process: start, several workers, signals, failures."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, children, environment, fetch, gone
from tests.support.stores import RunningStore, StaticStore


@contextmanager
def started(*arguments: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL that it prints once it accepts connections."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env),
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("htsgate serves http"), (line, process.poll())
        behind = "HTSGATE_SERVER__PUBLIC_URL" in env or "--config" in arguments
        assert ("(listening on 127.0.0.1:" in line) == behind
        yield process, line.split()[2]
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=40)


def refused(*arguments: str, **env: str) -> str:
    """What a start that cannot succeed says."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "serve", *arguments],
        capture_output=True,
        text=True,
        env=environment(**env),
        cwd=ROOT,
        timeout=40,
        check=False,
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def ticket(base: str, path: str) -> list[str]:
    document: dict[str, Any] = json.loads(fetch(base + path))
    return [each["url"] for each in document["htsget"]["urls"]]


def test_one_process(data: Path) -> None:
    with started(str(data), "--port", "0") as (process, url):
        assert fetch(f"{url}/health/live")
        for block in ticket(url, "/reads/reads?referenceName=one"):
            assert fetch(block)
        with pytest.raises(urllib.error.HTTPError) as refusal:
            fetch(f"{url}/reads/nope")
        assert refusal.value.code == 404
        refusal.value.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_several_processes(data: Path) -> None:
    """Tickets of one open on the others; all of them answer; SIGTERM ends them all."""
    with started(f"kg={data}", "--workers", "2", "--port", "0") as (process, url):
        workers = children(process.pid)
        assert len(workers) == 2
        first = None
        for _ in range(12):
            urls = ticket(url, "/reads/kg/reads?referenceName=one")
            answered = [fetch(block) for _ in range(2) for block in urls]
            first = first or answered[:2]
            assert answered == first * 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert all(gone(worker) for worker in workers)


def test_worker_that_is_killed(data: Path) -> None:
    """The service ends, with an exit status that makes its manager start it anew."""
    with started(str(data), "--workers", "2", "--port", "0") as (process, url):
        assert fetch(f"{url}/health/live")
        workers = children(process.pid)
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(timeout=30) == 1
        assert all(gone(worker) for worker in workers)
        assert process.stderr is not None
        assert f"server process {workers[0]} was killed by SIGKILL" in process.stderr.read()


def test_stop_while_workers_start(data: Path) -> None:
    """Whenever it comes, a requested stop is a success."""
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve", str(data), "--workers", "2", "--port", "0"],
            env=environment(),
            cwd=ROOT,
            text=True,
        )
        while not children(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_what_an_operator_is_warned_of(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sequences = '["/nonexistent/*.fa"]'
    arguments = (str(data), str(tmp_path / "empty"), "--port", "0")
    with started(*arguments, HTSGATE_REFGET__SEQUENCES=sequences) as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        soft, hard = next(each for each in limits.splitlines() if "open files" in each).split()[3:5]
        assert soft == hard
        process.terminate()
        assert process.stderr is not None
        warned = process.stderr.read()
    assert f"{tmp_path / 'empty'}: holds no BAM" in warned
    assert "nothing matches /nonexistent/*.fa" in warned
    assert f"{data}:" not in warned


def test_a_store_that_is_down_at_the_start(data: Path) -> None:
    """The rest is served; of the store the log tells, and clients are told to come again."""
    config = f'[{{"url": "{data}"}}, {{"url": "http://127.0.0.1:9/data", "name": "far"}}]'
    with started("--port", "0", HTSGATE_LOCATIONS=config) as (process, url):
        assert ticket(url, "/reads/reads?referenceName=one")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            fetch(f"{url}/reads/far/reads")
        assert refusal.value.code == 503
        assert refusal.value.headers["Retry-After"]
        refusal.value.close()
        process.terminate()
        assert process.stderr is not None
        warned = process.stderr.read()
    assert "http://127.0.0.1:9/data/: the store does not answer: no connection" in warned
    assert "Traceback" not in warned


def test_locations_in_stores(
    moto_store: RunningStore, static_store: StaticStore, data: Path
) -> None:
    """On the command line, with two processes, as the environment says where the store is."""
    bucket = moto_store.new_bucket()
    for path in data.glob("reads.*"):
        moto_store.put(bucket, f"a/{path.name}", path)
        static_store.put(f"served/{path.name}", path)
    locations = (f"s3=s3://{bucket}/a", f"web={static_store.endpoint_url}/served")
    aws = {"AWS_ENDPOINT_URL_S3": moto_store.endpoint_url, "AWS_DEFAULT_REGION": moto_store.region}
    query = "reads?referenceName=one&start=0&end=9000"
    with started(str(data), *locations, "--workers", "2", "--port", "0", **aws) as (process, url):
        bodies = [
            b"".join(fetch(block) for block in ticket(url, f"/reads/{name}{query}"))
            for name in ("", "s3/", "web/")
        ]
        assert bodies[0] == bodies[1] == bodies[2]
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_supervisor_that_is_killed(data: Path) -> None:
    """No worker is left behind with the port."""
    with started(str(data), "--workers", "2", "--port", "0") as (process, _):
        workers = children(process.pid)
        process.kill()
        deadline = time.monotonic() + 20
        while not all(gone(worker) for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(gone(worker) for worker in workers)


def test_settings_come_from_file_environment_and_flags(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "htsgate.toml"
    config.write_text(
        f'[server]\nport = 0\npublic_url = "https://file.example"\n[[locations]]\nurl = "{data}"\n'
    )
    with started("--config", str(config)) as (_, url):
        assert url == "https://file.example"
    public = "https://environment.example"
    with started("--config", str(config), HTSGATE_SERVER__PUBLIC_URL=public) as (_, url):
        assert url == public


def test_starts_that_cannot_succeed(data: Path, tmp_path: Path) -> None:
    assert "name a directory, a file, s3:" in refused()
    assert "nothing" in refused(str(tmp_path / "nothing"))
    assert "port" in refused(str(data), "--port", "99999")
    some, none = tmp_path / "some", tmp_path / "no"
    some.write_text("not PEM")

    def tls(**files: Path) -> str:
        env = {f"HTSGATE_SERVER__TLS_{name}": str(path) for name, path in files.items()}
        return refused(str(data), **env)

    assert "give tls_key too" in tls(CERTIFICATE=none)
    assert "give tls_certificate too" in tls(KEY=none)
    assert "server.tls_certificate" in tls(CERTIFICATE=none, KEY=some)
    assert "server.tls_key" in tls(CERTIFICATE=some, KEY=none)
    assert "not a PEM certificate" in tls(CERTIFICATE=some, KEY=some)


def test_port_that_is_taken(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        message = refused(str(data), "--port", str(taken.getsockname()[1]))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    assert f"{address} is taken" in message
    assert "server.host" in refused(str(data), "--host", "203.0.113.7", "--port", "0")
    assert "server.host" in refused(str(data), "--host", "no.such.host.invalid", "--port", "0")
