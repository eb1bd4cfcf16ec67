"""`POST /auth/exchange` on a real socket, with a real broker, and on both databases."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select, update

from auth.errors import InvalidCredential
from auth.principal import Principal
from server.access.exchange import ACCESS_TOKEN_TYPE, GRANT_TYPE, PASSPORT_TYPE, ExchangeRoutes
from server.access.exchange_store import EXCHANGES, ExchangeStore, is_handle
from server.database import Database
from tests.support.broker import Answer
from tests.support.passport_world import ALICE, BOB, World, a_world
from tests.support.trusting import DATASET

FORM = "application/x-www-form-urlencoded"


@dataclass
class Exchange:
    """A running server with the endpoint, and what it told of refusals and issues."""

    url: str
    session: aiohttp.ClientSession
    world: World
    store: ExchangeStore
    database: Database
    refused: list[str]
    issued: list[Principal]

    async def post(
        self,
        form: Mapping[str, str] | bytes,
        query: str = "",
        content_type: str = FORM,
        **headers: str,
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Status, document and header of an answer."""
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        async with self.session.post(
            self.url + query, data=body, headers={"Content-Type": content_type} | headers
        ) as response:
            assert response.content_type == "application/json"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Pragma"] == "no-cache"
            return response.status, await response.json(), response.headers

    async def of(self, passport: str, **changes: str) -> tuple[int, dict[str, Any]]:
        """The answer to a passport."""
        status, document, _ = await self.post(form_of(passport, **changes))
        return status, document

    async def handle(self, **changes: Any) -> str:
        """A handle for a passport of Alice's."""
        visas = [self.world.grant(), self.world.linked]
        status, document = await self.of(self.world.broker.passport(visas, **changes))
        assert status == 200, document
        handle: str = document["access_token"]
        return handle


def form_of(passport: str, **changes: str) -> dict[str, str]:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token_type": PASSPORT_TYPE,
        "subject_token": passport,
    } | changes
    return {name: value for name, value in form.items() if value}


