import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, make_mocked_request

from auth.capability import CapabilityError, CapabilityTooLong, ExpiredCapability, InvalidCapability
from formats.errors import CorruptData, FormatError, UnindexableRange, UnknownReference
from server import errors, http_range
from server.database import DatabaseUnavailable
from server.errors import ERRORS, describe, error_middleware, naming, respond
from server.refget.catalogue import AmbiguousId, SequencePending
from server.refget.files import SequenceUnavailable
from server.refget.media_types import NotAcceptable
from server.refget.seqcol import CollectionError, CollectionTooLarge, InvalidCollection
from server.refget.subsequence import (
    InvalidSubsequence,
    OutOfBounds,
    SubsequenceError,
)
from storage_backends.base import ObjectChanged, ObjectNotFound, StorageError, StorageUnavailable

Client = TestClient[web.Request, web.Application]
Start = Callable[[Exception], Awaitable[Client]]

SECRET = "/data/bucket/key?token=secret"  # noqa: S105


@pytest.fixture
def start(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Start:
    """A server whose handler raises: at /plain, below an object's name, after the first byte."""

    async def build(error: Exception) -> Client:
        async def plain(request: web.Request) -> web.Response:
            raise error

        async def named(request: web.Request) -> web.Response:
            with naming("kg/NA12878"):
                raise error

        async def begun(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            if "length" in request.query:
                response.content_length = 1000
            await response.prepare(request)
            await response.write(b"first bytes")
            with naming("kg/NA12878"):
                raise error

        app = web.Application(middlewares=[error_middleware], client_max_size=100)
        app.router.add_get("/plain", plain)
        app.router.add_get("/named", named)
        app.router.add_get("/begun", begun)
        return await aiohttp_client(app)

    return build


async def document(client: Client, path: str) -> tuple[int, dict[str, str]]:
    async with client.get(path) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        body = json.loads(await response.read())
    assert set(body) == {"htsget"}
    assert set(body["htsget"]) == {"error", "message"}
    return response.status, body["htsget"]


TABLE = [
    (errors.InvalidAuthentication("a token is needed"), 401, "InvalidAuthentication"),
    (errors.PermissionDenied("rule r1"), 403, "PermissionDenied"),
    (errors.NotFound(), 404, "NotFound"),
    (errors.PayloadTooLarge("more than 10 regions"), 413, "PayloadTooLarge"),
    (errors.UnsupportedFormat("no SAM"), 400, "UnsupportedFormat"),
    (errors.InvalidInput("start is not a number"), 400, "InvalidInput"),
    (errors.RequestTimeout("too late"), 408, "InvalidInput"),
    (errors.InvalidRange("start is greater than end"), 400, "InvalidRange"),
    (http_range.RangeNotSatisfiable(100), 416, "InvalidRange"),
    (http_range.MalformedRange("not a range"), 400, "InvalidRange"),
    (InvalidCapability(), 401, "InvalidAuthentication"),
    (ExpiredCapability(), 401, "InvalidAuthentication"),
    (CapabilityTooLong(), 413, "PayloadTooLarge"),
    (CapabilityError(SECRET), 500, "InternalServerError"),
    (UnknownReference("no reference chr99"), 404, "NotFound"),
    (UnindexableRange("no index"), 400, "InvalidRange"),
    (CorruptData(SECRET), 500, "InternalServerError"),
    (FormatError(SECRET), 500, "InternalServerError"),
    (ObjectNotFound(SECRET), 404, "NotFound"),
    (ObjectChanged(SECRET), 409, "InvalidInput"),
    (StorageUnavailable(SECRET), 503, "InternalServerError"),
    (StorageError(SECRET), 500, "InternalServerError"),
    (InvalidSubsequence("start is not a number"), 400, "InvalidInput"),
    (OutOfBounds("start lies outside", 8), 416, "InvalidRange"),
    (NotAcceptable("given as text"), 406, "InvalidInput"),
    (AmbiguousId("several have this name"), 409, "InvalidInput"),
    (SequenceUnavailable(SECRET), 404, "NotFound"),
    (SequencePending(SECRET), 503, "InternalServerError"),
    (InvalidCollection("no array"), 400, "InvalidInput"),
    (CollectionTooLarge("too many"), 413, "PayloadTooLarge"),
    (DatabaseUnavailable(SECRET), 503, "InternalServerError"),
    (web.RequestPayloadError(SECRET), 400, "InvalidInput"),
    (web.HTTPNotFound(text=SECRET), 404, "NotFound"),
    (web.HTTPMethodNotAllowed(SECRET, ["GET"]), 405, "InvalidInput"),
    (web.HTTPRequestEntityTooLarge(1, 2, text=SECRET), 413, "PayloadTooLarge"),
    (web.HTTPExpectationFailed(text=SECRET), 417, "InvalidInput"),
    (web.HTTPBadGateway(text=SECRET), 502, "InternalServerError"),
    (ValueError(SECRET), 500, "InternalServerError"),
    (ExceptionGroup(SECRET, [ValueError(SECRET)]), 500, "InternalServerError"),
]


@pytest.mark.parametrize(("error", "status", "kind"), TABLE, ids=lambda v: type(v).__name__)
async def test_every_exception_has_its_answer(
    start: Start, error: Exception, status: int, kind: str
) -> None:
    client = await start(error)
    answered, body = await document(client, "/plain")
    assert (answered, body["error"]) == (status, kind)
    assert body["message"]
    assert "secret" not in body["message"]


def subclasses(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for each in base.__subclasses__():
        yield from subclasses(each)


@pytest.mark.parametrize(
    "base",
    [
        errors.HtsgetError,
        CapabilityError,
        CollectionError,
        FormatError,
        StorageError,
        SubsequenceError,
        http_range.RangeError,
    ],
    ids=lambda b: b.__name__,
)
def test_every_subclass_is_in_the_table(base: type[Exception]) -> None:
    for error in subclasses(base):
        if error in (errors.HtsgetError, CollectionError, SubsequenceError, http_range.RangeError):
            # Never raised themselves.
            continue
        found = next(each for each in error.__mro__ if each in ERRORS)
        assert found is not Exception, error


def test_texts_from_500_up_are_fixed() -> None:
    for kind, text in ERRORS.values():
        assert text is not None or kind.value[1] < 500


async def test_below_500_the_text_is_the_exceptions_own(start: Start) -> None:
    client = await start(errors.InvalidInput("start is not a number"))
    _, body = await document(client, "/plain")
    assert body["message"] == "start is not a number"


def test_unknown_and_invisible_objects_are_answered_alike() -> None:
    one, other = respond(describe(ObjectNotFound("x"))), respond(describe(errors.NotFound()))
    assert one.body == other.body


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (errors.InvalidAuthentication("x"), "WWW-Authenticate", 'Bearer realm="htsget"'),
        (InvalidCapability(), "WWW-Authenticate", 'Bearer realm="htsget"'),
        (ExpiredCapability(), "WWW-Authenticate", 'Bearer realm="htsget"'),
        (StorageUnavailable("x"), "Retry-After", "5"),
        (http_range.RangeNotSatisfiable(7), "Content-Range", "bytes */7"),
        (OutOfBounds("x", 8), "Content-Range", "bytes */8"),
        (SequencePending("x"), "Retry-After", "5"),
    ],
    ids=lambda v: type(v).__name__,
)
async def test_header_fields(start: Start, error: Exception, name: str, value: str) -> None:
    client = await start(error)
    async with client.get("/plain") as response:
        assert response.headers[name] == value


async def test_refget_has_forms_of_its_own() -> None:
    answer = describe(errors.NotFound("no such sequence"))
    assert respond(answer, "/sequence/x").body == b"no such sequence\n"
    assert respond(answer, "/sequence/x").content_type == "text/plain"
    problem = respond(answer, "/collection/x")
    assert problem.content_type == "application/problem+json"
    assert isinstance(problem.body, bytes)
    assert json.loads(problem.body) == {
        "title": "Not Found",
        "status": 404,
        "detail": "no such sequence",
    }
    assert respond(answer, "/reads/x").content_type == "application/json"


async def test_router_errors(start: Start) -> None:
    client = await start(ValueError())
    assert (await document(client, "/nowhere")) == (
        404,
        {"error": "NotFound", "message": "no such resource"},
    )
    async with client.delete("/plain") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert (await response.json())["htsget"]["error"] == "InvalidInput"
    async with client.head("/nowhere") as response:
        assert response.status == 404
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CorruptData(SECRET), "the stored data of object kg/NA12878 cannot be read"),
        (StorageUnavailable(SECRET), "the storage of object kg/NA12878 does not answer now"),
        (KeyError(SECRET), "internal error while serving object kg/NA12878"),
    ],
    ids=lambda v: type(v).__name__,
)
async def test_a_named_object_is_all_that_is_named(
    start: Start, caplog: pytest.LogCaptureFixture, error: Exception, message: str
) -> None:
    client = await start(error)
    _, body = await document(client, "/named?token=hidden")
    assert body["message"].startswith(message)
    assert "secret" not in body["message"]
    assert "hidden" not in caplog.text
    assert "kg/NA12878" in caplog.text
    # What is foreseen says enough in one line; what is not shows its frames.
    assert ("in named" in caplog.text) == isinstance(error, KeyError)


