"""The compact form, against a table, against joserfc, and against time."""

import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet as OtherKeySet
from joserfc.registry import HeaderParameter

from auth.errors import InvalidCredential
from auth.tokens.jose import MAX_TOKEN, Key, claims_of, decode, is_compact, parse, verify
from auth.tokens.key_set import KeySet
from tests.support.broker import SigningKey, segment

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
KEYS = {alg: SigningKey.make(alg, alg.lower()) for alg in ALGORITHMS}
CLAIMS = {"iss": "https://b.example/", "sub": "s", "text": "\u00fc" * 40}
PUBLISHED = KeySet.load(json.dumps({"keys": [key.jwk for key in KEYS.values()]}).encode())


def key_of(alg: str) -> Key:
    key = PUBLISHED.find(alg.lower(), alg)
    assert key is not None
    return key


def judge(token: str, alg: str) -> bytes | None:
    """The payload, if it is signed by the key for an algorithm, and says so."""
    try:
        compact = parse(token)
        key = PUBLISHED.find(compact.kid, alg)
        return None if key is None else verify(compact, key)
    except InvalidCredential:
        return None


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_good_tokens(alg: str) -> None:
    compact = parse(KEYS[alg].sign(CLAIMS))
    assert (compact.alg, compact.kid, compact.typ) == (alg, alg.lower(), "at+jwt")
    assert claims_of(verify(compact, key_of(alg))) == CLAIMS
    for other in set(ALGORITHMS) - {alg}:
        with pytest.raises(InvalidCredential, match=r"token\.alg"):
            verify(compact, key_of(other))


def test_typ() -> None:
    key = KEYS["EdDSA"]
    assert parse(key.sign(CLAIMS, typ="application/AT+JWT")).typ == "at+jwt"
    assert parse(key.sign(CLAIMS, typ=None)).typ == ""
    with pytest.raises(InvalidCredential, match=r"token\.typ"):
        parse(key.sign(CLAIMS, typ=["JWT"]))


def test_the_digest_is_of_what_was_signed() -> None:
    """ECDSA has two signatures for each: a deny-list must not care which."""
    token = KEYS["ES256"].sign(CLAIMS)
    signed, _, signature = token.rpartition(".")
    raw = decode(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{signed}.{segment(other)}"
    assert twin != token
    assert judge(twin, "ES256") == judge(token, "ES256") is not None
    assert parse(twin).digest == parse(token).digest
    assert parse(twin).digest.startswith("sha256:")


@pytest.mark.security("TT1", "TT3")
@pytest.mark.parametrize(
    "alg",
    [
        *("none", "None", "NONE", "", "HS256", "RS384", "RS256 ", " RS256", "rs256", "RS256\n"),
        *(["RS256"], {"RS256": 1}, None, 1, True, "R" * 3000),
    ],
    ids=lambda alg: repr(alg)[:12],
)
@pytest.mark.parametrize("signature", ["good", "empty", "one"])
def test_alg(alg: Any, signature: str) -> None:
    key = KEYS["RS256"]
    head = json.dumps({"alg": alg, "kid": "rs256"}).encode()
    token = key.sign_bytes(head, json.dumps(CLAIMS).encode())
    if signature != "good":
        token = token.rpartition(".")[0] + (".AA" if signature == "one" else ".")
    assert judge(token, "RS256") is None


@pytest.mark.security("TT2")
@pytest.mark.parametrize("kind", ["pem", "der", "jwk", "ssh", "pkcs1", "n"])
def test_a_public_key_is_no_secret(kind: str) -> None:
    public, jwk = KEYS["RS256"].private.public_key(), KEYS["RS256"].jwk
    encoding, form = serialization.Encoding, serialization.PublicFormat
    secret = {
        "pem": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "der": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "pkcs1": public.public_bytes(encoding.PEM, form.PKCS1),
        "ssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "jwk": json.dumps(jwk).encode(),
        "n": decode(jwk["n"]),
    }[kind]
    for alg in ("HS256", "RS256"):
        signed = f"{segment(json.dumps({'alg': alg, 'kid': 'rs256'}).encode())}.{segment(b'{}')}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert judge(f"{signed}.{segment(mac)}", "RS256") is None


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": True},
        {"b64": False},
        {"crit": None},
    ],
)
def test_what_we_do_not_understand(header: dict[str, Any]) -> None:
    head = json.dumps({"alg": "RS256", "kid": "rs256"} | header).encode()
    with pytest.raises(InvalidCredential, match=r"token\.crit"):
        parse(KEYS["RS256"].sign_bytes(head, b"{}"))


