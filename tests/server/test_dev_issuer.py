import json
import stat
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from auth.tokens.jose import claims_of, parse, verify
from auth.tokens.key_set import KeySet
from server.dev_issuer import DevIssuer, open_dev_issuer

ISSUER = "https://dev.example/"


def opened(directory: Path, algorithm: str = "ES256") -> DevIssuer:
    return open_dev_issuer(ISSUER, directory / "key.pem", directory / "jwks.json", algorithm)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_what_is_absent_is_made_and_then_kept(tmp_path: Path, algorithm: str) -> None:
    made = opened(tmp_path, algorithm)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    again = opened(tmp_path)
    assert (again.kid, again.algorithm) == (made.kid, algorithm)
    assert files == {path: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "jwks.json").unlink()
    opened(tmp_path)
    assert files == {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert b"PRIVATE" not in (tmp_path / "jwks.json").read_bytes()
    assert "d" not in json.loads((tmp_path / "jwks.json").read_bytes())["keys"][0]


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_what_it_signs(tmp_path: Path, algorithm: str) -> None:
    issuer = opened(tmp_path, algorithm)
    now = time.time()
    key = KeySet.load(issuer.jwks).find(issuer.kid, algorithm)
    assert key is not None
    visa = issuer.visa("s", {"type": "t", "value": "v"}, now=now, lifetime=60)
    tokens = {
        "at+jwt": issuer.access_token(
            "s", audience="a", now=now, lifetime=60, scope="x y", claims={"groups": ["g"]}
        ),
        "vnd.ga4gh.visa+jwt": visa,
        "vnd.ga4gh.passport+jwt": issuer.passport("s", [visa], audience="a", now=now, lifetime=60),
    }
    names = set()
    for typ, token in tokens.items():
        compact = parse(token)
        claims = claims_of(verify(compact, key))
        assert compact.typ == typ
        assert (claims["iss"], claims["sub"]) == (ISSUER, "s")
        assert claims["exp"] == int(now) + 60
        names.add(claims["jti"])
    assert len(names) == 3
    assert parse(visa).header["jku"] == f"{ISSUER}jwks"


def test_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    opened(tmp_path)
    key, jwks = tmp_path / "key.pem", tmp_path / "jwks.json"
    good = key.read_bytes(), jwks.read_bytes()
    key.chmod(0o604)
    with pytest.raises(ValueError, match="chmod"):
        opened(tmp_path)
    key.chmod(0o600)
    for content in (b'{"keys":[]}', b"{}", b"x"):
        jwks.write_bytes(content)
        with pytest.raises(ValueError, match=r"jwks\.json"):
            opened(tmp_path)
        assert jwks.read_bytes() == content
    jwks.write_bytes(good[1])
    pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for other in (
        b"",
        good[1],
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(*pem),
        ec.generate_private_key(ec.SECP384R1()).private_bytes(*pem),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*pem),
    ):
        key.write_bytes(other)
        with pytest.raises(ValueError, match=r"key\.pem"):
            opened(tmp_path)
        assert key.read_bytes() == other