async def test_the_log_holds_frames_but_no_text_of_strangers(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        try:
            int(SECRET)
        except ValueError as inner:
            raise CorruptData("a block of 7 bytes\nforged line") from inner
    except CorruptData as error:
        raised = error
    client = await start(raised)
    await document(client, "/plain")
    assert "secret" not in caplog.text
    assert "formats.errors.CorruptData: 'a block of 7 bytes\\nforged line'" in caplog.text
    assert "builtins.ValueError" in caplog.text


async def test_errors_of_clients_are_not_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "server.errors")
    client = await start(errors.InvalidInput("x"))
    await document(client, "/plain")
    assert not [record for record in caplog.records if record.name == "server.errors"]


def test_naming_keeps_the_innermost() -> None:
    error = CorruptData("x")
    with pytest.raises(CorruptData), naming("outer"), naming("inner"):
        raise error
    assert "object inner" in describe(error).message


def test_long_texts_are_cut() -> None:
    assert len(describe(UnknownReference("x" * 100_000)).message) == 500


@pytest.mark.parametrize("query", ["", "?length"])
async def test_a_begun_answer_never_ends_cleanly(start: Start, query: str) -> None:
    client = await start(CorruptData(SECRET))
    async with client.get("/begun" + query) as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_redirects_pass(start: Start) -> None:
    client = await start(web.HTTPFound("/elsewhere"))
    async with client.get("/plain", allow_redirects=False) as response:
        assert response.status == 302


async def test_cancellation_passes() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await error_middleware(make_mocked_request("GET", "/"), handler)
