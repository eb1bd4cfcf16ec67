"""What the tests of S3 share: a bucket to write to past the backend, and what to look for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from storage_backends.s3 import S3Backend, S3Options
from storage_backends.transfer import Patience
from tests.support.stores import ACCESS_KEY, SECRET_KEY, RunningStore

HASTY = Patience(connect=2, quiet=2, attempts=3, pause=0.01)
REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>m</Message>{}</Error>'
)


Configure = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a store, and a client for what the tests do past the backend."""

    store: RunningStore
    client: Any
    name: str

    def put(self, key: str, data: bytes, **options: str) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data, **options)

    def options(self, **values: Any) -> S3Options:
        fixed = {"endpoint_url": self.store.endpoint_url, "region": self.store.region}
        return S3Options(**fixed | values)


@asynccontextmanager
async def opened(backend: S3Backend) -> AsyncIterator[S3Backend]:
    """A backend that is started, and closed in the end."""
    backend.start(asyncio.get_running_loop())
    try:
        yield backend
    finally:
        await backend.close()


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A server with one handler on this event loop; its base URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def signer_of(url: str) -> str:
    """The access key that a URL is signed with."""
    query = parse_qs(url.partition("?")[2])
    return query.get("X-Amz-Credential", [""])[0].partition("/")[0]


def texts(error: BaseException | None) -> str:
    """Everything an error and its causes say."""
    said = ""
    while error is not None:
        said += f"{error!r} {error}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


def says_nothing(error: BaseException, logged: str, *secrets: str) -> None:
    """Neither an error nor what was logged holds a secret, or says where the store is."""
    for secret in (*secrets, SECRET_KEY, ACCESS_KEY, "X-Amz", "Signature=", "127.0.0.1"):
        assert secret not in texts(error)
        assert secret not in logged
