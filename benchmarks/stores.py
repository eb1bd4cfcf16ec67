"""An S3 store on this machine: versitygw where it is found, else moto's server."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.measure import Unmeasurable
from benchmarks.processes import Server, free_port, listening

_BUCKET = "benchmarks"
_REGION = "eu-central-2"
_ACCESS_KEY = "AKIAHTSGATEBENCH0001"
_SECRET_KEY = "q3Vt8nLxY1cWm6RzK0uPj5DsHb9fAe2gTi7oBd4h"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Store:
    """A running store with one bucket. `environment`: what lets a process of ours in."""

    name: str
    server: Server
    log: Path
    environment: Mapping[str, str]

    @property
    def location(self) -> dict[str, str | bool]:
        """What a `[[locations]]` of these objects says, besides its name."""
        return {
            "url": f"s3://{_BUCKET}",
            "endpoint_url": self.server.url,
            "path_style": True,
            "region": _REGION,
        }

    def put(self, path: Path) -> None:
        """Store a file by its name."""
        with path.open("rb") as file:
            self._client().put_object(Bucket=_BUCKET, Key=path.name, Body=file)

    def presigned(self, key: str) -> str:
        """A URL that reads an object, or any range of it, for an hour."""
        url: str = self._client().generate_presigned_url(
            "get_object", Params={"Bucket": _BUCKET, "Key": key}, ExpiresIn=3600
        )
        return url

    def asked(self) -> int:
        """How many requests the store has answered."""
        with self.log.open("rb") as file:
            return sum(b"/" in line for line in file)

    def make_bucket(self) -> None:
        """Make the one bucket there is."""
        self._client().create_bucket(
            Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": _REGION}
        )

    def _client(self) -> Any:  # noqa: ANN401
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.server.url,
            region_name=_REGION,
            aws_access_key_id=_ACCESS_KEY,
            aws_secret_access_key=_SECRET_KEY,
            config=Config(
                s3={"addressing_style": "path"},
                signature_version="s3v4",
                request_checksum_calculation="when_required",
            ),
        )


@contextlib.contextmanager
def s3_store(directory: Path, files: Sequence[Path]) -> Iterator[Store]:
    """A store with these files in it, in a process that may run on any processor."""
    port = free_port()
    home = directory / f"store-{port}"
    (home / "buckets").mkdir(parents=True)
    log = home / "requests"
    log.touch()
    environment = {
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    program = _versitygw()
    if program is None:
        name = "moto"
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)]
        variables: dict[str, str] = {}
    else:
        name = "versitygw"
        command = [
            program, "--port", f"127.0.0.1:{port}", "--region", _REGION, "--keep-alive", "--quiet",
            "--access-log", str(log), "posix", *_beside(home), str(home / "buckets"),
        ]  # fmt: skip
        variables = {"ROOT_ACCESS_KEY_ID": _ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": _SECRET_KEY}
    with (
        (home / "printed" if program else log).open("ab") as printed,
        listening(
            subprocess.Popen(
                command, stdout=printed, stderr=printed, env={**os.environ, **variables}
            ),
            port,
            name,
        ) as server,
    ):
        store = Store(name, server, log, environment)
        try:
            store.make_bucket()
            for path in files:
                store.put(path)
        except (BotoCoreError, ClientError) as error:
            raise Unmeasurable(f"{name} does not take files: {type(error).__name__}") from error
        yield store


def _beside(home: Path) -> tuple[str, ...]:
    """Where versitygw keeps what it knows of objects, if files cannot have attributes there."""
    try:
        os.setxattr(home, "user.htsgate", b"1")
    except (OSError, AttributeError):
        (home / "metadata").mkdir()
        return "--sidecar", str(home / "metadata")
    return ()


def _versitygw() -> str | None:
    """The program: as VERSITYGW says, on PATH, or where Go installs it."""
    found = shutil.which(os.environ.get("VERSITYGW", "versitygw"))
    if found is None and shutil.which("go"):
        asked = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False)
        if asked.stdout.strip():
            found = shutil.which("versitygw", path=str(Path(asked.stdout.strip()) / "bin"))
    return found
