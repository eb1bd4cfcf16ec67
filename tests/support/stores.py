"""Stores to test against, started on a free port and stopped at the end.

`moto` is quick and forgiving; `versitygw` is a real S3 server: it verifies signatures. Both know
the same keys, so one environment serves for all.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from aiohttp import web
from botocore.config import Config

from tests.support.running_server import running
from tests.support.store_log import RequestLog, logging_proxy

ACCESS_KEY = "AKIAHTSGATETESTS0001"
SECRET_KEY = "k7Yd0pQvX2mRz9sLwB4tNc8fHj1aGe5uTi3oVx6q"  # noqa: S105
REGION = "eu-central-2"
ENVIRONMENT: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""What gives these keys to whoever looks for credentials in the environment, and no others."""

_START_SECONDS = 60.0


class StoreUnavailable(Exception):
    """The store cannot be had on this machine; the message says why."""


@cache
def _client(endpoint_url: str, region: str, access_key: str, secret_key: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
    )


@dataclass(frozen=True, slots=True)
class RunningStore:
    """An S3 store. `log`: what it was asked through `endpoint_url`, if that is a logging proxy;
    what the methods here ask goes to `direct_url` and is not in the log."""

    name: str
    endpoint_url: str
    direct_url: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    log: RequestLog = field(default_factory=RequestLog)

    @property
    def client(self) -> Any:
        """A boto3 client, made once."""
        return _client(self.direct_url, self.region, self.access_key, self.secret_key)

    def new_bucket(self) -> str:
        """Make a bucket of a name that no other has."""
        bucket = f"htsgate-{uuid.uuid4().hex}"
        self.make_bucket(bucket)
        return bucket

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket in this store's region."""
        self.client.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.region}
        )

    def buckets(self) -> list[str]:
        """The names of all buckets."""
        return [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]

    def put(self, bucket: str, key: str, data: bytes | Path, **options: str) -> None:
        """Store an object; `options` as boto3's `put_object` takes them."""
        if isinstance(data, Path):
            data = data.read_bytes()
        self.client.put_object(Bucket=bucket, Key=key, Body=data, **options)

    def put_tree(self, bucket: str, directory: Path, prefix: str = "") -> None:
        """Store every file below a directory."""
        client = self.client
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                key = prefix + path.relative_to(directory).as_posix()
                client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=bucket, Key=key)

    def location(self, bucket: str, prefix: str = "", **values: Any) -> dict[str, Any]:
        """The objects below a prefix as one of the server's `[[locations]]`."""
        url = f"s3://{bucket}/{prefix}".rstrip("/")
        fixed = {"endpoint_url": self.endpoint_url, "path_style": True, "region": self.region}
        return {"url": url, **fixed, **values}


@dataclass(frozen=True, slots=True)
class StaticStore:
    """A directory behind HTTP, with ranges, ETag and Last-Modified. `log` as in `RunningStore`."""

    name: str
    endpoint_url: str
    direct_url: str
    directory: Path
    log: RequestLog = field(default_factory=RequestLog)

    def put(self, key: str, data: bytes | Path) -> None:
        """Store an object; it takes the place of another at once, and is later than that."""
        path = self.directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        modified = time.time_ns()
        if path.exists():  # validators tell seconds
            modified = max(modified, path.stat().st_mtime_ns + 2_000_000_000)
        written = path.with_name(f".{uuid.uuid4().hex}")
        written.write_bytes(data.read_bytes() if isinstance(data, Path) else data)
        os.utime(written, ns=(modified, modified))
        written.replace(path)

    def put_tree(self, directory: Path, prefix: str = "") -> None:
        """Store every file below a directory."""
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                self.put(prefix + path.relative_to(directory).as_posix(), path)

    def delete(self, key: str) -> None:
        """Delete an object."""
        (self.directory / key).unlink()

    def location(self, prefix: str = "", **values: Any) -> dict[str, Any]:
        """The objects below a prefix as one of the server's `[[locations]]`."""
        return {"url": f"{self.endpoint_url}/{quote(prefix)}".rstrip("/"), **values}