@pytest.mark.security("TT5")
@pytest.mark.parametrize("kid", [None, 7, "", ["a"], {"a": 1}, True, "k" * 257])
def test_kid(kid: Any) -> None:
    token = KEYS["RS256"].sign_bytes(json.dumps({"alg": "RS256", "kid": kid}).encode(), b"{}")
    with pytest.raises(InvalidCredential, match=r"token\.kid"):
        parse(token)
    with pytest.raises(InvalidCredential, match=r"token\.kid"):
        parse(KEYS["RS256"].sign(CLAIMS, kid=None))


def spellings(token: str) -> Iterator[str]:
    """Other ways to write a token, which lenient decoders take."""
    head, payload, signature = token.split(".")
    yield from (f"{token}=", f"{token}==", f"{token}\n", f" {token}", f"{token} ", f"{token}.")
    yield from (f".{token}", f"{head}=.{payload}.{signature}", f"{head}.{payload}==.{signature}")
    yield from (f"{head}.{payload}", f"{head}.{payload}.", f"{head}..{signature}", f"..{signature}")
    yield from (f"{head}.{payload}.{signature}.{signature}", f"{head}.{payload[:9]}\n{payload[9:]}")
    yield from (f"{head}.{payload[:9]}!{payload[9:]}.{signature}", token.replace(".", " ", 1))
    yield token.replace("-", "+").replace("_", "/") + "."
    for at, text in enumerate((head, payload, signature)):
        if len(text) % 4:  # the last character has bits that mean nothing
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            odd = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
            segments = [head, payload, signature]
            segments[at] = odd
            yield ".".join(segments)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 2])
def test_one_spelling(alg: str, size: int) -> None:
    token = KEYS[alg].sign(CLAIMS | {"pad": "x" * size})
    assert judge(token, alg) is not None
    for other in spellings(token):
        assert judge(other, alg) is None, other


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"RS256","alg":"RS256","kid":"rs256"}',
        b'{"alg":"none","alg":"RS256","kid":"rs256"}',
        b'{"alg":"RS256","kid":"rs256","x":NaN}',
        b'{"alg":"RS256","kid":"rs256","x":1e400}',
        b'\xef\xbb\xbf{"alg":"RS256","kid":"rs256"}',
        b'{"alg":"RS256","kid":"rs256","x":"\xff"}',
        b'{"alg":"RS256","kid":"rs256","x":"\\ud800"}',
        b'{"alg":"RS256","kid":"rs256"} ,',
        b'["RS256"]',
        b'"RS256"',
        b"null",
        b"not json",
        b'{"alg":"RS256","kid":"rs256","x":' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"alg":"RS256","kid":"rs256","x":"' + b"x" * 4096 + b'"}',
    ],
)
def test_headers_that_are_no_header(header: bytes) -> None:
    assert judge(KEYS["RS256"].sign_bytes(header, b"{}"), "RS256") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\u0000"}',
    ],
)
def test_payloads_without_claims(payload: bytes) -> None:
    with pytest.raises(InvalidCredential):
        claims_of(payload)


def timed(act: Callable[[], object]) -> float:
    best = 9.9
    for _ in range(3):
        before = time.perf_counter()
        with pytest.raises(InvalidCredential):
            act()
        best = min(best, time.perf_counter() - before)
    return best


@pytest.mark.security("TT10")
@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_deep_json_is_no_work(depth: int) -> None:
    key = KEYS["EdDSA"]
    deep = b"[" * depth + b"]" * depth
    head = b'{"alg":"EdDSA","kid":"eddsa"}'
    in_header = key.sign_bytes(b'{"alg":"EdDSA","kid":"eddsa","x":' + deep + b"}", b"{}")
    in_payload = key.sign_bytes(head, b'{"a":' + deep + b"}")
    assert timed(lambda: parse(in_header)) < 0.05
    assert timed(lambda: parse(in_header, max_bytes=1 << 30)) < 0.05
    assert timed(lambda: parse(in_header, max_bytes=1 << 30, max_header=1 << 30)) < 0.05
    assert timed(lambda: claims_of(parse(in_payload, max_bytes=1 << 30).payload)) < 0.05


@pytest.mark.security("TT10")
@pytest.mark.parametrize(
    "token",
    [
        "." * (1 << 20),
        "a" * (10 << 20) + ".a.a",
        "a." * (1 << 19),
        "a" * (1 << 20),
        "a.a." + "a" * (1 << 20) + "=",
        "a.a." * (1 << 18),
        "\u0661" * (1 << 20),
    ],
    ids=["dots", "header", "pairs", "one", "end", "triples", "digits"],
)
def test_long_tokens_are_no_work(token: str) -> None:
    assert timed(lambda: parse(token)) < 0.05
    assert timed(lambda: parse(token, max_bytes=1 << 30)) < 0.05


