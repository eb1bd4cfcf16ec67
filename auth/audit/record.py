"""What a record of the audit may hold: no secret, no sequence, and nobody's name.

Direct identifiers are given as `Pii`. The record keeps HMAC-SHA256(salt, value); value and salt go
to a side table, and when their row is deleted the record stays as it is and names nobody.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

SALT_BYTES = 16
MAX_TEXT = 2048
"""Characters of one text; what is longer is cut, and ends in an ellipsis."""

_MAX_DEPTH = 12
_LARGEST = 1 << 63
_MAX_USER_AGENT = 200
_MAX_IDENTIFIER = 600  # characters: an index of PostgreSQL holds some 2,700 bytes

# Tokens and capabilities, signatures of presigned URLs, passwords in URLs, key material, and bases:
# they belong in no record, yet whoever asks may put them where an id is expected.
_SECRET = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*)*"
    r"|(?i:\b(?:bearer|basic|dpop)\s+[\w.~+/=-]{8,})"
    r"|(?i:\b(?:x-amz-(?:signature|credential|security-token)|signature|access_token"
    r"|client_secret|password)=[^\s&]*)"
    r"|(?<=://)[^\s/@|:]*:[^\s/@|]*@"
    r"|-----BEGIN [A-Z ]*KEY-----.*"
    r"|[ACGTN]{40,}|[acgtn]{40,}",
    re.DOTALL,
)
# One of these is in whatever the pattern matches, but for bases.
_SIGNS = (
    "eyj",
    "bearer",
    "basic",
    "dpop",
    "signature=",
    "credential=",
    "token=",
    "secret=",
    "password=",
    "@",
    "-----begin",
)
_BASES = re.compile("[acgtn]{4}")
_REMOVED = "[removed]"
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Pii:
    """A direct identifier. `kind`: "sub" (`issuer|subject`), "peer" (address) or "ua" (program)."""

    kind: str
    value: str


JsonOrPii: TypeAlias = (
    "str | int | bool | Pii | Sequence[JsonOrPii] | Mapping[str, JsonOrPii] | None"
)
Event: TypeAlias = Mapping[str, JsonOrPii]
"""A record's payload before names are hidden. Members that are None are left out. A `Pii` becomes
its pseudonym in a member called `pii`, and elsewhere an object with that member."""


class Draft:
    """A checked copy of an event, complete but for the pseudonyms of those it names."""

    __slots__ = ("_content", "_texts", "identifiers")

    def __init__(self, event: Event) -> None:
        """Raises `ValueError` for what a record cannot hold, such as a number with a fraction."""
        self.identifiers: list[Pii] = []
        self._texts: list[str] = []
        self._content = self._members(event, _MAX_DEPTH)
        if not isinstance(self._content.get("event"), str):
            raise ValueError("an event has no name")
        if _is_suspicious(self._texts):
            self._content = {name: _cleaned(each) for name, each in self._content.items()}
        self._texts.clear()

    @property
    def event(self) -> str:
        """What kind of event it is."""
        return str(self._content["event"])

    def payload(self, pseudonyms: Mapping[Pii, str]) -> bytes:
        """The canonical JSON, with the pseudonyms of all `identifiers`."""
        return json.dumps(
            self._content,
            sort_keys=True,
            separators=(",", ":"),
            default=pseudonyms.__getitem__,
        ).encode("ascii")

    def _members(self, event: Event, depth: int) -> dict[str, object]:
        content: dict[str, object] = {}
        for name, value in event.items():
            if not isinstance(name, str):
                raise ValueError("a name that is no text")
            if name == "pii" and isinstance(value, Pii):
                content[name] = self._named(value)
            elif value is not None:
                content[name] = self._plain(value, depth)
        return content

    def _plain(self, value: JsonOrPii, depth: int) -> object:
        if isinstance(value, str):
            text = str(value)  # of an enumeration: its value
            self._texts.append(text)
            return text
        if isinstance(value, int):
            if not -_LARGEST <= value < _LARGEST:
                raise ValueError("a number that is too large")
            return value
        if not depth:
            raise ValueError("nested too deep")
        if isinstance(value, list | tuple):
            return [self._plain(each, depth - 1) for each in value]
        if isinstance(value, Pii):
            return {"pii": self._named(value)}
        if isinstance(value, Mapping):
            return self._members(value, depth - 1)
        raise ValueError(f"{type(value).__name__} has no canonical form")

    def _named(self, pii: Pii) -> Pii:
        if pii.kind == "ua":
            text = "".join(each for each in pii.value if " " <= each <= "~")[:_MAX_USER_AGENT]
            pii = Pii("ua", cleaned(text) if _is_suspicious([text]) else text)
        elif not pii.value.isascii() or "\0" in pii.value:
            pii = Pii(pii.kind, _NOT_TEXT.sub("\ufffd", pii.value))
        if len(pii.value) > _MAX_IDENTIFIER:
            digest = hashlib.sha256(pii.value.encode()).hexdigest()
            pii = Pii(pii.kind, f"{pii.value[: _MAX_IDENTIFIER - 65]}…{digest}")
        self.identifiers.append(pii)
        return pii


def cleaned(text: str) -> str:
    """A text of bounded length, without what looks like a secret or a sequence."""
    if len(text) > MAX_TEXT:
        text = _SECRET.sub(_REMOVED, text[: 2 * MAX_TEXT])[: MAX_TEXT - 1] + "…"
    else:
        text = _SECRET.sub(_REMOVED, text)
    return _NOT_TEXT.sub("\ufffd", text)


def _cleaned(content: object) -> object:
    if isinstance(content, str):
        return cleaned(content)
    if isinstance(content, dict):
        return {name: _cleaned(each) for name, each in content.items()}
    return [_cleaned(each) for each in content] if isinstance(content, list) else content


def _is_suspicious(texts: Sequence[str]) -> bool:
    """Whether any of the texts may need cleaning. Quick, for hardly any does."""
    joined = "\n".join(texts)
    if not joined.isascii() or "\0" in joined or max(map(len, texts), default=0) > MAX_TEXT:
        return True
    lower = joined.lower()
    # Of 40 bases in a row, every tenth character of all the text is at least four in a row.
    return any(sign in lower for sign in _SIGNS) or bool(_BASES.search(lower[::10]))


def pseudonym(salt: bytes, value: str) -> str:
    """What stands for an identifier in the records: hexadecimal HMAC-SHA256(salt, value)."""
    return hmac.digest(salt, value.encode(), hashlib.sha256().name).hex()
