"""Digests of sequences: MD5 and the GA4GH digest, in one pass (refget Sequences 2.0).

Before any digest a sequence is normalised: bytes that are no letters are dropped, and letters
become upper case.
"""

import base64
import hashlib
import re
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRUNCATED = 24
_SMALL = 4096  # bytes below which one translate is quicker than numpy's calls
_MD5 = re.compile("[0-9A-Fa-f]{32}")
_TRUNC512 = re.compile("[0-9A-Fa-f]{48}")
_GA4GH = re.compile(r"SQ\.[0-9A-Za-z_-]{32}")
_BATCH = 1 << 20  # bytes that are worth waking a thread
_UPPER = bytes(range(256)).upper()
_NO_LETTERS = bytes(byte for byte in range(256) if not bytes([byte]).isalpha())
_NOT_IN_M5 = bytes(byte for byte in range(256) if not ord("!") <= byte <= ord("~"))


@dataclass(frozen=True, slots=True)
class Digests:
    """What names a sequence: its MD5 in lower-case hex, and the first 24 bytes of its SHA-512."""

    md5: str
    truncated: bytes

    @classmethod
    def from_residues(cls, residues: bytes) -> "Digests":
        """The digests of residues, which are normalised first."""
        digester = SequenceDigester()
        digester.update(residues)
        return digester.finish()[0]

    @classmethod
    def from_trunc512(cls, md5: str, trunc512: str) -> "Digests":
        """From the two hex forms, in either case. Raises `ValueError` for anything else."""
        if not (_MD5.fullmatch(md5) and _TRUNC512.fullmatch(trunc512)):
            raise ValueError("not an MD5 and a TRUNC512 in hex")
        return cls(md5.lower(), bytes.fromhex(trunc512))

    @classmethod
    def from_ga4gh(cls, md5: str, ga4gh: str) -> "Digests":
        """From the MD5 in hex and `SQ.…`. Raises `ValueError` for anything else."""
        if not (_MD5.fullmatch(md5) and _GA4GH.fullmatch(ga4gh)):
            raise ValueError("not an MD5 in hex and a GA4GH digest of a sequence")
        return cls(md5.lower(), base64.urlsafe_b64decode(ga4gh[3:]))

    @property
    def trunc512(self) -> str:
        """The truncated SHA-512 in lower-case hex, the digest of refget 1."""
        return self.truncated.hex()

    @property
    def ga4gh(self) -> str:
        """`SQ.` and the truncated SHA-512 in base64url, the digest of refget 2."""
        return "SQ." + base64.urlsafe_b64encode(self.truncated).decode("ascii")


class SequenceDigester:
    """The digests of one sequence that comes in pieces.

    With an `executor` of two or more threads the hashes of a long sequence run at the same time,
    and beside the caller's own work; it must not be one whose threads wait for this digester.
    """

    __slots__ = (
        "_executor",
        "_length",
        "_m5",
        "_md5",
        "_running",
        "_sha512",
        "_waiting",
        "_weight",
    )

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._m5: hashlib._Hash | None = None
        self._length = 0
        self._waiting: list[bytes] = []
        self._weight = 0
        self._running: list[Future[None]] = []

    def update(self, residues: bytes) -> bytes:
        """Take the next piece, of any bytes and size; what remains of it when normalised."""
        letters = normalise(residues)
        if len(letters) != len(residues) and self._m5 is None:
            self._settle()
            self._m5 = self._md5.copy()
        if self._m5 is not None:
            self._m5.update(residues.translate(_UPPER, _NOT_IN_M5))
        self._length += len(letters)
        self._waiting.append(letters)
        self._weight += len(letters)
        if self._executor is None:
            self._settle()
        elif self._weight >= _BATCH:
            pieces = self._waiting
            self._await_batch()
            self._waiting, self._weight = [], 0
            hashes = (self._md5, self._sha512)
            self._running = [self._executor.submit(_hash, each, pieces) for each in hashes]
        return letters

    def finish(self) -> tuple[Digests, int]:
        """The digests of all pieces so far, and how many residues they hold."""
        self._settle()
        digests = Digests(self._md5.hexdigest(), self._sha512.digest()[:_TRUNCATED])
        return digests, self._length

    @property
    def m5(self) -> str | None:
        """The M5 of SAM where it is not the MD5: it counts every byte from `!` to `~`."""
        self._settle()
        m5 = None if self._m5 is None else self._m5.hexdigest()
        return None if m5 == self._md5.hexdigest() else m5

    def _settle(self) -> None:
        self._await_batch()
        for each in (self._md5, self._sha512):
            _hash(each, self._waiting)
        self._waiting, self._weight = [], 0

    def _await_batch(self) -> None:
        running, self._running = self._running, []
        for hashed in running:
            hashed.result()


def _hash(digest: "hashlib._Hash", pieces: list[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


def normalise(residues: bytes) -> bytes:
    """The letters among residues, in upper case (refget Sequences 2.0, sequence normalisation)."""
    if len(residues) < _SMALL:
        return residues.translate(_UPPER, _NO_LETTERS)
    # Pieces of nothing but letters, which is nearly all of them, take a tenth of the time this way.
    values = np.frombuffer(residues, np.uint8)
    if _within_alphabet(values):
        return residues
    folded = values & np.uint8(0xDF)
    if _within_alphabet(folded):
        return folded.tobytes()
    return residues.translate(_UPPER, _NO_LETTERS)


def _within_alphabet(values: NDArray[np.uint8]) -> bool:
    return bool(values.min() >= ord("A") and values.max() <= ord("Z"))
