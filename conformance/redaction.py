"""What must not be told of a run, learnt as it goes: tokens, and the URLs of data blocks."""

import json
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

LONGEST_MESSAGE = 4000
"""Characters of a message that are kept."""

TELLING = re.compile(r"auth|token|key|secret|cookie|credential|signature|session", re.IGNORECASE)
"""Found in the names of headers that say who asks."""

_SHORTEST_TOKEN = 4
_FRAGMENT = 12
_LONG_RUN = re.compile(r"[\w%+/=.~:?&#@,;-]{120,}")
_LARGEST_TICKET = 1 << 22


class Redaction:
    """Takes out of a text what opens data: all that was sent or received as a secret before."""

    def __init__(self) -> None:
        self._tokens: dict[str, frozenset[str]] = {}  # with the fragments of each
        self._urls: dict[str, str] = {}

    def learn_token(self, token: str | None) -> None:
        """A token is a secret, unless it is too short to be told from other text."""
        if token and len(token) >= _SHORTEST_TOKEN:
            self._learn(token)

    def learn_headers(self, headers: Mapping[str, str]) -> None:
        """The values of headers that say who asks are secrets, unless they are but a word."""
        for name, value in headers.items():
            token = value.strip().rpartition(" ")[2]
            if TELLING.search(name) and len(token) >= _FRAGMENT:
                self._learn(token)

    def learn_ticket(self, url: str, body: bytes) -> None:
        """What the answer of this URL, if it is a ticket, lets its holder fetch is a secret."""
        if len(body) > _LARGEST_TICKET or b'"urls"' not in body:
            return
        try:
            entries = json.loads(body)["htsget"]["urls"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("url"), str):
                self._learn_url(url, entry["url"])
                if isinstance(headers := entry.get("headers"), dict):
                    self.learn_headers({str(name): str(value) for name, value in headers.items()})

    def learn_redirect(self, url: str, target: str) -> None:
        """Where a data block has moved is as secret as its URL."""
        if url in self._urls:
            self._learn_url(url, target)

    def __call__(self, text: str) -> str:
        """The text without secrets, and fit to be shown: what does not print is escaped, what is
        long is cut."""
        length, text = len(text), text[:LONGEST_MESSAGE]
        for url in sorted(self._urls, key=len, reverse=True):
            if url in text:
                text = text.replace(url, self._urls[url])
        for fragments in self._tokens.values():
            text = _without(fragments, text)
        text = printable(_LONG_RUN.sub(lambda run: f"{run[0][:24]}…", text))
        return text if length <= LONGEST_MESSAGE else f"{text}… ({length} characters)"

    def _learn(self, token: str) -> None:
        if token not in self._tokens:
            size = min(len(token), _FRAGMENT)
            starts = range(len(token) - size + 1)
            self._tokens[token] = frozenset(token[start : start + size] for start in starts)

    def _learn_url(self, base: str, url: str) -> None:
        """Keep a URL, and its path and query alone, with what is shown instead: the place, and the
        first part of a path that has several."""
        if url.startswith("data:"):
            return
        try:
            url = urljoin(base, url)
            parts, asked = urlsplit(url), urlsplit(base)
        except ValueError:
            return
        if (parts.netloc, parts.path, parts.query) == (asked.netloc, asked.path, ""):
            return  # what everybody asks for opens nothing
        first, slash, _ = parts.path.lstrip("/").partition("/")
        short = f"/{first}/…" if slash else "/…"
        self._urls[url] = f"{parts.scheme}://{parts.netloc}{short}"
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if len(target) > _SHORTEST_TOKEN:
            self._urls[target] = short


def _without(fragments: frozenset[str], text: str) -> str:
    """A text without a token or any fragment of it, for a message may show one that is cut.
    `fragments`: all of one length."""
    size = len(next(iter(fragments)))
    pieces: list[str] = []
    end = 0
    for start in range(len(text) - size + 1):
        if text[start : start + size] in fragments:
            if start > end or not pieces:
                pieces.append(text[end:start])
            end = start + size
    return "[token]".join([*pieces, text[end:]])


def printable(text: str) -> str:
    """A text that does nothing to a terminal: what does not print is escaped, but for line ends."""
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character == "\t" else character.encode("unicode_escape").decode("ascii")