@contextmanager
def logged_store(store: RunningStore) -> Iterator[RunningStore]:
    """The store behind a proxy that records what it is asked."""
    with logging_proxy(store.direct_url) as (url, log):
        yield replace(store, endpoint_url=url, log=log)


@contextmanager
def logged_static_store(store: StaticStore) -> Iterator[StaticStore]:
    """The store behind a proxy that records what it is asked."""
    with logging_proxy(store.direct_url) as (url, log):
        yield replace(store, endpoint_url=url, log=log)


@contextmanager
def moto_server(directory: Path) -> Iterator[RunningStore]:
    """moto's server in a process of its own; `directory` is for what it prints."""
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p"]
    with _running(lambda port: [*command, str(port)], directory / "moto.log") as url:
        yield RunningStore("moto", url, url)


@contextmanager
def versitygw_server(directory: Path, scratch: Path) -> Iterator[RunningStore]:
    """versitygw over a directory, which several may share; raises `StoreUnavailable`.

    The metadata is kept beside the files where the file system knows no extended attributes.
    """
    binary = _versitygw()
    root, sidecar = directory / "buckets", directory / "metadata"
    for folder in (root, sidecar):
        folder.mkdir(parents=True, exist_ok=True)
    backend = ["posix", *([] if _has_attributes(root) else ["--sidecar", str(sidecar)]), str(root)]
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}

    def command(port: int) -> list[str]:
        listen = ["--port", f"127.0.0.1:{port}", "--region", REGION, "--keep-alive", "--quiet"]
        return [binary, *listen, *backend]

    with _running(command, scratch / "versitygw.log", keys) as url:
        yield RunningStore("versitygw", url, url)


@contextmanager
def static_server(directory: Path, scratch: Path) -> Iterator[StaticStore]:
    """The directory behind nginx where that is installed, else behind aiohttp."""
    directory.mkdir(parents=True, exist_ok=True)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        application = web.Application()
        application.router.add_static("/", directory, follow_symlinks=True)
        with running(application) as url:
            yield StaticStore("aiohttp", url.rstrip("/"), url.rstrip("/"), directory)
        return
    configuration = scratch / "nginx.conf"

    def command(port: int) -> list[str]:
        configuration.write_text(_NGINX.format(scratch=scratch, root=directory, port=port))
        return [nginx, "-e", "stderr", "-p", str(scratch), "-c", str(configuration)]

    with _running(command, scratch / "nginx.log") as url:
        yield StaticStore("nginx", url, url, directory)


# One process, which runs as whoever runs the tests.
_NGINX = """
daemon off;
master_process off;
pid {scratch}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {scratch};
    proxy_temp_path {scratch};
    fastcgi_temp_path {scratch};
    uwsgi_temp_path {scratch};
    scgi_temp_path {scratch};
    server {{
        listen 127.0.0.1:{port};
        root "{root}";
    }}
}}
"""


def _versitygw() -> str:
    """The binary: as VERSITYGW says, on PATH, or where Go installs it."""
    named = os.environ.get("VERSITYGW")
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise StoreUnavailable("VERSITYGW does not name a program")
        return found
    found = shutil.which("versitygw")
    if found is None and shutil.which("go"):
        asked = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False)
        if asked.stdout.strip():
            found = shutil.which("versitygw", path=str(Path(asked.stdout.strip()) / "bin"))
    if found is None:
        raise StoreUnavailable("versitygw, a real S3 server, is not installed")
    return found


def _has_attributes(directory: Path) -> bool:
    try:
        os.setxattr(directory, "user.htsgate", b"1")
        os.removexattr(directory, "user.htsgate")
    except (OSError, AttributeError):
        return False
    return True


@contextmanager
def _running(
    command: Callable[[int], Sequence[str]],
    printed: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A process that listens on the port it is given; the value is its base URL."""
    # A run that is killed cleans nothing up: its stores end with it where util-linux is at hand.
    with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    for _ in range(3):  # someone may take the port before the process does
        port = _free_port()
        with printed.open("ab") as output:
            process = subprocess.Popen(
                [*with_us, *command(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        try:
            if _listens(process, port):
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    raise RuntimeError(f"did not start:\n{printed.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a process accepts connections; False when it ends instead."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.05)
                return process.poll() is None
        time.sleep(0.05)
    return False
