"""A ticket as the suite reads it: as leniently as can be, so that what is wrong with one is found
by the case that is about it, and by no other."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from conformance.case import Failed
from conformance.http import Answer, Client


@dataclass(frozen=True, slots=True)
class Block:
    """One of the URLs of a ticket, and what must be sent with a request for it."""

    url: str
    headers: Mapping[str, str]
    kind: str | None

    @property
    def inline(self) -> bool:
        """Whether it is a data URI."""
        return self.url.startswith("data:")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an answer to a request for a ticket says. `content` is the value of `htsget`."""

    answer: Answer
    content: Mapping[str, Any]
    format: str
    blocks: tuple[Block, ...]


def read_ticket(answer: Answer, default_format: str) -> Ticket:
    """The ticket in an answer. Raises `Failed` when there is none to be found."""
    document = answer.expect(200).json()
    content = document.get("htsget") if isinstance(document, dict) else None
    if not isinstance(content, dict) or not isinstance(content.get("urls"), list):
        raise Failed(f"{answer}: the body holds no ticket")
    blocks = tuple(_block(each, answer) for each in content["urls"])
    format = str(content.get("format") or default_format).upper()
    return Ticket(answer, content, format, blocks)


def fetch_block(client: Client, block: Block) -> bytes:
    """What a URL of a ticket leads to, fetched with nothing but what the ticket says. Raises
    `Failed` and `Unreachable`."""
    if block.inline:
        return _inline(block.url)
    return client.request("GET", block.url, block.headers, everywhere=True).expect(200, 206).body


def _block(entry: object, answer: Answer) -> Block:
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise Failed(f"{answer}: an entry of urls has no url")
    url = entry["url"]
    if not url.startswith("data:"):
        try:
            url = urljoin(answer.url, url)
            urlsplit(url)
        except ValueError:
            raise Failed(f"{answer}: an entry of urls has a url that is none") from None
    given = entry.get("headers")
    headers = given.items() if isinstance(given, dict) else ()
    kind = entry.get("class")
    return Block(
        url,
        {str(name): str(value) for name, value in headers},
        str(kind).lower() if kind is not None else None,
    )


def _inline(url: str) -> bytes:
    media, comma, payload = url.partition(",")
    data = unquote_to_bytes(payload)
    if not comma:
        raise Failed("a data URI has no comma")
    if not media.endswith(";base64"):
        return data
    data = data.translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error as error:
        raise Failed(f"a data URI is no base64: {error}") from None
