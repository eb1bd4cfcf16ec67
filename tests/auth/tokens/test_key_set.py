import json
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from auth.tokens.key_set import MAX_DOCUMENT, InvalidKeySet, KeySet
from tests.support.broker import SigningKey, segment

RSA = SigningKey.make("RS256", "rsa")
EC = SigningKey.make("ES256", "ec")
ED = SigningKey.make("EdDSA", "ed")


def load(*keys: Any, **members: Any) -> KeySet:
    return KeySet.load(json.dumps({"keys": keys, **members}).encode())


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def private(key: PrivateKeyTypes) -> Any:
    kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return kind.to_jwk(key, as_dict=True)


def test_keys_by_id_and_algorithm() -> None:
    keys = load(RSA.jwk, EC.jwk, ED.jwk, extra=1)
    assert len(keys) == 3
    for signer in (RSA, EC, ED):
        found = keys.find(signer.kid, signer.alg)
        assert found is not None
        assert found.algorithms == {signer.alg}
        assert found.public == signer.private.public_key()
        for alg in {"RS256", "PS256", "ES256", "EdDSA", "HS256", "none"} - {signer.alg}:
            assert keys.find(signer.kid, alg) is None
    assert keys.find("rsa ", "RS256") is None


def test_a_key_without_alg_serves_its_family() -> None:
    keys = load(without(RSA.jwk, "alg", "use"), without(EC.jwk, "alg"))
    assert keys.find("rsa", "RS256") is keys.find("rsa", "PS256") is not None
    assert keys.find("rsa", "RS384") is keys.find("rsa", "ES256") is None
    assert keys.find("ec", "ES256") is not None
    assert len(keys) == 2


@pytest.mark.parametrize(
    "changed",
    [
        RSA.jwk | {"use": "enc"},
        RSA.jwk | {"use": None},
        RSA.jwk | {"key_ops": ["encrypt"]},
        RSA.jwk | {"key_ops": "verify"},
        RSA.jwk | {"key_ops": []},
        RSA.jwk | {"alg": "RS384"},
        RSA.jwk | {"alg": "HS256"},
        RSA.jwk | {"alg": "none"},
        RSA.jwk | {"alg": ["RS256"]},
        RSA.jwk | {"alg": None},
        RSA.jwk | {"kid": ""},
        RSA.jwk | {"kid": 7},
        RSA.jwk | {"kid": "k" * 257},
        without(RSA.jwk, "kid"),
        RSA.jwk | {"kty": "oct"},
        RSA.jwk | {"kty": "EC"},
        RSA.jwk | {"e": segment(b"\x01")},
        RSA.jwk | {"e": segment(b"\x02")},
        RSA.jwk | {"e": segment(b"\x00")},
        RSA.jwk | {"e": segment(b"\xff" * 9)},
        RSA.jwk | {"n": segment(b"\xff" * 128)},
        RSA.jwk | {"n": segment(b"\xff" * 2048)},
        RSA.jwk | {"n": RSA.jwk["n"] + "="},
        RSA.jwk | {"n": RSA.jwk["n"] + "\n"},
        RSA.jwk | {"n": 3},
        without(RSA.jwk, "n"),
        private(RSA.private) | {"kid": "rsa"},
        private(EC.private) | {"kid": "ec"},
        {"kty": "oct", "kid": "o", "k": segment(b"x" * 64), "alg": "HS256"},
        {"kty": "oct", "kid": "o", "k": segment(b"x" * 64)},
        EC.jwk | {"crv": "P-384"},
        EC.jwk | {"crv": "secp256k1"},
        EC.jwk | {"crv": ["P-256"]},
        EC.jwk | {"x": segment(b"\x01" * 32)},
        EC.jwk | {"x": segment(b"\x00" * 32), "y": segment(b"\x00" * 32)},
        EC.jwk | {"x": segment(b"\x00" * 33)},
        ED.jwk | {"crv": "X25519"},
        ED.jwk | {"crv": "Ed448"},
        ED.jwk | {"x": segment(b"\x01" * 31)},
    ],
)
def test_keys_that_are_not_fit_are_left_out(changed: dict[str, Any]) -> None:
    other = SigningKey.make("ES256", "other", number=1)
    keys = load(changed, other.jwk)
    assert len(keys) == 1
    assert keys.find("other", "ES256") is not None


def test_weak_keys_as_made_are_left_out() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    other = ec.generate_private_key(ec.SECP384R1())
    jwks = (
        RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True) | {"kid": "a"},
        ECAlgorithm.to_jwk(other.public_key(), as_dict=True) | {"kid": "b"},
    )
    assert len(load(*jwks)) == 0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[{"kid":"a","kid":"b"}]}',
        b"<html>",
        b'{"keys":' + b"[" * 50_000,
        json.dumps({"keys": [{"kid": str(n)} for n in range(101)]}).encode(),
        json.dumps({"keys": [RSA.jwk, RSA.jwk]}).encode(),
        json.dumps({"keys": [RSA.jwk, RSA.jwk | {"use": "enc"}]}).encode(),
        json.dumps({"keys": [RSA.jwk, private(RSA.private) | {"kid": "rsa"}]}).encode(),
        b'{"keys":[]}' + b" " * MAX_DOCUMENT,
    ],
    ids=lambda _: "document",
)
def test_doubtful_documents_are_refused_whole(document: bytes) -> None:
    with pytest.raises(InvalidKeySet) as refusal:
        KeySet.load(document)
    assert str(RSA.jwk["n"])[:20] not in str(refusal.value)


def test_one_id_for_two_types() -> None:
    keys = load(RSA.jwk | {"kid": "k"}, EC.jwk | {"kid": "k"})
    rs, es = keys.find("k", "RS256"), keys.find("k", "ES256")
    assert rs is not None
    assert es is not None
    assert rs.public != es.public


def test_an_empty_set_is_one() -> None:
    assert len(KeySet.load(b'{"keys":[]}')) == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from([RSA.jwk, EC.jwk, ED.jwk]),
    st.dictionaries(
        st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y", "d"]),
        json_values,
    ),
)
def test_nothing_else_is_raised(jwk: dict[str, Any], changes: dict[str, Any]) -> None:
    with suppress(InvalidKeySet):
        load(jwk | changes)


@given(st.binary())
def test_bytes_are_refused(document: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        KeySet.load(document)
