"""Checkpoints: what the chain had come to, signed, so that it can be kept where nobody of us can
change it. They are what shows that a chain was cut off or written anew.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.audit.chain import GENESIS, Anchor, canonical
from auth.errors import InvalidConfiguration

SCHEMA = "htsget-audit-checkpoint/1"
_PREFIX = b"htsget-audit-checkpoint/v1\0"
_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last record of a chain at a time, after the checkpoint with the digest `previous`.

    `signature` and `public_key` are empty where nobody signs.
    """

    chain: str
    seq: int
    hash: bytes
    ts: str
    previous: bytes = GENESIS
    signature: bytes = b""
    public_key: bytes = b""

    @property
    def body(self) -> bytes:
        """What is signed, in canonical form."""
        return canonical(
            {
                "schema": SCHEMA,
                "chain": self.chain,
                "seq": self.seq,
                "hash": self.hash.hex(),
                "ts": self.ts,
                "prev_checkpoint": self.previous.hex(),
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the body: how the next one names this one."""
        return hashlib.sha256(self.body).digest()

    @property
    def anchor(self) -> Anchor:
        """What it knows of the chain."""
        return Anchor(self.seq, self.hash)

    def signed(self, key: Ed25519PrivateKey) -> Self:
        """The same with a signature (Ed25519, RFC 8032)."""
        return type(self)(
            self.chain,
            self.seq,
            self.hash,
            self.ts,
            self.previous,
            key.sign(_PREFIX + self.body),
            key.public_key().public_bytes_raw(),
        )

    def is_signed_by(self, key: bytes | None) -> bool:
        """Whether the signature is that of a public key (32 bytes; None: of the one it names)."""
        try:
            signer = Ed25519PublicKey.from_public_bytes(self.public_key if key is None else key)
            signer.verify(self.signature, _PREFIX + self.body)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return key is None or key == self.public_key

    def as_json(self) -> dict[str, object]:
        """How it is written down: the body as it is, and who signed it."""
        document: dict[str, object] = {"body": json.loads(self.body)}
        if self.signature:
            document["algorithm"] = "Ed25519"
            document["public_key"] = self.public_key.hex()
            document["signature"] = (
                base64.urlsafe_b64encode(self.signature).rstrip(b"=").decode("ascii")
            )
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """What `as_json` wrote; `ValueError` for anything else."""
        match document:
            case {"body": {"schema": "htsget-audit-checkpoint/1", **body}, **rest}:
                key, signature = rest.get("public_key", ""), rest.get("signature", "")
            case _:
                raise ValueError("not a checkpoint")
        match body:
            case {
                "chain": str(chain),
                "seq": int(seq),
                "hash": str(digest),
                "ts": str(ts),
                "prev_checkpoint": str(previous),
            } if len(body) == 5 and isinstance(key, str) and isinstance(signature, str):
                return cls(
                    chain,
                    seq,
                    _digest(digest),
                    ts,
                    _digest(previous),
                    _base64(signature),
                    bytes.fromhex(key),
                )
        raise ValueError("not a checkpoint")

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """One line of a file of checkpoints; `ValueError`."""
        if len(line) > _MAX_LINE:
            raise ValueError("not a checkpoint")
        try:
            return cls.from_json(json.loads(line))
        except RecursionError:
            raise ValueError("not a checkpoint") from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _digest(text: str) -> bytes:
    data = bytes.fromhex(text)
    if len(data) != 32:
        raise ValueError("not a digest")
    return data


@dataclass(frozen=True, slots=True)
class CheckedCheckpoints:
    """What a set of checkpoints is worth. `anchors` are those of the believable ones."""

    anchors: tuple[Anchor, ...]
    faults: tuple[str, ...]
    missing: int


def check_checkpoints(
    checkpoints: Iterable[Checkpoint], chain: str, key: bytes | None, *, must_sign: bool
) -> CheckedCheckpoints:
    """Judge the checkpoints of a chain, from wherever they were kept; copies count once.

    `key` None: any signer is believed. `must_sign`: one without a signature is a fault. Two that
    follow the same one are a fault too: the chain went on twice. `missing` counts those that others
    follow and that are not there, as happens where each server keeps its own.
    """
    distinct = {(each.digest, each.signature): each for each in checkpoints}.values()
    anchors, faults = [], []
    following: dict[bytes, Checkpoint] = {}
    for each in distinct:
        name = f"the checkpoint of record {each.seq} at {each.ts}"
        if each.chain != chain:
            faults.append(f"{name} is of another chain, {each.chain}")
        elif (must_sign or each.signature) and not each.is_signed_by(key):
            what = "a signature that is not right" if each.signature else "no signature"
            faults.append(f"{name} has {what}")
        else:
            anchors.append(each.anchor)
            other = following.setdefault(each.previous, each)
            if other.digest != each.digest:
                faults.append(f"{name} follows the same one as that of record {other.seq}")
    known = {each.digest for each in distinct} | {GENESIS}
    return CheckedCheckpoints(
        tuple(anchors), tuple(faults), sum(each not in known for each in following)
    )


def new_key() -> Ed25519PrivateKey:
    """A key that signs checkpoints."""
    return Ed25519PrivateKey.generate()


def write_key(key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The key as PEM (PKCS #8), and its public half."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def read_key(pem: bytes) -> Ed25519PrivateKey:
    """The key of a PEM file; `InvalidConfiguration`."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise InvalidConfiguration("not a private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidConfiguration("not an Ed25519 key; htsgate audit keygen makes one")
    return key


def read_public_key(data: bytes) -> bytes:
    """The 32 bytes of a public key: PEM, of either half, or hexadecimal; `InvalidConfiguration`."""
    if b"PRIVATE KEY" in data:
        return read_key(data).public_key().public_bytes_raw()
    try:
        if b"PUBLIC KEY" not in data:
            text = bytes.fromhex(data.decode("ascii").strip())
            return Ed25519PublicKey.from_public_bytes(text).public_bytes_raw()
        key = serialization.load_pem_public_key(data)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise InvalidConfiguration("not a public key in PEM or hexadecimal") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidConfiguration("not an Ed25519 key")
    return key.public_bytes_raw()
