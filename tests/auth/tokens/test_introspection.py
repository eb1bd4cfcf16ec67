"""What an issuer answers about opaque tokens, good and bad; the claims themselves are judged with
those of signed tokens."""

from collections.abc import AsyncIterator

import pytest

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.tokens.introspection import Introspection
from tests.support.broker import INTROSPECTOR, Answer, Broker, outbound


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker().serving() as broker:
        yield broker


async def ask(broker: Broker, token: str, secret: str = INTROSPECTOR[1]) -> dict[str, object]:
    async with outbound(broker.url) as fetch:
        url = f"{broker.url}/introspect"
        return await Introspection(broker.issuer, url, INTROSPECTOR[0], secret, fetch).claims(token)


async def test_active_tokens(broker: Broker) -> None:
    token = broker.opaque_token("s")
    assert (await ask(broker, token))["sub"] == "s"
    assert broker.headers["introspection"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert broker.requests == 1


@pytest.mark.parametrize("token", ["a+b/c=", "a&token=b", "%61", "a~b"])
async def test_tokens_arrive_as_they_are(broker: Broker, token: str) -> None:
    broker.opaque[token] = {"active": True, "sub": token}
    assert (await ask(broker, token))["sub"] == token


@pytest.mark.security("TT22")
@pytest.mark.parametrize("active", [False, None, "true", 1, [True], {}])
async def test_only_true_is_active(broker: Broker, active: object) -> None:
    broker.opaque["t"] = {"active": active, "sub": "s"}
    with pytest.raises(InvalidCredential, match="inactive"):
        await ask(broker, "t")


async def test_the_issuer(broker: Broker) -> None:
    broker.opaque["t"] = {"active": True}
    assert (await ask(broker, "t"))["iss"] == broker.issuer
    for iss in ("https://other.example", f"{broker.issuer}/", 7, [broker.issuer]):
        broker.opaque["t"]["iss"] = iss
        with pytest.raises(InvalidCredential, match="iss"):
            await ask(broker, "t")


async def test_we_are_not_the_client(broker: Broker) -> None:
    token = broker.opaque_token()
    with pytest.raises(AuthorityUnavailable, match="status"):
        await ask(broker, token, secret="wrong")  # noqa: S106


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(204),
        Answer(302, headers={"Location": "/introspect"}),
        Answer(body=b'{"active":true,"active":true}'),
        Answer(body=b"[true]"),
        Answer(body=b"true"),
        Answer(body=b""),
        Answer(body=b'{"active":true}', content_type="text/plain"),
        Answer(body=b'{"active":true}', content_type="application/jwt"),
        Answer(body=b'{"active":true}' + b" " * (64 << 10)),
        Answer(body=b'{"active":true, "x":' + b"[" * 30_000),
    ],
    ids=lambda _: "answer",
)
async def test_answers_of_no_use(broker: Broker, answer: Answer) -> None:
    broker.answers["introspection"] = answer
    with pytest.raises(AuthorityUnavailable):
        await ask(broker, "t")


async def test_nobody_there() -> None:
    async with outbound("http://127.0.0.1:9") as fetch:
        there = Introspection("i", "http://127.0.0.1:9/i", "c", "s", fetch)
        with pytest.raises(AuthorityUnavailable, match="unreachable"):
            await there.claims("t")
