"""Which media type answers an `Accept` header (refget Sequences 2.0 and 1.0, "Content type").

Of what a client likes best it gets the highest version. Text is `text/plain` only for those who
take, or prefer, nothing else; JSON has a type of refget's own whatever the client calls it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_VERSIONS = ("2.0.0", "1.0.1", "1.0.0")
_CHARSET = "; charset=us-ascii"

# From the media types that clients ask for to the `Content-Type` of the answer, best first.
TEXT: Mapping[str, str] = {
    name: name + _CHARSET
    for name in (*(f"text/vnd.ga4gh.refget.v{v}+plain" for v in _VERSIONS), "text/plain")
}
_JSON_TYPES = tuple(f"application/vnd.ga4gh.refget.v{v}+json" for v in _VERSIONS)
JSON: Mapping[str, str] = {
    **{name: name + _CHARSET for name in _JSON_TYPES},
    "application/json": _JSON_TYPES[0] + _CHARSET,
}

_LONGEST = 8192  # characters of Accept that are looked at, and
_MOST_RANGES = 64  # its media ranges
_MEDIA_RANGE = re.compile(r"([0-9a-z!#$&^_.+-]+|\*)/([0-9a-z!#$&^_.+-]+|\*)")
_QUALITY = re.compile(r"(?:0?\.[0-9]{1,3}|0\.?|1(?:\.0{0,3})?)")  # `.2`: Java's own client
_ASCII_IN = frozenset({"us-ascii", "utf-8", "iso-8859-1"})  # charsets in which ASCII is itself


class NotAcceptable(Exception):
    """The client accepts nothing that can be given: 406. The text is written for the client."""

    status = 406


@dataclass(frozen=True, slots=True)
class _MediaRange:
    kind: str
    subtype: str
    quality: float

    def specificity(self, name: str) -> int:
        """How closely this range fits a media type; 0: not at all."""
        kind, _, subtype = name.partition("/")
        if self.subtype == "*":
            return 1 if self.kind == "*" else 2 * (self.kind == kind)
        return 3 * (self.kind == kind and self.subtype == subtype)


def negotiate(accept: Sequence[str], offers: Mapping[str, str]) -> str:
    """The `Content-Type` for a client with these `Accept` header values, or `NotAcceptable`.

    `offers` is `TEXT` or `JSON`. No header, or an empty one, accepts anything. What cannot be
    understood of a header is passed over (RFC 9110, section 12.5.1).
    """
    text = ",".join(accept)[:_LONGEST]
    if text.strip(" \t,") in ("", "*/*"):
        return next(iter(offers.values()))
    ranges = list(_media_ranges(text))
    best, answer = 0.0, None
    for name, content_type in offers.items():
        fits = [(close, r.quality) for r in ranges if (close := r.specificity(name))]
        # The closest range decides: `text/plain;q=0, text/*` refuses text/plain.
        _, quality = max(fits, default=(0, 0.0))
        if quality > best:
            best, answer = quality, content_type
    if answer is None:
        raise NotAcceptable(f"this resource is given as {' or '.join(offers)}")
    return answer


def _media_ranges(text: str) -> Iterator[_MediaRange]:
    for item in text.lower().split(",", _MOST_RANGES)[:_MOST_RANGES]:
        name, *parameters = (part.strip(" \t") for part in item.split(";"))
        found = _MEDIA_RANGE.fullmatch(name)
        quality = _quality(parameters)
        if found and quality is not None and (found[1] != "*" or found[2] == "*"):
            yield _MediaRange(found[1], found[2], quality)


def _quality(parameters: Sequence[str]) -> float | None:
    """The weight of a media range; None when its parameters fit nothing or are malformed."""
    for parameter in parameters:
        name, _, value = (part.strip(" \t") for part in parameter.partition("="))
        if name == "q":  # what follows extends Accept, not the media type
            return float(value) if _QUALITY.fullmatch(value) else None
        if name and (name != "charset" or value.strip('"') not in _ASCII_IN):
            return None
    return 1.0
