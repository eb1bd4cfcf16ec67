"""Which part of a sequence a request asks for, and with what status it is answered.

    SubsequenceError            base, with the `status` and `headers` of the answer
    ├── InvalidSubsequence      400   the request breaks the specification
    └── OutOfBounds             416   the sequence has no such part, or not so much is given at once

refget Sequences 2.0, "Retrieval by start and end", "Range header". Where its text, its compliance
suite and its servers differ, out of bounds is 416, and a last position that is too far is clipped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from server.http_range import MalformedRange, parse_range

_UNSIGNED = re.compile(r"[0-9]{1,10}")
_MOST = 0xFFFFFFFF

Piece = tuple[int, int]


class SubsequenceError(Exception):
    """Base of what makes a request for a part unanswerable; the text is written for the client."""

    status: ClassVar[int]

    @property
    def headers(self) -> Mapping[str, str]:
        """Further header fields of the answer."""
        return {}


class InvalidSubsequence(SubsequenceError):
    """The parameters or the `Range` header are malformed, or there are both."""

    status = 400


class OutOfBounds(SubsequenceError):
    """There is no such part of a sequence of `length` bases, or it is longer than is given."""

    status = 416

    def __init__(self, message: str, length: int) -> None:
        super().__init__(message)
        self.length = length

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Content-Range": f"bytes */{self.length}"}


@dataclass(frozen=True, slots=True)
class Subsequence:
    """The answer to a request for a sequence or a part of it.

    `pieces` are intervals `[start, end)` of the sequence in bases, none of them empty, to be sent
    one after the other: none for an empty body, two for a part that goes over the end of a circular
    sequence. `headers` are `Content-Length`, `Accept-Ranges` and with 206 `Content-Range`.
    """

    pieces: tuple[Piece, ...]
    status: int
    headers: Mapping[str, str]


def judge_subsequence(
    length: int,
    query: Iterable[tuple[str, str]],
    ranges: Sequence[str] = (),
    *,
    circular: bool = False,
    subsequence_limit: int | None = None,
) -> Subsequence:
    """What to answer for a sequence of `length` bases, or a `SubsequenceError`.

    `query`: the decoded parameters in order; those that the specification does not know are
    ignored. `ranges`: the values of all `Range` headers, none when `If-Range` does not hold.
    `subsequence_limit`: the most bases that one part may have; None or below 1: any number. It does
    not bind requests for the whole sequence, which name neither start, end nor `Range`.
    """
    bounds = [(name, value) for name, value in query if name in ("start", "end")]
    if bounds and ranges:
        raise InvalidSubsequence("start and end do not go with a Range header")
    if ranges:
        start, end = _ranged(length, ranges)
        _check_limit(end - start, length, subsequence_limit)
        content_range = f"bytes {start}-{end - 1}/{length}"
        headers = {"Accept-Ranges": "bytes", "Content-Range": content_range}
        return _answer([(start, end)], 206, headers)
    if not bounds:
        return _answer([(0, length)], 200, {"Accept-Ranges": "bytes"})
    start, end = _bounded(length, _positions(bounds))
    if start <= end:
        pieces = [(start, end)]
    elif not circular:
        raise OutOfBounds("start is greater than end, and the sequence is linear", length)
    else:
        pieces = [(start, length), (0, end)]
    _check_limit(sum(e - s for s, e in pieces), length, subsequence_limit)
    return _answer(pieces, 200, {"Accept-Ranges": "none"})


def _ranged(length: int, values: Sequence[str]) -> Piece:
    """The bases that a `Range` header asks for, clipped."""
    try:
        asked = parse_range(values)
    except MalformedRange as error:
        raise InvalidSubsequence(str(error)) from None
    if asked is None:  # RFC 9110 has other units ignored; the compliance suite does not
        raise InvalidSubsequence("the unit of Range is bytes")
    found = asked.within(length)
    if found is None:
        raise OutOfBounds("the Range header asks for no base of this sequence", length)
    return found


def _positions(bounds: Iterable[tuple[str, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, text in bounds:
        if name in found:
            raise InvalidSubsequence(f"{name} is given more than once")
        if not _UNSIGNED.fullmatch(text) or int(text) > _MOST:
            raise InvalidSubsequence(f"{name} is not an unsigned 32-bit integer")
        found[name] = int(text)
    return found


def _bounded(length: int, positions: Mapping[str, int]) -> Piece:
    """Start and end, each within the sequence, in whatever order."""
    start, end = positions.get("start"), positions.get("end")
    if start is not None and start >= length:
        raise OutOfBounds(f"start lies outside the {length} bases of this sequence", length)
    if end is not None and end > length:
        raise OutOfBounds(f"end lies outside the {length} bases of this sequence", length)
    return 0 if start is None else start, length if end is None else end


def _check_limit(bases: int, length: int, limit: int | None) -> None:
    if limit is not None and 1 <= limit < bases:
        raise OutOfBounds(f"this server gives at most {limit} bases of a sequence", length)


def _answer(pieces: Iterable[Piece], status: int, headers: Mapping[str, str]) -> Subsequence:
    filled = tuple((start, end) for start, end in pieces if start < end)
    bases = sum(end - start for start, end in filled)
    return Subsequence(filled, status, {"Content-Length": str(bases), **headers})
