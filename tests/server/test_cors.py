from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, make_mocked_request
from multidict import CIMultiDict

from server.cors import Cors
from server.errors import error_middleware

Client = TestClient[web.Request, web.Application]
Start = Callable[[Cors], Awaitable[Client]]


@pytest.fixture
def start(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Start:
    async def ticket(request: web.Request) -> web.Response:
        return web.Response(text="ticket")

    async def cached(request: web.Request) -> web.Response:
        return web.Response(headers={"Vary": "Accept", "ETag": '"x"'})

    async def streamed(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write_eof(b"block")
        return response

    async def broken(request: web.Request) -> web.Response:
        raise LookupError

    async def build(cors: Cors) -> Client:
        app = web.Application(middlewares=[error_middleware])
        app.on_response_prepare.append(cors.on_response_prepare)
        app.router.add_get("/reads/{id:.+}", ticket)
        app.router.add_post("/reads/{id:.+}", ticket)
        app.router.add_route("OPTIONS", "/reads/{id:.+}", cors.preflight("GET", "HEAD", "POST"))
        app.router.add_get("/blocks/{capability}", streamed)
        app.router.add_route("OPTIONS", "/blocks/{capability}", cors.preflight("GET", "HEAD"))
        app.router.add_get("/cached", cached)
        app.router.add_get("/broken", broken)
        return await aiohttp_client(app)

    return build


ORIGINS = [
    "https://igv.org",
    "http://localhost:8080",
    "http://[::1]:3000",
    "null",
    "moz-extension://0a-1b",
]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("path", ["/reads/a", "/blocks/c", "/cached", "/broken", "/nowhere"])
async def test_every_response_copies_the_origin(start: Start, path: str, origin: str) -> None:
    client = await start(Cors())
    async with client.get(path, headers={"Origin": origin}) as response:
        headers = response.headers
    assert headers.getall("Access-Control-Allow-Origin") == [origin]
    exposed = set(headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed == {"Content-Range", "Content-Length", "ETag", "Accept-Ranges", "Retry-After"}
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Origin" in headers["Vary"].split(", ")
    assert headers.getall("Server") == ["htsgate"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("path", ["/reads/a", "/blocks/c", "/cached", "/broken", "/nowhere"])
async def test_without_origin(start: Start, path: str) -> None:
    client = await start(Cors())
    async with client.get(path) as response:
        headers = response.headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers["Vary"].split(", ")
    assert headers["Server"] == "htsgate"


async def test_vary_is_completed(start: Start) -> None:
    client = await start(Cors())
    async with client.get("/cached") as response:
        assert response.headers.getall("Vary") == ["Accept, Origin"]


async def test_a_list_of_origins(start: Start) -> None:
    client = await start(Cors(frozenset({"https://igv.org"})))
    for origin, allowed in [
        ("https://igv.org", True),
        ("https://igv.org.evil.example", False),
        ("https://IGV.org", False),
        ("null", False),
    ]:
        async with client.get("/reads/a", headers={"Origin": origin}) as response:
            assert response.status == 200
            assert ("Access-Control-Allow-Origin" in response.headers) is allowed
            assert response.headers["Vary"] == "Origin"
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        async with client.options("/reads/a", headers=preflight) as response:
            assert response.status == 204
            assert ("Access-Control-Allow-Methods" in response.headers) is allowed


@pytest.mark.parametrize(
    ("path", "method", "accepted"),
    [
        ("/reads/a", "GET", True),
        ("/reads/a/b", "POST", True),
        ("/reads/a", "DELETE", False),
        ("/reads/a", "get", False),
        ("/blocks/c", "GET", True),
        ("/blocks/c", "POST", False),
    ],
)
async def test_preflight(start: Start, path: str, method: str, accepted: bool) -> None:
    client = await start(Cors())
    headers = {
        "Origin": "https://igv.org",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,cache-control",
    }
    async with client.options(path, headers=headers) as response:
        assert response.status == 204
        assert await response.read() == b""
        answered = response.headers
    assert answered["Access-Control-Allow-Origin"] == "https://igv.org"
    assert "Access-Control-Allow-Credentials" not in answered
    if accepted:
        assert method in answered["Access-Control-Allow-Methods"].split(", ")
        assert answered["Access-Control-Allow-Headers"] == "authorization,cache-control"
        assert answered["Access-Control-Max-Age"] == "2592000"
    else:
        assert "Access-Control-Allow-Methods" not in answered
        assert "Access-Control-Allow-Headers" not in answered


async def test_plain_options(start: Start) -> None:
    client = await start(Cors())
    async with client.options("/reads/a") as response:
        assert response.status == 204
        assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
        assert "Access-Control-Allow-Methods" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example\r\nSet-Cookie: x=1",
        "https://a.example\nX: y",
        "https://a.example\x7f",
        "https://a.example, https://b.example",
        "https://a.example https://b.example",
        "https://\u00e9.example",
        "*",
        "",
        "https://",
        "https://a.example/path",
        "https://" + "a" * 1000,
    ],
    ids=ascii,
)
async def test_nothing_strange_is_copied(origin: str) -> None:
    async def served(values: list[tuple[str, str]]) -> CIMultiDict[str]:
        request = make_mocked_request("GET", "/", headers=CIMultiDict(values))
        response = web.Response()
        await Cors().on_response_prepare(request, response)
        return response.headers

    assert "Access-Control-Allow-Origin" not in await served([("Origin", origin)])
    twice = [("Origin", "https://a.example"), ("Origin", "https://b.example")]
    assert "Access-Control-Allow-Origin" not in await served(twice)


@pytest.mark.parametrize("names", ["a\r\nX: y", "a\x00", "\u00e9", "a;b", "", "x" * 5000, "a:b"])
async def test_strange_header_names_are_not_copied(names: str) -> None:
    headers = CIMultiDict(
        {
            "Origin": "https://a.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": names,
        }
    )
    request = make_mocked_request("OPTIONS", "/", headers=headers)
    response = await Cors().preflight("GET")(request)
    assert "Access-Control-Allow-Headers" not in response.headers
    assert response.headers["Access-Control-Allow-Methods"] == "GET"
