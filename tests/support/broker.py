"""A broker on this machine: discovery, keys, UserInfo, introspection; good or bad as a test asks.

Its keys are made anew each run. `Broker.serving` answers on the test's event loop, `Broker.running`
in a thread of its own, for tests that block or talk to a server.
"""

import asyncio
import base64
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote_plus

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from server.outbound import Outbound
from tests.support.running_server import running

AUDIENCE = "https://htsget.hospital.example"
CLIENT = "igv-web"
INTROSPECTOR = ("htsgate", "s3cret:with/odd characters")
PATHS = {
    "discovery": "/.well-known/openid-configuration",
    "jwks": "/jwks",
    "userinfo": "/userinfo",
    "introspection": "/introspect",
}
_numbers = itertools.count(1)


@cache
def _private_key(alg: str, number: int) -> Any:
    """A key of a kind: RSA keys take long to make, so tests share them within a run."""
    if alg.startswith("ES"):
        return ec.generate_private_key({"ES384": ec.SECP384R1()}.get(alg, ec.SECP256R1()))
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def segment(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the id and algorithm it is published under."""

    kid: str
    alg: str
    private: Any

    @classmethod
    def make(cls, alg: str = "ES256", kid: str = "", *, number: int = 0) -> "SigningKey":
        """A key; of those with another `number`, another one."""
        return cls(kid or f"k-{next(_numbers)}", alg, _private_key(alg, number))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as published."""
        kinds: dict[str, Any] = {"E": ECAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm}
        kind = OKPAlgorithm if self.alg == "EdDSA" else kinds[self.alg[0]]
        public = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {"kid": self.kid, "alg": self.alg, "use": "sig"} | public

    def sign(self, claims: Mapping[str, Any] | bytes, **header: Any) -> str:
        """A signed token. `claims` as bytes go in as they are; a header of None is left out."""
        members = {"typ": "at+jwt", "alg": self.alg, "kid": self.kid} | header
        head = {name: value for name, value in members.items() if value is not None}
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        return self.sign_bytes(json.dumps(head).encode(), payload)

    def sign_bytes(self, header: bytes, payload: bytes) -> str:
        """A token of any header and payload, signed as `alg` says."""
        signed = f"{segment(header)}.{segment(payload)}"
        algorithm = PyJWS().get_algorithm_by_name(self.alg)
        return f"{signed}.{segment(algorithm.sign(signed.encode(), self.private))}"


@dataclass(slots=True)
class Answer:
    """What an endpoint says in place of the truth, after `delay` seconds."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(slots=True, eq=False)
class Broker:
    """`keys` are published; the first signs. `answers` replace those of an endpoint of `PATHS`;
    `edits` change the JSON that it would give. `asked` counts requests by endpoint, `headers` keeps
    those of the last. `visas` are what UserInfo has of a subject, `opaque` what introspection says
    of a token. `clock` is the time that tokens are made at.
    """

    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey.make()])
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)
    cache_control: str = ""
    visas: dict[str, Sequence[str]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return self.url

    @property
    def jku(self) -> str:
        """Where its keys are, as its visas say."""
        return f"{self.url}{PATHS['jwks']}"

    @property
    def key(self) -> SigningKey:
        """The key that signs."""
        return self.keys[0]

    def rotate(self, alg: str = "ES256", *, keep: bool = True) -> SigningKey:
        """Sign with a new key from now on. `keep`: the old ones stay published."""
        self.keys[:] = [SigningKey.make(alg, number=next(_numbers)), *(self.keys if keep else ())]
        return self.key

    @property
    def jwks(self) -> bytes:
        """The key set as published."""
        return json.dumps({"keys": [key.jwk for key in self.keys]}).encode()

    def claims(self, sub: str = "a1b2@broker.example", **changes: Any) -> dict[str, Any]:
        """Those of a good access token; a change to None leaves one out."""
        now = int(self.clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": sub,
            "aud": [AUDIENCE],
            "client_id": CLIENT,
            "iat": now,
            "exp": now + 3600,
            "jti": f"at-{next(_numbers)}",
            "scope": "openid ga4gh_passport_v1",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def access_token(self, sub: str = "a1b2@broker.example", **changes: Any) -> str:
        """A good access token but for the changes; UserInfo knows whose it is."""
        token = self.key.sign(self.claims(sub, **changes))
        self.subjects[token] = sub
        return token

    def opaque_token(self, sub: str = "a1b2@broker.example", **changes: Any) -> str:
        """A token that says nothing by itself; introspection and UserInfo know it."""
        token = f"opaque-{next(_numbers)}"
        self.opaque[token] = {"active": True} | self.claims(sub, **changes)
        self.subjects[token] = sub
        return token

    def visa(
        self,
        type: str,  # noqa: A002
        value: str,
        source: str,
        by: str | None = "dac",
        *,
        sub: str = "a1b2@broker.example",
        key: SigningKey | None = None,
        header: Mapping[str, Any] | None = None,
        visa: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A visa document of this broker. `visa` and `header` change members, the rest claims;
        None leaves one out."""
        now = int(self.clock())
        members: dict[str, Any] = {
            "type": type,
            "asserted": now - 1000,
            "value": value,
            "source": source,
            "by": by,
        } | dict(visa or {})
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": sub,
            "iat": now - 60,
            "exp": now + 7200,
            "jti": f"v-{next(_numbers)}",
            "ga4gh_visa_v1": {name: each for name, each in members.items() if each is not None},
        } | changes
        kept = {name: each for name, each in claims.items() if each is not None}
        head = {"typ": "vnd.ga4gh.visa+jwt", "jku": self.jku} | dict(header or {})
        return (key or self.key).sign(kept, **head)

    def passport(
        self,
        visas: Sequence[str],
        sub: str = "a1b2@broker.example",
        *,
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A passport of this broker (token exchange)."""
        claims = self.claims(sub, client_id=None, scope=None, ga4gh_passport_v1=list(visas))
        claims["jti"] = f"pp-{next(_numbers)}"
        kept = {name: each for name, each in (claims | changes).items() if each is not None}
        return self.key.sign(kept, **({"typ": "vnd.ga4gh.passport+jwt"} | dict(header or {})))

    @property
    def requests(self) -> int:
        """How many requests there were, to any endpoint."""
        return self.asked.total()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Broker"]:
        """Answer on this event loop until the block ends."""
        runner = web.AppRunner(self._application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    @contextmanager
    def running(self) -> Iterator["Broker"]:
        """Answer in a thread until the block ends."""
        with running(self._application()) as url:
            self.url = url.rstrip("/")
            yield self

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._respond)
        return application

    async def _respond(self, request: web.Request) -> web.Response:
        names = {path: name for name, path in PATHS.items()}
        name = names.get(request.path, request.path)
        self.asked[name] += 1
        self.headers[name] = request.headers.copy()
        answer = self.answers.get(name)
        if answer is None:
            answer = await self._truth(name, request)
        await asyncio.sleep(answer.delay)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _truth(self, name: str, request: web.Request) -> Answer:
        if name == "jwks":
            caching = {"Cache-Control": self.cache_control} if self.cache_control else {}
            return Answer(body=self.jwks, headers=caching)
        if name == "discovery":
            found: dict[str, Any] | None = {
                "issuer": self.issuer,
                "jwks_uri": self.jku,
                "userinfo_endpoint": f"{self.url}{PATHS['userinfo']}",
                "introspection_endpoint": f"{self.url}{PATHS['introspection']}",
            }
        elif name == "userinfo":
            found = self._userinfo(request)
        elif name == "introspection":
            found = await self._introspection(request)
        else:
            return Answer(status=404)
        if found is None:
            return Answer(status=401, headers={"WWW-Authenticate": "Bearer"})
        changed = found | self.edits.get(name, {})
        kept = {member: value for member, value in changed.items() if value is not None}
        return Answer(body=json.dumps(kept).encode())

    def _userinfo(self, request: web.Request) -> dict[str, Any] | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        sub = self.subjects.get(token)
        if sub is None:
            return None
        return {"sub": sub, "ga4gh_passport_v1": list(self.visas.get(sub, ()))}

    async def _introspection(self, request: web.Request) -> dict[str, Any] | None:
        given = request.headers.get("Authorization", "")
        if given != expected_basic(*INTROSPECTOR):
            return None
        form = await request.post()
        return self.opaque.get(str(form.get("token")), {"active": False})


@asynccontextmanager
async def outbound(*urls: str) -> AsyncIterator[Outbound]:
    """A client that may call these URLs, for as long as the block runs."""
    fetch = Outbound(urls)
    fetch.start()
    try:
        yield fetch
    finally:
        await fetch.close()


def expected_basic(client: str, secret: str) -> str:
    """How a client names itself to introspection: form-encoded first (RFC 6749 2.3.1)."""
    pair = f"{quote_plus(client)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
