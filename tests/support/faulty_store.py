"""A web server over objects in memory that errs in every way a test asks for.

Left alone it is a good server: strong ETags, ranges, If-Match, connections that are kept.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from aiohttp import web

from tests.support.running_server import running

Rule = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers a request in the store's place; None: as it would itself."""

_PIECE = 1 << 16


@dataclass(slots=True)
class StoredObject:
    """`version` counts how often the key was put."""

    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; `connection` tells connections apart."""

    method: str
    path: str
    range: str | None
    if_match: str | None
    connection: object


@dataclass(slots=True, eq=False)
class FaultyStore:
    """`rules` answer one request each, in turn; then `rule` answers all.

    `validators`: what is told of an object. `heads`: whether HEAD is answered, `lengths`: whether
    with a length. `chunked`: bodies come without a length. `ranges`: whether they are honoured, and
    `most` how many bytes an answer holds at most. `unfinished` counts bodies that are being sent.
    """

    url: str = ""
    objects: dict[str, StoredObject] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    rules: deque[Rule] = field(default_factory=deque)
    rule: Rule | None = None
    validators: Literal["strong", "weak", "modified", "none"] = "strong"
    heads: bool = True
    lengths: bool = True
    chunked: bool = False
    ranges: bool = True
    most: int = 1 << 62
    unfinished: int = 0

    def put(self, key: str, data: bytes) -> None:
        """Store an object, in place of another."""
        before = self.objects.get(key)
        self.objects[key] = StoredObject(data, before.version + 1 if before else 1)

    def count(self, method: str = "") -> int:
        """How many requests there were."""
        return sum(each.method.startswith(method) for each in list(self.asked))

    @property
    def connections(self) -> int:
        """How many connections the requests came by."""
        return len({each.connection for each in list(self.asked)})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What a rule says, or the object."""
        self.asked.append(
            Asked(
                request.method,
                request.path_qs,
                request.headers.get("Range"),
                request.headers.get("If-Match"),
                request.protocol,
            )
        )
        rule = self.rules.popleft() if self.rules else self.rule
        answer = await rule(request) if rule is not None else None
        return answer if answer is not None else await self.serve(request)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The object as a good server sends it."""
        found = self.objects.get(request.match_info["key"])
        if request.method == "HEAD" and not self.heads:
            return web.Response(status=405, headers={"Allow": "GET"}, text="no")
        if found is None:
            return web.Response(status=404, text="no such thing" * 100)
        fields = self.fields(found)
        if request.headers.get("If-Match", '"') not in ('"', fields.get("ETag")):
            return web.Response(status=412)
        start, end, status = 0, len(found.data), 200
        if self.ranges and "Range" in request.headers:
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last) + 1, end, int(first) + self.most), 206
            if start >= len(found.data):
                total = f"bytes */{len(found.data)}"
                return web.Response(status=416, headers={"Content-Range": total}, text="no")
            fields["Content-Range"] = f"bytes {start}-{end - 1}/{len(found.data)}"
        return await self.send(request, found.data[start:end], status, fields)

    def fields(self, found: StoredObject) -> dict[str, str]:
        """The validators of an object."""
        tag = f'"{found.version:04}-{len(found.data)}"'
        modified = formatdate(1_700_000_000 + 10 * found.version, usegmt=True)
        return {
            "strong": {"ETag": tag, "Last-Modified": modified},
            "weak": {"ETag": f"W/{tag}"},
            "modified": {"Last-Modified": modified},
            "none": {},
        }[self.validators]

    async def send(
        self,
        request: web.Request,
        data: bytes,
        status: int,
        fields: dict[str, str],
        *,
        announced: int | None = None,
        stall: float = 0.05,
    ) -> web.StreamResponse:
        """An answer piece by piece; where more is `announced`, it breaks off `stall` seconds
        later."""
        response = web.StreamResponse(status=status, headers=fields)
        if request.method == "HEAD":
            if self.lengths:
                response.content_length = len(data)
            else:
                response.enable_chunked_encoding()
            await response.prepare(request)
            return response
        if self.chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(data) if announced is None else announced
        self.unfinished += 1
        try:
            await response.prepare(request)
            for start in range(0, len(data), _PIECE):
                await response.write(data[start : start + _PIECE])
            if announced is None:
                await response.write_eof()
            else:
                await asyncio.sleep(stall)
                self.cut(request)
        finally:
            self.unfinished -= 1
        return response

    def cut(self, request: web.Request) -> None:
        """Break the connection off."""
        if request.transport is not None:
            request.transport.abort()

    def breaking(self, after: int, stall: float = 0.05) -> Rule:
        """A rule: the right answer, but after so many bytes of its body it stalls and breaks."""

        async def rule(request: web.Request) -> web.StreamResponse:
            found = self.objects[request.match_info["key"]]
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(found.data))
            fields = self.fields(found)
            fields["Content-Range"] = f"bytes {start}-{end - 1}/{len(found.data)}"
            data = found.data[start : min(start + after, end)]
            return await self.send(request, data, 206, fields, announced=end - start, stall=stall)

        return rule


def status(code: int, **fields: str) -> Rule:
    """A rule: this status, whatever is asked."""

    async def rule(request: web.Request) -> web.Response:
        del request
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return web.Response(status=code, headers=headers, text="said in confidence")

    return rule


async def silent(request: web.Request) -> web.StreamResponse:
    """A rule: no answer; the client leaves first."""
    del request
    await asyncio.sleep(60)
    return web.Response()


async def reset(request: web.Request) -> web.StreamResponse:
    """A rule: the connection breaks instead of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@contextmanager
def faulty_store() -> Iterator[FaultyStore]:
    """The store on a free port, in a thread of its own."""
    store = FaultyStore()
    application = web.Application()
    application.router.add_route("*", "/{key:.*}", store.answer)
    with running(application) as url:
        store.url = url.rstrip("/")
        yield store
