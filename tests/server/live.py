"""The whole application on a real socket, with the limits that `htsgate serve` sets."""

import io
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from server.app import create_app
from server.config import Settings, load_settings
from server.limits import Limits, make_runner
from tests.support.htsget_client import HtsgetClient

SECRET = "zQ7vN2kX9pLr4TfW8sYc1HbJ6mDg3EaU"  # noqa: S105
LIMITS = Limits(shutdown_seconds=1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, header fields, body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The htsget object of the body."""
        document: dict[str, dict[str, Any]] = json.loads(self.body)
        assert list(document) == ["htsget"]
        return document["htsget"]

    @property
    def error(self) -> tuple[int, str]:
        """Status and type of an htsget error, whose form is checked."""
        assert self.headers["Content-Type"].split(";")[0] == "application/json"
        assert set(self.json) == {"error", "message"}
        assert isinstance(self.json["message"], str)
        return self.status, self.json["error"]

    @property
    def urls(self) -> list[str]:
        """The URLs of a ticket."""
        assert self.status == 200, self.body
        return [each["url"] for each in self.json["urls"]]


@dataclass(frozen=True, slots=True)
class Live:
    """A running server and a client session."""

    base: str
    session: aiohttp.ClientSession
    app: web.Application

    @property
    def client(self) -> HtsgetClient:
        """A strict client: every ticket and block it sees is checked against the profile."""
        return HtsgetClient(self.session, self.base)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """One request; `path` as it goes over the wire, or a whole URL."""
        url = URL(path if path.startswith("http") else self.base + path, encoded=True)
        body = io.BytesIO(data) if data else data  # aiohttp warns of large ones in one piece
        async with self.session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        """A GET; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("GET", path, headers=named)

    async def post(self, path: str, body: Any = None) -> Reply:
        """A POST of JSON, or of bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, data=data)

    async def whole(self, reply: Reply) -> bytes:
        """The concatenated blocks of a ticket."""
        pieces = []
        for url in reply.urls:
            block = await self.get(url)
            assert block.status == 200, block.body
            pieces.append(block.body)
        return b"".join(pieces)


def settings_of(*locations: Path | dict[str, Any], **server: Any) -> Settings:
    """Settings for some locations, and values of the section `server`."""
    listed = [
        each if isinstance(each, dict) else {"url": str(each), "name": ""} for each in locations
    ]
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
            environment.delenv(name)
        return load_settings(None, {"locations": listed, "server": {"secret": SECRET, **server}})


@asynccontextmanager
async def serving(
    settings: Settings, *, limits: Limits = LIMITS, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Live]:
    """Serve until the block ends."""
    app = create_app(settings)
    runner = make_runner(app, limits=limits)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        scheme = "http" if tls is None else "https"
        base = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        connector = aiohttp.TCPConnector(ssl=tls is None)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield Live(base, session, app)
    finally:
        await runner.cleanup()


def path_of(endpoint: str, object_id: str, query: str = "") -> str:
    """The path of a ticket request, the id escaped."""
    return f"/{endpoint}/{quote(object_id)}{'?' if query else ''}{query}"
