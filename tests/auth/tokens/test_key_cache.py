"""The cache of an issuer's keys, over real requests to a broker that changes its mind."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auth.errors import AuthorityUnavailable, InvalidCredential
from auth.tokens.issuer_metadata import may_call
from auth.tokens.key_cache import KeyCache
from tests.support.broker import PATHS, Answer, Broker, SigningKey, outbound

MINUTE, HOUR = 60.0, 3600.0
HOSTILE = [
    Answer(500),
    Answer(404),
    Answer(204),
    Answer(302, headers={"Location": "/elsewhere"}),
    Answer(body=b"", content_type="application/json"),
    Answer(body=b"{}"),
    Answer(body=b"<html></html>"),
    Answer(body=b'{"keys":[]}', content_type="text/html"),
    Answer(body=b'{"keys":[]}' + b" " * (256 << 10)),
    Answer(body=b'{"keys":' + b"[" * 50_000),
    Answer(body=b'{"keys":[]}', headers={"Content-Encoding": "br"}),
]


@dataclass
class World:
    """A broker, a cache of its keys, and the time."""

    broker: Broker
    cache: KeyCache
    seconds: float = 1_790_000_000.0

    async def knows(self, key: SigningKey) -> bool:
        try:
            found = await self.cache.key(key.kid, key.alg)
        except InvalidCredential:
            return False
        assert found.public == key.private.public_key()
        return True

    async def settle(self, fetches: int) -> None:
        """Wait for what runs in the background."""
        for _ in range(200):
            if self.broker.asked["jwks"] >= fetches:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        assert self.broker.asked["jwks"] == fetches


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    async with Broker().serving() as broker, outbound(broker.url) as fetch:
        made: list[World] = []
        cache = KeyCache(broker.issuer, fetch, lambda: made[0].seconds, **options)
        made.append(World(broker, cache))
        try:
            yield made[0]
        finally:
            await cache.close()


async def test_discovery_and_one_fetch_for_all() -> None:
    async with world() as w:
        results = await asyncio.gather(*(w.knows(w.broker.key) for _ in range(50)))
        assert all(results)
        assert w.broker.asked == {"discovery": 1, "jwks": 1}
        metadata = await w.cache.metadata()
        assert metadata.userinfo_endpoint == f"{w.broker.url}/userinfo"
        assert metadata.introspection_endpoint == f"{w.broker.url}/introspect"
        assert w.broker.asked["discovery"] == 1


async def test_a_pinned_url_needs_no_discovery() -> None:
    async with Broker().serving() as broker, outbound(broker.url) as fetch:
        cache = KeyCache("https://other.example/", fetch, lambda: 0.0, jwks_url=broker.jku)
        await cache.warm()
        assert (await cache.key(broker.key.kid, "ES256")).kid == broker.key.kid
        assert broker.asked == {"jwks": 1}


async def test_renewal_in_the_background() -> None:
    async with world() as w:
        w.broker.cache_control = "public, max-age=1000"
        assert await w.knows(w.broker.key)
        old = w.broker.key
        w.seconds += 799
        assert await w.knows(old)
        await w.settle(1)
        # Nobody waits for it.
        new = w.broker.rotate()
        w.broker.answers["jwks"] = Answer(body=w.broker.jwks, delay=0.6)
        w.seconds += 2
        before = asyncio.get_running_loop().time()
        assert all(await asyncio.gather(*(w.knows(old) for _ in range(20))))
        assert asyncio.get_running_loop().time() - before < 0.4
        await asyncio.sleep(0.8)
        assert w.broker.asked["jwks"] == 2
        assert await w.knows(new)
        assert w.broker.asked["jwks"] == 2


@pytest.mark.parametrize(
    ("control", "lifetime"),
    [
        ("", 600),
        ("max-age=1", 60),
        ("no-store", 60),
        ("max-age=120", 120),
        ("max-age=999999", 3600),
    ],
)
@pytest.mark.security("TT19")
async def test_a_removed_key_ends_with_the_lifetime(control: str, lifetime: int) -> None:
    async with world() as w:
        w.broker.cache_control = control
        removed = w.broker.key
        assert await w.knows(removed)
        w.broker.rotate(keep=False)
        w.seconds += lifetime * 0.79
        assert await w.knows(removed)
        w.seconds += lifetime * 0.21
        assert not await w.knows(removed)


@pytest.mark.security("TT16")
async def test_a_new_key_is_found_at_once() -> None:
    async with world() as w:
        assert await w.knows(w.broker.key)
        new = w.broker.rotate()
        assert all(await asyncio.gather(*(w.knows(new) for _ in range(20))))
        assert w.broker.asked["jwks"] == 2


@pytest.mark.security("TT17")
async def test_unknown_keys_make_few_requests() -> None:
    async with world() as w:
        good = w.broker.key
        assert await w.knows(good)
        strangers = [SigningKey.make("ES256") for _ in range(1000)]
        known = await asyncio.gather(*(w.knows(each) for each in strangers))
        assert not any(known)
        for each in strangers[:100]:
            assert not await w.knows(each)
            w.seconds += 0.29
        assert w.broker.asked["jwks"] == 2
        assert await w.knows(good)
        w.seconds += 2
        # Half a minute later one more, but not for one that was looked for less than a minute ago.
        assert not await w.knows(strangers[0])
        assert w.broker.asked["jwks"] == 2
        assert not await w.knows(strangers[500])
        assert w.broker.asked["jwks"] == 3
        for n in range(1000):  # whatever happens, little is remembered
            w.seconds += 1
            await w.cache.key(good.kid, "ES256")
            assert not await w.knows(strangers[n])
            assert len(w.cache._unknown) <= 3
        await w.settle(w.broker.asked["jwks"])
        assert w.broker.asked["jwks"] <= 3 + 1000 / 30 + 3
        assert w.cache.unknown_kids > 2000


@pytest.mark.security("TT17")
async def test_unknown_keys_in_an_outage_make_few_requests() -> None:
    async with world() as w:
        good = w.broker.key
        assert await w.knows(good)
        w.broker.answers["jwks"] = Answer(503)
        for _ in range(100):
            assert not await w.knows(SigningKey.make("ES256"))
            assert await w.knows(good)
            w.seconds += 0.2
        assert w.broker.asked["jwks"] == 2
        w.seconds += HOUR
        for _ in range(100):
            assert not await w.knows(SigningKey.make("ES256"))
            assert await w.knows(good)
        assert w.broker.asked["jwks"] == 3


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda _: "answer")
async def test_the_last_good_keys_are_used(answer: Answer, caplog: Any) -> None:
    async with world() as w:
        good = w.broker.key
        assert await w.knows(good)
        w.broker.answers["jwks"] = answer
        w.seconds += 11 * MINUTE
        assert await w.knows(good)
        assert w.broker.asked["jwks"] == 2
        assert await w.knows(good)
        w.seconds += 29
        assert await w.knows(good)
        assert w.broker.asked["jwks"] == 2
        assert "last good" in caplog.text
        w.seconds += 23 * HOUR
        assert await w.knows(good)
        w.seconds += HOUR
        with pytest.raises(AuthorityUnavailable):
            await w.knows(good)
        del w.broker.answers["jwks"]
        w.seconds += 5
        assert await w.knows(good)


async def test_strict_operators_have_no_stale_keys() -> None:
    async with world(stale_for=0) as w:
        assert await w.knows(w.broker.key)
        w.broker.answers["jwks"] = Answer(500)
        w.seconds += 11 * MINUTE
        with pytest.raises(AuthorityUnavailable):
            await w.knows(w.broker.key)


async def test_two_keys_with_one_id_are_refused_and_the_old_ones_kept() -> None:
    async with world() as w:
        good = w.broker.key
        assert await w.knows(good)
        w.broker.keys.append(SigningKey.make("ES256", good.kid, number=7))
        w.seconds += 11 * MINUTE
        assert await w.knows(good)


@pytest.mark.security("TT18")
@pytest.mark.parametrize("endpoint", ["discovery", "jwks"])
async def test_no_keys_at_the_start(endpoint: str, caplog: Any) -> None:
    async with world() as w:
        w.broker.answers[endpoint] = Answer(503)
        await w.cache.warm()
        for _ in range(50):
            with pytest.raises(AuthorityUnavailable):
                await w.cache.key("k", "ES256")
        assert w.broker.asked[endpoint] == 1
        assert "not accepted" in caplog.text
        del w.broker.answers[endpoint]
        w.seconds += 5
        assert await w.knows(w.broker.key)


@pytest.mark.parametrize(
    "edit",
    [
        {"issuer": "https://elsewhere.example/"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "https://elsewhere.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"userinfo_endpoint": "https://elsewhere.example/"},
        {"introspection_endpoint": "gopher://x"},
    ],
)
async def test_metadata_that_are_not_the_issuers(edit: dict[str, Any], caplog: Any) -> None:
    async with world() as w:
        w.broker.edits["discovery"] = edit
        with pytest.raises(AuthorityUnavailable):
            await w.knows(w.broker.key)
        with pytest.raises(AuthorityUnavailable):
            await w.cache.metadata()
        assert w.broker.asked["jwks"] == 0
        assert w.broker.issuer in caplog.text


async def test_an_issuer_with_a_slash_is_not_one_without() -> None:
    async with Broker().serving() as broker, outbound(broker.url) as fetch:
        cache = KeyCache(f"{broker.url}/", fetch, lambda: 0.0)
        with pytest.raises(AuthorityUnavailable, match="mismatch"):
            await cache.key("k", "ES256")
        assert broker.asked == {"discovery": 1}


@pytest.mark.parametrize(
    ("url", "issuer", "hosts", "fine"),
    [
        ("https://b.example/k", "https://b.example/oidc/", (), True),
        ("https://b.example:8443/k", "https://b.example/oidc/", (), True),
        ("HTTPS://B.example/k", "https://b.example/oidc/", (), True),
        ("http://b.example/k", "https://b.example/oidc/", (), False),
        ("https://b.example.evil/k", "https://b.example/", (), False),
        ("https://b.example@evil/k", "https://b.example/", (), False),
        ("https://user@b.example/k", "https://b.example/", (), False),
        ("https://evil\\@b.example/k", "https://b.example/", (), False),
        ("https://b.example./k", "https://b.example/", (), False),
        ("https://b.example/k#x", "https://b.example/", (), False),
        ("https://b.example/ k", "https://b.example/", (), False),
        ("https://b.example/\nk", "https://b.example/", (), False),
        ("https://b.example:x/k", "https://b.example/", (), False),
        ("https://[::1/k", "https://b.example/", (), False),
        ("https://\u0432.example/k", "https://b.example/", (), False),
        ("//b.example/k", "https://b.example/", (), False),
        ("https:///k", "https://b.example/", (), False),
        ("", "https://b.example/", (), False),
        (None, "https://b.example/", (), False),
        ("https://keys.example/k", "https://b.example/", ("KEYS.example",), True),
        ("https://keys.example:444/k", "https://b.example/", ("keys.example",), False),
        ("https://keys.example:444/k", "https://b.example/", ("keys.example:444",), True),
        ("http://127.0.0.1:99/k", "http://127.0.0.1:98", (), True),
        ("http://localhost/k", "http://localhost:98", (), True),
        ("http://127.0.0.1/k", "http://localhost", (), False),
        ("http://127.0.0.1/k", "https://127.0.0.1", (), False),
        ("http://10.0.0.1/k", "http://10.0.0.1", (), False),
        ("https://b.example/k", "urn:issuer", (), False),
        ("https://b.example/k", "urn:issuer", ("b.example",), True),
    ],
)
def test_which_urls_are_called(url: Any, issuer: str, hosts: tuple[str, ...], fine: bool) -> None:
    assert may_call(url, issuer, hosts) is fine


async def test_a_caller_who_goes_away_takes_nothing_with_him() -> None:
    async with world() as w:
        w.broker.answers["jwks"] = Answer(body=w.broker.jwks, delay=0.2)
        first = asyncio.create_task(w.knows(w.broker.key))
        second = asyncio.create_task(w.knows(w.broker.key))
        await asyncio.sleep(0.1)
        first.cancel()
        assert await second
        assert w.broker.asked["jwks"] == 1


async def test_flushed_keys_are_gone() -> None:
    async with world() as w:
        old = w.broker.key
        assert await w.knows(old)
        generation = w.cache.generation
        w.broker.answers["jwks"] = Answer(500)
        w.cache.flush()
        assert w.cache.generation != generation
        with pytest.raises(AuthorityUnavailable):
            await w.knows(old)


async def test_what_is_on_its_way_when_keys_are_flushed_is_not_used() -> None:
    async with world() as w:
        stolen = w.broker.key
        w.broker.answers["jwks"] = Answer(body=w.broker.jwks, delay=0.2)
        waiting = asyncio.create_task(w.knows(stolen))
        await asyncio.sleep(0.1)
        w.cache.flush()
        w.broker.rotate(keep=False)
        del w.broker.answers["jwks"]
        assert not await w.knows(stolen)
        assert not await waiting
        assert await w.knows(w.broker.key)


async def test_a_file_of_keys(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "keys.json"
    async with world(jwks_file=path) as w:
        old = w.broker.key
        with pytest.raises(AuthorityUnavailable, match="file"):
            await w.knows(old)
        path.write_bytes(w.broker.jwks)
        w.seconds += 5
        assert await w.knows(old)
        generation = w.cache.generation
        w.seconds += 10
        assert await w.knows(old)
        assert w.cache.generation == generation
        new = w.broker.rotate(keep=False)
        other = tmp_path / "new.json"
        other.write_bytes(w.broker.jwks)
        os.utime(other, ns=(0, 0))
        other.replace(path)
        w.seconds += 10
        assert not await w.knows(old)
        assert await w.knows(new)
        for content in (b"{", b'{"keys":[' + b" " * (256 << 10) + b"]}"):
            path.write_bytes(content)
            w.seconds += 31
            assert await w.knows(new)
        path.unlink()
        w.seconds += 31
        assert await w.knows(new)
        assert "issuer.file" in caplog.text
        assert w.broker.requests == 0


async def test_nothing_of_keys_is_logged(caplog: Any) -> None:
    caplog.set_level("DEBUG")
    async with world() as w:
        await w.knows(w.broker.key)
        w.broker.answers["jwks"] = Answer(body=w.broker.jwks.replace(b"]", b"}"))
        w.seconds += HOUR
        await w.knows(w.broker.key)
        for text in (w.broker.key.jwk["x"], PATHS["jwks"], w.broker.key.kid):
            assert text not in caplog.text