@pytest.mark.security("TT10")
def test_work_grows_with_the_token_and_no_faster() -> None:
    def cost(size: int) -> float:
        token = KEYS["EdDSA"].sign(b'{"a":"' + b"\\u0041" * (size // 6) + b'"}')
        best = 9.9
        for _ in range(5):
            before = time.perf_counter()
            claims_of(verify(parse(token, max_bytes=1 << 30), key_of("EdDSA")))
            best = min(best, time.perf_counter() - before)
        return best

    assert cost(800_000) < 20 * cost(100_000)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_texts_are_parsed_or_refused(text: str) -> None:
    try:
        compact = parse(text)
    except InvalidCredential:
        return
    assert is_compact(text)
    assert compact.text == text


@given(st.binary(max_size=64))
def test_decode(data: bytes) -> None:
    assert decode(segment(data)) == data


# The second opinion: joserfc, told to be as lenient about header names and sizes as it can be.


def other_judge(token: str, alg: str) -> bytes | None:
    """What joserfc says."""
    names = ("x", "jwk", "x5c", "x5u", "jku", "typ", "cty", "zip")
    registry = jws.JWSRegistry(
        header_registry={name: HeaderParameter(name, "str") for name in names},
        algorithms=[alg],
        strict_check_header=False,
    )
    registry.max_header_length = registry.max_payload_length = 1 << 20
    registry.max_signature_length = 1 << 20
    keys = OtherKeySet.import_key_set({"keys": [KEYS[alg].jwk]})
    try:
        return jws.deserialize_compact(token, keys, registry=registry).payload
    except (JoseError, ValueError, TypeError, KeyError, UnicodeError, AttributeError):
        return None


def mutations(token: str, draw: random.Random) -> Iterator[str]:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n"
    segments = token.split(".")
    for _ in range(60):
        at = draw.randrange(len(token))
        yield token[:at] + draw.choice(alphabet) + token[at + 1 :]
        yield token[:at] + token[at + 1 :]
        yield token[:at] + draw.choice(alphabet) + token[at:]
        yield token[:at]
    for _ in range(10):
        yield ".".join(draw.choices(segments, k=draw.randrange(1, 5)))
    for members in (
        {"alg": "none"},
        {"alg": "HS256"},
        {"kid": "other"},
        {"kid": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": ["x"], "x": 1},
        {"b64": False},
        {"typ": 7},
    ):
        head = json.dumps({"alg": "RS256", "kid": "rs256"} | members).encode()
        yield ".".join([segment(head), *segments[1:]])
        for key in KEYS.values():
            head = json.dumps({"alg": key.alg, "kid": key.kid} | members).encode()
            yield key.sign_bytes(head, b'{"a":1}')


@pytest.mark.security("TT1", "TT2", "TT3", "TT4")
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the name, by RFC 9864
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_nothing_is_accepted_that_another_library_refuses(alg: str) -> None:
    draw = random.Random(alg)
    judged = accepted = 0
    for signer in KEYS.values():
        for size in (0, 1, 2):
            token = signer.sign(CLAIMS | {"pad": "x" * size})
            for candidate in (token, *spellings(token), *mutations(token, draw)):
                ours, others = judge(candidate, alg), other_judge(candidate, alg)
                judged += 1
                accepted += ours is not None
                if ours is not None:
                    assert ours == others, candidate
                elif others is not None:  # we are the stricter, and in the form alone
                    with pytest.raises(InvalidCredential):
                        parse(candidate)
    assert judged > 3000
    assert accepted >= 3


def test_keys_of_another_kind_are_a_plain_no() -> None:
    """The library raises whatever it likes for those; we do not."""
    wrong = Key("rs256", frozenset(("RS256",)), KEYS["ES256"].private.public_key())
    with pytest.raises(InvalidCredential, match=r"token\.signature"):
        verify(parse(KEYS["RS256"].sign(CLAIMS)), wrong)
    p384 = ec.generate_private_key(ec.SECP384R1())
    token = KEYS["ES256"].sign(CLAIMS)
    with pytest.raises(InvalidCredential, match=r"token\.signature"):
        verify(parse(token), Key("es256", frozenset(("ES256",)), p384.public_key()))
    weak = SigningKey("weak", "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505
    with pytest.raises(InvalidCredential, match=r"token\.signature"):
        verify(
            parse(weak.sign(CLAIMS)), Key("weak", frozenset(("RS256",)), weak.private.public_key())
        )
    der = utils.encode_dss_signature(1, 1)
    with pytest.raises(InvalidCredential, match=r"token\.signature"):
        verify(parse(f"{token.rpartition('.')[0]}.{segment(der)}"), key_of("ES256"))


def test_sizes() -> None:
    token = KEYS["EdDSA"].sign(b'{"a":"' + b"x" * MAX_TOKEN + b'"}')
    with pytest.raises(InvalidCredential, match=r"token\.size"):
        parse(token)
    assert parse(token, max_bytes=len(token)).text == token