@asynccontextmanager
async def exchanging(database_url: str, **options: Any) -> AsyncIterator[Exchange]:
    """The endpoint; `options` of its routes."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world())
        reader = world.reader()
        stack.push_async_callback(reader.close)
        database = stack.enter_context(closing(Database(database_url)))
        store = ExchangeStore(database, clock=world.clock, check=reader.check)
        refused: list[str] = []
        issued: list[Principal] = []

        async def note(request: web.Request, principal: Principal) -> None:
            del request
            issued.append(principal)

        values: dict[str, Any] = {
            "issued": note,
            "refused": lambda request, reason: refused.append(reason),
        }
        app = web.Application()
        ExchangeRoutes(reader, store, **values | options).add_to(app)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/auth/exchange"
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Exchange(url, session, world, store, database, refused, issued)


@pytest.fixture
async def exchange(database_url: str) -> AsyncIterator[Exchange]:
    async with exchanging(database_url) as exchange:
        yield exchange


@pytest.fixture
async def embedded() -> AsyncIterator[Exchange]:
    async with exchanging("sqlite://") as exchange:
        yield exchange


async def test_a_passport_becomes_a_handle(exchange: Exchange, database_url: str) -> None:
    world = exchange.world
    passport = world.broker.passport([world.grant(), world.linked])
    status, document, _ = await exchange.post(form_of(passport))
    assert status == 200
    handle = document.pop("access_token")
    assert document == {
        "issued_token_type": ACCESS_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": 3600,
    }
    assert is_handle(handle)
    found = await exchange.store.find(handle)
    assert found is not None
    assert (found.sub, found.visas[0].value) == (ALICE, DATASET)
    assert exchange.issued == [found]
    assert exchange.refused == []
    # Another replica knows it, by what the database has.
    with closing(Database(database_url)) as database:
        other = ExchangeStore(database, clock=world.clock)
        assert await other.find(handle) == found
        assert await other.find(handle) is await other.find(handle)


async def test_the_database_holds_no_handle(exchange: Exchange) -> None:
    handle = await exchange.handle()
    (row,) = exchange.database.run(lambda each: each.execute(select(EXCHANGES)).all())
    assert handle not in str(row)
    assert handle.removeprefix("htsgate_") not in str(row)
    assert len(row.digest) == 64


async def test_handles_differ(embedded: Exchange) -> None:
    handles = {await embedded.handle() for _ in range(5)}
    assert len(handles) == 5


@pytest.mark.security("TV20")
@pytest.mark.parametrize(
    ("changes", "seconds"), [({}, 3600), ({"exp": 600}, 600), ({"exp": 7200}, 3600)]
)
async def test_a_handle_ends(embedded: Exchange, changes: dict[str, int], seconds: int) -> None:
    world = embedded.world
    now = int(world.clock())
    ends: dict[str, Any] = {name: now + value for name, value in changes.items()}
    passport = world.broker.passport([world.grant(), world.linked], **ends)
    status, document = await embedded.of(passport)
    assert status == 200
    assert document["expires_in"] == pytest.approx(seconds, abs=2)
    handle = document["access_token"]
    world.clock.ahead += document["expires_in"] - 3
    assert await embedded.store.find(handle) is not None
    world.clock.ahead += 4
    assert await embedded.store.find(handle) is None
    fresh = ExchangeStore(embedded.database, clock=world.clock)
    assert await fresh.find(handle) is None


@pytest.mark.security("TV16", "TV20")
async def test_a_handle_ends_with_its_first_visa(embedded: Exchange) -> None:
    world = embedded.world
    visas = [world.grant(exp=int(world.clock()) + 30), world.linked]
    _, document = await embedded.of(world.broker.passport(visas))
    assert 28 <= document["expires_in"] <= 30


async def test_what_is_over_is_removed(embedded: Exchange) -> None:
    await embedded.handle()
    embedded.world.clock.ahead += 3601
    await embedded.handle()
    rows = embedded.database.run(lambda each: each.execute(select(EXCHANGES)).all())
    assert len(rows) == 1


@pytest.mark.security("TV20")
async def test_a_passport_in_the_url(embedded: Exchange) -> None:
    passport = embedded.world.broker.passport([])
    query = f"?{urlencode(form_of(passport))}"
    for form in (form_of(passport), b""):
        status, document, _ = await embedded.post(form, query)
        assert (status, document["error"]) == (400, "invalid_request")
    status, _, _ = await embedded.post(form_of(passport), "?access_token=x")
    assert status == 400
    assert embedded.world.broker.requests == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": ""}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
        ({"requested_token_type": PASSPORT_TYPE}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
    ],
)
async def test_requests_that_ask_for_something_else(
    embedded: Exchange, changes: dict[str, str], error: str
) -> None:
    status, document = await embedded.of(embedded.world.broker.passport([]), **changes)
    assert (status, document["error"]) == (400, error)
    assert embedded.refused == [f"exchange.{error}"]


async def test_parameters_that_do_not_matter(embedded: Exchange) -> None:
    passport = embedded.world.broker.passport([])
    more = {"requested_token_type": ACCESS_TOKEN_TYPE, "audience": "x", "scope": "a b"}
    status, _ = await embedded.of(passport, **more)
    assert status == 200


@pytest.mark.security("TV15")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"subject_token", FORM),
        (b"=", FORM),
        (b"\xff=\xff", FORM),
        (b"a=%ff", FORM),
        (b"a=1&a=2", FORM),
        (b"&".join(b"%d=1" % number for number in range(17)), FORM),
        (b"{}", "application/json"),
        (b'["visa"]', "application/json"),
        (b"x=1", "multipart/form-data; boundary=x"),
        (b"x=1", "text/plain"),
    ],
)
async def test_bodies_that_are_no_form(embedded: Exchange, body: bytes, content_type: str) -> None:
    status, document, _ = await embedded.post(body, content_type=content_type)
    assert status == 400
    assert document["error"] in ("invalid_request", "unsupported_grant_type")


@pytest.mark.security("TV1", "TV2", "TV15")
async def test_one_answer_to_whatever_is_wrong_with_a_passport(
    embedded: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = embedded.world
    visa, now = world.grant(), int(world.clock())
    wrong = {
        "passport.typ": world.broker.passport([], header={"typ": "JWT"}),
        "token.exp": world.broker.passport([visa], iat=now - 600, exp=now - 60),
        "token.iss": world.broker.passport([], iss="https://other.example/"),
        "token.kid": world.broker.passport([], header={"kid": "other"}),
        "passport.visas": world.broker.passport([], ga4gh_passport_v1={}),
        "token.syntax": json.dumps([visa]),
    }
    answers = {await answer(embedded, each) for each in (*wrong.values(), visa)}
    assert len(answers) == 1
    assert '"invalid_request"' in answers.pop()
    assert embedded.refused == [*wrong, "passport.typ"]
    assert embedded.issued == []
    for token in (*wrong.values(), visa):
        assert token not in caplog.text
        assert token.rpartition(".")[2] not in caplog.text


async def answer(exchange: Exchange, passport: str) -> str:
    """Status, header and body of what a passport gets."""
    async with exchange.session.post(exchange.url, data=form_of(passport)) as response:
        header = {name: value for name, value in response.headers.items() if name != "Date"}
        return f"{response.status} {sorted(header.items())} {await response.text()}"


async def test_a_passport_that_ends_now(embedded: Exchange) -> None:
    """It is taken within the leeway of clocks, but nothing outlives it."""
    now = int(embedded.world.clock())
    passport = embedded.world.broker.passport([], iat=now - 600, exp=now - 2)
    status, document = await embedded.of(passport)
    assert (status, document["error"]) == (400, "invalid_request")
    assert embedded.refused == ["exchange.expired"]


@pytest.mark.security("TV14")
async def test_large_bodies(embedded: Exchange) -> None:
    # aiohttp warns of large bodies in one piece
    with pytest.warns(ResourceWarning):
        status, document, _ = await embedded.post(b"x" * (10 << 20))
    assert (status, document["error"]) == (413, "invalid_request")
    world = embedded.world
    visas = [world.grant(padding="x" * 8000) for _ in range(30)]
    status, _ = await embedded.of(world.broker.passport([*visas, world.linked]))
    assert status == 200


async def test_codings_of_the_body(embedded: Exchange) -> None:
    form = form_of(embedded.world.broker.passport([]))
    status, _, _ = await embedded.post(form, **{"Content-Encoding": "gzip"})
    assert status == 400


async def test_a_broker_that_is_away(embedded: Exchange) -> None:
    embedded.world.broker.answers["discovery"] = Answer(500)
    status, document, headers = await embedded.post(form_of(embedded.world.broker.passport([])))
    assert (status, document["error"]) == (503, "temporarily_unavailable")
    assert int(headers["Retry-After"]) > 0


async def test_a_database_that_is_away(embedded: Exchange) -> None:
    embedded.database.run(lambda each: EXCHANGES.drop(each))
    status, document, _ = await embedded.post(form_of(embedded.world.broker.passport([])))
    assert (status, document["error"]) == (503, "temporarily_unavailable")


@pytest.mark.security("TV20")
async def test_handles_bound_to_a_client() -> None:
    def client(request: web.Request) -> str:
        return request.headers["X-Client"]

    async with exchanging("sqlite://", client=client) as exchange:
        form = form_of(exchange.world.broker.passport([]))
        _, document, _ = await exchange.post(form, **{"X-Client": "of A"})
        handle = document["access_token"]
        for store in (exchange.store, ExchangeStore(exchange.database)):
            assert await store.find(handle, "of A") is not None
            assert await store.find(handle, "of B") is None
            assert await store.find(handle) is None


@pytest.mark.security("TV20")
async def test_handles_for_any_client(embedded: Exchange) -> None:
    handle = await embedded.handle()
    assert await embedded.store.find(handle) is not None


async def test_what_is_no_handle_is_not_looked_up(embedded: Exchange) -> None:
    handle = await embedded.handle()
    embedded.database.run(lambda each: EXCHANGES.drop(each))
    for other in ("", "x", handle + "x", handle[:-1], handle.upper(), f" {handle}", f"{handle}\n"):
        assert await embedded.store.find(other) is None


async def test_another_handle_is_nobodys(embedded: Exchange) -> None:
    handle = await embedded.handle()
    other = handle[:-1] + ("A" if handle[-1] != "A" else "B")
    assert is_handle(other)
    assert await embedded.store.find(other) is None


async def test_a_row_of_another_version(embedded: Exchange) -> None:
    handle = await embedded.handle()
    embedded.database.run(lambda each: each.execute(update(EXCHANGES).values(principal="{}")))
    assert await ExchangeStore(embedded.database).find(handle) is None


async def test_who_is_revoked_meanwhile(embedded: Exchange) -> None:
    handle = await embedded.handle()

    def check(principal: Principal) -> None:
        if principal.sub == ALICE:
            raise InvalidCredential("token.revoked")

    store = ExchangeStore(embedded.database, clock=embedded.world.clock, check=check)
    with pytest.raises(InvalidCredential):
        await store.find(handle)
    passport = embedded.world.broker.passport([], sub=BOB)
    _, document = await embedded.of(passport)
    assert await store.find(document["access_token"]) is not None


async def test_what_the_record_of_an_issue_raises_goes_on() -> None:
    async def fail(request: web.Request, principal: Principal) -> None:
        raise web.HTTPServiceUnavailable

    async with exchanging("sqlite://", issued=fail) as exchange:
        passport = exchange.world.broker.passport([])
        async with exchange.session.post(exchange.url, data=form_of(passport)) as response:
            assert response.status == 503
            assert "htsgate_" not in await response.text()


async def test_many_at_once(exchange: Exchange) -> None:
    handles = await asyncio.gather(*(exchange.handle() for _ in range(20)))
    found = [await exchange.store.find(handle) for handle in handles]
    assert all(found)
    assert len(set(handles)) == 20


async def test_other_methods(embedded: Exchange) -> None:
    async with embedded.session.get(embedded.url) as response:
        assert response.status == 405
